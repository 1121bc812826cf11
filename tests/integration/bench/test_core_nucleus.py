"""Deployments on a core device whose components are shell scripts: success, failure, rollback, restart."""

import asyncio
import zipfile

import psutil
import pytest

from lineside_bench.errors import BenchError
from lineside_bench.greengrass.core.nucleus import Status
from lineside_bench.greengrass.core.plan import Change
from tests.support.core_device import FOREVER, core_device, deployment, recipe
from tests.support.waiting import HANG_S, until


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRATCH", str(tmp_path / "scratch"))


def note(what, then=""):
    """A script that writes a line to $SCRATCH/notes, then goes on."""
    return f"echo {what} >> $SCRATCH/notes\n{then}"


def serve(name):
    """A script that writes its process id to $SCRATCH/<name> at each start, and runs for ever."""
    return f"echo $$ >> $SCRATCH/{name}\n{FOREVER}"


async def test_components_start_after_what_they_need_and_stop_before_it(tmp_path):
    recipes = [
        recipe(
            "app", needs={"base": "^1.0.0"}, install=note("install app"), startup=note("app"), shutdown=note("end app")
        ),
        recipe("base", install=note("install base"), startup="sleep 0.3\n" + note("base"), shutdown=note("end base")),
    ]
    async with core_device(tmp_path) as core:
        outcome = await core.deploy(deployment(app="1.0.0"), *recipes)
        assert (outcome.status, outcome.why) == (Status.SUCCEEDED, "")
        assert outcome.changes == {"app": Change.ADDED, "base": Change.ADDED}
        assert [core.state("app"), core.state("base")] == ["RUNNING", "RUNNING"]
    notes = core.written("notes")
    assert sorted(notes[:2]) == ["install app", "install base"]
    assert notes[2:] == ["base", "app", "end app", "end base"]


async def test_a_script_has_the_environment_and_variables_of_its_component(tmp_path):
    script = (
        "env > $SCRATCH/env\necho '{configuration:/topic} {work:path} {iot:thingName} ${HOME}' > $SCRATCH/variables"
    )
    async with core_device(tmp_path) as core:
        await core.deploy(
            deployment(app=("1.0.0", {"topic": "line/2"}, [])),
            recipe(
                "app",
                default={"topic": "line/1"},
                startup={"Script": script, "Setenv": {"LEVEL": "{configuration:/topic}"}},
            ),
        )
        environment = dict(line.partition("=")[::2] for line in core.written("env"))
        token = core.nucleus.core.components["app"].token
        root = core.nucleus.root
    assert environment["SVCUID"] == environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"] == token
    assert environment["AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"] == str(root / "ipc" / "ipc.socket")
    assert environment["AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH"] == str(root / "ipc" / "ipc.socket")
    assert (environment["AWS_IOT_THING_NAME"], environment["AWS_REGION"]) == ("press-7", "eu-central-1")
    assert environment["LEVEL"] == "line/2"
    assert core.written("variables") == [f"line/2 {root / 'work' / 'app'} press-7 ${{HOME}}"]


async def test_a_version_that_fails_gives_way_to_the_one_before_with_its_configuration(tmp_path):
    good = recipe("app", "1.0.0", default={"topic": "a"}, run=serve("app"))
    other = recipe("other", run=serve("other"))
    bad = recipe("app", "2.0.0", default={"topic": "a"}, startup="exit 7", recover=note("recover"))
    async with core_device(tmp_path) as core:
        await core.deploy(deployment(app=("1.0.0", {"topic": "b"}, []), other="1.0.0"), good, other)
        await until(lambda: core.written("app") and core.written("other"))
        outcome = await core.deploy(deployment(app=("2.0.0", {"topic": "c"}, []), other="1.0.0"), good, bad, other)
        assert outcome.status is Status.ROLLED_BACK
        assert outcome.why == "app is BROKEN: startup ended with exit status 7"
        assert core.nucleus.versions == {"app": "1.0.0", "other": "1.0.0"}
        assert core.nucleus.core.components["app"].configuration == {"topic": "b"}
        assert [core.state("app"), core.state("other")] == ["RUNNING", "RUNNING"]
        await until(lambda: len(core.written("app")) == 2)
        assert len(core.written("other")) == 1
    assert core.written("notes") == ["recover", "recover"]


async def test_three_errors_are_broken_and_recover_runs_before_each_new_start(tmp_path):
    app = recipe("app", startup=note("start", "exit 1"), recover=note("recover"), shutdown=note("shutdown"))
    async with core_device(tmp_path) as core:
        outcome = await core.deploy(deployment(app="1.0.0", on_failure="DO_NOTHING"), app)
        assert outcome.status is Status.NOT_REQUESTED
        assert core.state("app") == "BROKEN"
        await until(lambda: core.written("notes").count("shutdown") == 3)
        once = ["start", "recover", "shutdown"]
        assert core.written("notes") == [*once, *once, "start", "shutdown"]
        assert [state for _name, state in core.states].count("ERRORED") == 2


async def test_a_first_deployment_that_fails_leaves_nothing(tmp_path):
    async with core_device(tmp_path) as core:
        outcome = await core.deploy(deployment(app="1.0.0"), recipe("app", install="exit 3"))
        assert (outcome.status, core.nucleus.versions) == (Status.ROLLED_BACK, {})
        assert outcome.why == "app is BROKEN: install ended with exit status 3"


async def test_a_version_that_cannot_come_back_is_said(tmp_path):
    good = recipe("app", "1.0.0", startup="test ! -e $SCRATCH/spoilt")
    bad = recipe("app", "2.0.0", startup="touch $SCRATCH/spoilt; exit 1")
    async with core_device(tmp_path) as core:
        await core.deploy(deployment(app="1.0.0"), good)
        outcome = await core.deploy(deployment(app="2.0.0"), bad)
    assert outcome.status is Status.NOT_ROLLED_BACK
    assert "and while rolling back: app is BROKEN" in outcome.why


@pytest.mark.parametrize("step", ["install", "startup", "bootstrap"])
async def test_a_step_that_takes_too_long_fails(tmp_path, step):
    app = recipe("app", **{step: {"Script": "sleep 1000", "Timeout": 0.2}})
    async with core_device(tmp_path) as core:
        outcome = await core.deploy(deployment(app="1.0.0"), app)
    assert outcome.status is Status.ROLLED_BACK
    assert step in outcome.why


async def test_an_update_of_one_component_leaves_the_others_running(tmp_path):
    recipes = [recipe(name, run=serve(name)) for name in ("a", "b", "c")]
    newer = recipe("b", "1.1.0", run=serve("b"))
    async with core_device(tmp_path) as core:
        await core.deploy(deployment(a="1.0.0", b="1.0.0", c="1.0.0"), *recipes)
        await until(lambda: all(core.written(name) for name in "abc"))
        before = {name: core.written(name) for name in "abc"}
        outcome = await core.deploy(deployment(a="1.0.0", b="1.1.0", c="1.0.0"), *recipes, newer)
        assert outcome.changes == {"a": Change.UNCHANGED, "b": Change.REINSTALLED, "c": Change.UNCHANGED}
        await until(lambda: len(core.written("b")) == 2)
        assert {name: core.written(name) for name in "ac"} == {name: before[name] for name in "ac"}


async def test_who_needs_a_component_hard_starts_again_with_it_and_who_needs_it_soft_does_not(tmp_path):
    base = recipe("base", run=serve("base"))
    users = [
        recipe("hard", needs={"base": "*"}, run=serve("hard")),
        recipe("soft", needs={"base": ("*", "SOFT")}, run=serve("soft")),
    ]
    async with core_device(tmp_path) as core:
        await core.deploy(deployment(hard="1.0.0", soft="1.0.0", base="1.0.0"), base, *users)
        await until(lambda: core.written("hard") and core.written("soft"))
        newer = recipe("base", "1.1.0", run=serve("base"))
        outcome = await core.deploy(deployment(hard="1.0.0", soft="1.0.0", base="1.1.0"), newer, *users)
        assert outcome.status is Status.SUCCEEDED
        await until(lambda: len(core.written("hard")) == 2)
        assert len(core.written("soft")) == 1


async def test_a_component_that_leaves_the_deployment_is_stopped_and_uninstalled(tmp_path):
    async with core_device(tmp_path) as core:
        both = [recipe("a", run=FOREVER), recipe("b", run=FOREVER, shutdown=note("end"), uninstall=note("gone"))]
        await core.deploy(deployment(a="1.0.0", b="1.0.0"), *both)
        outcome = await core.deploy(deployment(a="1.0.0"), *both)
        assert outcome.changes == {"a": Change.UNCHANGED, "b": Change.REMOVED}
        assert (core.nucleus.versions, core.written("notes")) == ({"a": "1.0.0"}, ["end", "gone"])
        assert "b" not in core.nucleus.core.components


async def test_a_run_that_ends_well_is_finished_and_one_that_does_not_starts_again(tmp_path):
    async with core_device(tmp_path) as core:
        await core.deploy(
            deployment(good="1.0.0", bad="1.0.0"),
            recipe("good", run="true", shutdown=note("end of good")),
            recipe("bad", run=f"test -e $SCRATCH/again && {FOREVER}\ntouch $SCRATCH/again; exit 5"),
        )
        await core.reaches("good", "FINISHED")
        assert core.written("notes") == ["end of good"]
        await until(lambda: ("bad", "ERRORED") in core.states)
        await core.reaches("bad", "RUNNING")


async def test_a_startup_that_reports_itself_is_supervised_after_it(tmp_path):
    waits = "while [ ! -e $SCRATCH/go ]; do sleep 0.05; done"
    script = f"echo x >> $SCRATCH/starts\n{waits}\nrm $SCRATCH/go\nexit $(cat $SCRATCH/code)"
    async with core_device(tmp_path) as core:
        deploying = asyncio.create_task(core.deploy(deployment(app="1.0.0"), recipe("app", startup=script)))
        await until(lambda: core.written("starts"))
        core.nucleus.core.report("app", "RUNNING")
        assert (await deploying).status is Status.SUCCEEDED
        (core.scratch / "code").write_text("4")
        (core.scratch / "go").touch()
        await until(lambda: len(core.written("starts")) == 2, "a new start after exit status 4")
        assert core.nucleus.components["app"].why == "startup ended with exit status 4"
        await core.reaches("app", "STARTING")
        core.nucleus.core.report("app", "RUNNING")
        (core.scratch / "code").write_text("0")
        (core.scratch / "go").touch()
        await until(lambda: not (core.scratch / "go").exists())
        assert core.state("app") == "RUNNING"


async def test_what_does_not_heed_sigterm_is_killed(tmp_path):
    stubborn = "trap '' TERM\necho ready > $SCRATCH/ready\n" + FOREVER
    async with core_device(tmp_path, grace_s=0.2) as core:
        await core.deploy(deployment(app="1.0.0"), recipe("app", run=stubborn))
        await until(lambda: core.written("ready"))
        outcome = await core.deploy(deployment(other="1.0.0"), recipe("other", run=FOREVER))
        assert (outcome.status, core.nucleus.versions) == (Status.SUCCEEDED, {"other": "1.0.0"})


async def test_a_change_of_configuration_alone_is_told_and_starts_nothing_again(tmp_path):
    told = []
    app = recipe("app", default={"topic": "a", "rate": "1"}, run=serve("app"))
    async with core_device(tmp_path) as core:
        await core.deploy(deployment(app="1.0.0"), app)
        await until(lambda: core.written("app"))
        core.nucleus.core.on_change.append(lambda name, key: told.append((name, key)))
        outcome = await core.deploy(deployment(app=("1.0.0", {"topic": "b"}, [])), app)
        assert (outcome.status, outcome.changes) == (Status.SUCCEEDED, {"app": Change.CONFIGURED})
        assert told == [("app", ("topic",))]
        assert len(core.written("app")) == 1
        outcome = await core.deploy(deployment(app=("1.0.0", {}, ["/topic"])), app)
        assert core.nucleus.core.components["app"].configuration == {"topic": "a", "rate": "1"}


async def test_a_configuration_that_a_step_names_starts_it_again(tmp_path):
    app = recipe("app", default={"topic": "a"}, run="echo {configuration:/topic} >> $SCRATCH/topics\n" + FOREVER)
    async with core_device(tmp_path) as core:
        await core.deploy(deployment(app="1.0.0"), app)
        await until(lambda: core.written("topics") == ["a"])
        outcome = await core.deploy(deployment(app=("1.0.0", {"topic": "b"}, [])), app)
        assert outcome.changes == {"app": Change.RESTARTED}
        await until(lambda: core.written("topics") == ["a", "b"])


async def test_the_nucleus_own_setting_has_variables_in_configurations_replaced(tmp_path):
    app = recipe("app", default={"topic": "line/{iot:thingName}"}, run=FOREVER)
    told = {"aws.greengrass.Nucleus": ("2.12.6", {"interpolateComponentConfiguration": True}, [])}
    async with core_device(tmp_path) as core:
        await core.deploy(deployment(app="1.0.0", **told), app)
        assert core.nucleus.core.components["app"].configuration == {"topic": "line/press-7"}
        outcome = await core.deploy(deployment(app=("1.0.0", {"topic": "{iot:thingName}/2"}, [])), app)
        assert outcome.status is Status.SUCCEEDED
        assert core.nucleus.core.components["app"].configuration == {"topic": "press-7/2"}


class Listener:
    """A component that judges its configuration, as it stands on the server."""

    def __init__(self, core, answer):
        self.core, self.answer, self.asked = core, answer, []
        core.nucleus.server.validators["app"] = [self]

    def event(self, _shape, document):
        asked = document["validateConfigurationUpdateEvent"]
        self.asked.append(asked["configuration"])
        if self.answer:
            report = {"deploymentId": asked["deploymentId"], **self.answer}
            self.core.nucleus.server.validity("app", report)


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        ({"status": "ACCEPTED"}, Status.SUCCEEDED, ""),
        (
            {"status": "REJECTED", "message": "rate is 0"},
            Status.NO_STATE_CHANGE,
            "app refuses its configuration: rate is 0",
        ),
        (None, Status.NO_STATE_CHANGE, "app did not judge the configuration"),
    ],
)
async def test_a_component_judges_its_configuration_before_anything_changes(tmp_path, answer, status, says):
    app = recipe("app", default={"rate": "1"}, run=serve("app"))
    async with core_device(tmp_path) as core:
        await core.deploy(deployment(app="1.0.0"), app)
        listener = Listener(core, answer)
        limit = HANG_S if answer else 0.1
        outcome = await core.deploy(deployment(app=("1.0.0", {"rate": "0"}, []), validation_s=limit), app)
        assert outcome.status is status
        assert says in outcome.why
        assert listener.asked == [{"rate": "0"}]
        rate = core.nucleus.core.components["app"].configuration["rate"]
        assert rate == ("0" if status is Status.SUCCEEDED else "1")


async def test_what_cannot_be_had_changes_nothing(tmp_path):
    good = recipe("app", run=serve("app"))
    docker = {"aws.greengrass.DockerApplicationManager": "^2.0.0"}
    absent = [{"Uri": "docker:lineside/there-is-no-such-image:0.0.0"}]
    refused = {
        "app 3.0.0 is deployed; there are 1.0.0": (),
        "has no manifest for this device": (recipe("app", "3.0.0", platform={"os": "windows"}),),
        "no recipe of gone is there": (recipe("app", "3.0.0", needs={"gone": "*"}),),
        "needs aws.greengrass.DockerApplicationManager": (recipe("app", "3.0.0", artifacts=absent),),
        "no version": (recipe("app", "3.0.0", needs=docker, artifacts=[{"Uri": "docker:lineside/x:latest"}]),),
        "there-is-no-such-image": (recipe("app", "3.0.0", needs=docker, artifacts=absent),),
        "say with --artifacts": (recipe("app", "3.0.0", artifacts=[{"Uri": "s3://bucket/app.sh"}]),),
        "in a circle": (recipe("app", "3.0.0", needs={"b": "*"}), recipe("b", needs={"app": "*"})),
    }
    async with core_device(tmp_path) as core:
        await core.deploy(deployment(app="1.0.0"), good)
        await until(lambda: core.written("app"))
        for says, recipes in refused.items():
            outcome = await core.deploy(deployment(app="3.0.0"), good, *recipes)
            assert outcome.status is Status.NO_STATE_CHANGE
            assert says in outcome.why
        assert (core.state("app"), len(core.written("app"))) == ("RUNNING", 1)


async def test_files_and_archives_are_brought_from_a_folder(tmp_path):
    files = tmp_path / "files"
    (files / "app" / "1.0.0").mkdir(parents=True)
    (files / "app" / "1.0.0" / "say.sh").write_text("echo said >> $SCRATCH/notes\n")
    with zipfile.ZipFile(files / "more.zip", "w") as archive:
        archive.writestr("inside.sh", "echo unpacked >> $SCRATCH/notes\n")
    app = recipe(
        "app",
        artifacts=[
            {"Uri": "s3://bucket/any/say.sh", "Permission": {"Execute": "OWNER"}},
            {"Uri": "s3://bucket/more.zip", "Unarchive": "ZIP"},
        ],
        startup="sh {artifacts:path}/say.sh && sh {artifacts:decompressedPath}/more/inside.sh",
    )
    async with core_device(tmp_path, files=files) as core:
        assert (await core.deploy(deployment(app="1.0.0"), app)).status is Status.SUCCEEDED
    assert core.written("notes") == ["said", "unpacked"]


async def test_a_step_is_skipped_where_the_recipe_says_so(tmp_path):
    app = recipe(
        "app",
        install={"Script": note("install"), "Skipif": "onpath sh"},
        startup={"Script": note("startup"), "Skipif": "exists never"},
    )
    async with core_device(tmp_path) as core:
        await core.deploy(deployment(app="1.0.0"), app)
    assert core.written("notes") == ["startup"]


async def test_a_core_that_was_killed_starts_what_it_had(tmp_path):
    app = recipe("app", default={"topic": "a"}, install=note("install"), run=serve("app"))
    async with core_device(tmp_path) as core:
        await core.deploy(deployment(app="1.0.0"), app)
        await until(lambda: core.written("app"))
        core.nucleus.core.merge("app", ["topic"], "changed by itself")
        token = core.nucleus.core.components["app"].token
        await core.nucleus.kill()
    async with core_device(tmp_path) as core:
        assert await core.nucleus.settled() == ""
        assert core.nucleus.interrupted == ""
        assert core.nucleus.versions == {"app": "1.0.0"}
        assert core.nucleus.core.components["app"].configuration == {"topic": "changed by itself"}
        assert core.nucleus.core.components["app"].token != token
        await until(lambda: len(core.written("app")) == 2)
    assert core.written("notes") == ["install", "install"]


async def test_a_core_that_is_killed_has_waited_for_its_processes(tmp_path):
    """One that is not waited for stays in the list of processes, and its transport is left open."""
    app = recipe("app", run=f"echo $$ >> $SCRATCH/process\n{FOREVER}")
    async with core_device(tmp_path) as core:
        await core.deploy(deployment(app="1.0.0"), app)
        [process] = await until(lambda: core.written("process"))
        await core.nucleus.kill()
        assert not psutil.pid_exists(int(process))


async def test_a_core_killed_in_the_middle_of_a_deployment_goes_on_with_it(tmp_path):
    hanging = "echo x >> $SCRATCH/starts\nwhile [ ! -e $SCRATCH/go ]; do sleep 0.05; done"
    recipes = [recipe("app", "1.0.0", run=FOREVER), recipe("app", "2.0.0", startup=hanging)]
    async with core_device(tmp_path) as core:
        await core.deploy(deployment(app="1.0.0"), *recipes)
        deploying = asyncio.create_task(core.deploy(deployment("second", app="2.0.0"), *recipes))
        await until(lambda: core.written("starts"))
        deploying.cancel()
        await core.nucleus.kill()
    async with core_device(tmp_path) as core:
        assert (core.nucleus.interrupted, core.nucleus.versions) == ("second", {"app": "2.0.0"})
        (core.scratch / "go").touch()
        assert await core.nucleus.settled() == ""
        outcome = await core.deploy(deployment("second", app="2.0.0"), *recipes)
        assert (outcome.status, outcome.changes) == (Status.SUCCEEDED, {"app": Change.UNCHANGED})
    async with core_device(tmp_path) as core:
        assert core.nucleus.interrupted == ""


async def test_a_folder_has_one_core(tmp_path):
    async with core_device(tmp_path):
        with pytest.raises(BenchError, match="is used by another core"):
            async with core_device(tmp_path):
                pass


@pytest.mark.parametrize("content", ["", "[]", "{", '{"format": 9}', '{"format": 1, "components": 3}'])
async def test_a_spoilt_state_is_refused_by_its_name(tmp_path, content):
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "state.json").write_text(content)
    with pytest.raises(BenchError, match=r"state\.json is not the state of a core"):
        async with core_device(tmp_path):
            pass


async def test_a_path_that_no_socket_can_have_is_refused(tmp_path):
    with pytest.raises(BenchError, match="at most 107"):
        async with core_device(tmp_path / ("x" * 100)):
            pass


async def test_the_lite_manner_has_no_shutdown_no_recover_and_no_way_back(tmp_path):
    good = recipe("app", "1.0.0", run=FOREVER, shutdown=note("shutdown"))
    bad = recipe("app", "2.0.0", startup="echo ${HOME}", recover=note("recover"))
    async with core_device(tmp_path, manner="lite") as core:
        assert (await core.deploy(deployment(app="1.0.0"), good)).status is Status.SUCCEEDED
        outcome = await core.deploy(deployment(app="2.0.0"), bad)
        assert outcome.status is Status.NOT_REQUESTED
        assert "on nucleus lite every { begins one" in outcome.why
        assert core.state("app") == "BROKEN"
    assert core.written("notes") == []
