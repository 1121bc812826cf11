"""`lineside greengrass rehearse`: what it prints, and its exit status."""

import json
import signal
import subprocess

import pytest
from typer.testing import CliRunner

from lineside_bench.commands import greengrass
from tests.support.attached_bench import LINESIDE
from tests.support.core_device import FOREVER, dump, recipe
from tests.support.waiting import HANG_S, block_until

GOOD = recipe("com.example.App", "1.0.0", run=FOREVER)
BAD = recipe("com.example.App", "2.0.0", startup="echo the reason; exit 7")


def wanted(folder, version):
    file = folder / f"{version}.json"
    file.write_text(json.dumps({"deploymentName": version, "components": {"com.example.App": version}}))
    return str(file)


def rehearse(*arguments):
    return CliRunner().invoke(greengrass, ["rehearse", *arguments], env={"COLUMNS": "200"})


def test_deployments_one_after_the_other_and_the_way_back(tmp_path):
    recipes = str(dump(tmp_path / "recipes", GOOD, BAD))
    first, second = wanted(tmp_path, "1.0.0"), wanted(tmp_path, "2.0.0")
    done = rehearse("--recipes", recipes, "--deployment", first, "--deployment", second)
    assert done.exit_code == 1
    assert "SUCCEEDED after" in done.output
    assert "FAILED_ROLLBACK_COMPLETE after" in done.output
    assert "com.example.App is BROKEN: startup ended with exit status 7" in done.output
    assert "com.example.App: the reason" in done.output
    assert done.output.rindex("1.0.0") > done.output.rindex("FAILED_ROLLBACK_COMPLETE")


def test_a_deployment_that_succeeds_and_a_folder_that_is_kept(tmp_path):
    recipes = str(dump(tmp_path / "recipes", GOOD))
    (tmp_path / "recipes" / "iam").mkdir()
    (tmp_path / "recipes" / "iam" / "device.json").write_text('{"Version": "2012-10-17"}')  # no recipe
    root = str(tmp_path / "core")
    done = rehearse("--recipes", recipes, "--deployment", wanted(tmp_path, "1.0.0"), "--root", root)
    assert (done.exit_code, (tmp_path / "core" / "state.json").exists()) == (0, True)
    assert "added" in done.output
    done = rehearse("--recipes", recipes, "--deployment", wanted(tmp_path, "1.0.0"), "--root", root)
    assert done.exit_code == 0
    assert "unchanged" in done.output


@pytest.mark.parametrize("begun_by", ["--default-signal=INT", "--ignore-signal=INT"])  # as a shell does for `&`
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_components_that_go_on(tmp_path, number, begun_by):
    recipes, log = dump(tmp_path / "recipes", GOOD), tmp_path / "log"
    options = ("--recipes", recipes, "--deployment", wanted(tmp_path, "1.0.0"), "--stay")
    with log.open("w") as file:
        command = ["env", begun_by, LINESIDE, "greengrass", "rehearse", *options]
        process = subprocess.Popen(command, stdout=file, stderr=file)
    block_until(lambda: "the components go on" in log.read_text(), log.read_text)
    process.send_signal(number)
    assert process.wait(HANG_S) == 128 + number
    assert "Traceback" not in log.read_text()


def test_what_nothing_can_be_made_of_changes_nothing(tmp_path):
    recipes = str(dump(tmp_path / "recipes", GOOD))
    done = rehearse("--recipes", recipes, "--deployment", wanted(tmp_path, "3.0.0"))
    assert done.exit_code == 1
    assert "FAILED_NO_STATE_CHANGE" in done.output
    assert "there are 1.0.0" in done.output


@pytest.mark.parametrize(
    ("recipe_text", "deployment_text", "more", "says"),
    [
        ("a: [", "components: {a: 1.0.0}", [], "recipe.yaml: not YAML"),
        ("ComponentName: a", "components: {a: 1.0.0}", [], "recipe.yaml: ComponentVersion is None"),
        (None, "components: {a: ^1}", [], "deployment.yaml: components.a is '^1'"),
        (None, "components: {a: 1.0.0}", ["--platform", "arch"], "is not NAME=VALUE"),
        (None, "components: {a: 1.0.0}", ["--manner", "java"], "java"),
        ("", "components: {a: 1.0.0}", [], "recipe.yaml is None"),
    ],
)
def test_wrong_input_is_said_with_its_place(tmp_path, recipe_text, deployment_text, more, says):
    folder = dump(tmp_path / "recipes", GOOD)
    if recipe_text is not None:
        (folder / "recipe.yaml").write_text(recipe_text)
    (tmp_path / "deployment.yaml").write_text(deployment_text)
    done = rehearse("--recipes", str(folder), "--deployment", str(tmp_path / "deployment.yaml"), *more)
    assert done.exit_code == 2
    assert says in " ".join(done.output.replace("│", " ").split())


def test_folders_without_recipes_and_one_version_twice(tmp_path):
    file = wanted(tmp_path, "1.0.0")
    (tmp_path / "empty").mkdir()
    assert "has no recipe" in rehearse("--recipes", str(tmp_path / "empty"), "--deployment", file).output
    assert "is no folder" in rehearse("--recipes", str(tmp_path / "gone"), "--deployment", file).output
    folder = dump(tmp_path / "recipes", GOOD)
    (folder / "again.json").write_text(json.dumps(dict(GOOD.document)))
    done = rehearse("--recipes", str(folder), "--deployment", file)
    assert done.exit_code == 2
    assert "com.example.App 1.0.0 is in" in done.output
