"""Each recipe here is right but for one thing, and is refused for that one thing, at its line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from lineside.cli.recipe import app
from lineside.recipes.checking import Finding, check, check_together
from tests.support.paths import ROOT

RIGHT = """\
RecipeFormatVersion: '2020-01-25'
ComponentName: com.example.Eye
ComponentVersion: '1.4.0'
ComponentConfiguration:
  DefaultConfiguration:
    memory: 1g
    limits: {cpus: '2'}
    accessControl:
      aws.greengrass.ipc.pubsub:
        'com.example.Eye:pubsub:1':
          policyDescription: asks and answers
          operations: ['aws.greengrass#PublishToTopic']
          resources: ['local/eye/result']
ComponentDependencies:
  aws.greengrass.DockerApplicationManager: {VersionRequirement: '~2.0.0', DependencyType: HARD}
  com.example.Ear: {VersionRequirement: '>=1.0.0 <2.0.0', DependencyType: SOFT}
Manifests:
  - Name: lite
    Platform: {os: linux, architecture: amd64, runtime: aws_nucleus_lite}
    Lifecycle:
      startup:
        Timeout: 300
        Script: |-
          # as the classic one
          docker run --rm --name eye --memory {configuration:/memory} eye
    Artifacts:
      - Uri: docker:plant.example/eye:1.4.0
  - Name: classic
    Platform: {os: linux, architecture: amd64}
    Lifecycle:
      install: {Timeout: 60, Script: 'sh {artifacts:path}/eye.sh install'}
      startup:
        Timeout: 300
        Script: docker run --rm --name eye --cpus {configuration:/limits/cpus} eye
      shutdown: {Timeout: 30, Script: docker stop -t 20 eye}
      recover: {Timeout: 60, Script: docker rm -f eye}
    Artifacts:
      - Uri: docker:plant.example/eye:1.4.0
      - Uri: s3://plant-bucket/eye/1.4.0/eye.sh
        Permission: {Read: OWNER, Execute: NONE}
"""

CLASSIC_IMAGE = (
    "recover: {Timeout: 60, Script: docker rm -f eye}\n    Artifacts:\n      - Uri: docker:plant.example/eye:1.4.0"
)


def image(uri: str) -> tuple[str, str]:
    return CLASSIC_IMAGE, CLASSIC_IMAGE.replace("docker:plant.example/eye:1.4.0", uri)


ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"

ANOTHER_SERVICE = """\
      aws.greengrass.ipc.mqttproxy:
        'com.example.Eye:pubsub:1':
          operations: ['aws.greengrass#PublishToIoTCore']
          resources: ['eye']
"""

BROKEN: dict[str, tuple[str, str, str, str]] = {
    # what is broken: (text, what it becomes, the rule, what the finding names)
    "an unknown key of the recipe": (
        "ComponentVersion:",
        "ComponentDescripton: x\nComponentVersion:",
        "key-unknown",
        "ComponentDescription",
    ),
    "no version": ("ComponentVersion: '1.4.0'\n", "", "key-missing", "ComponentVersion"),
    "no manifests": ("Manifests:", "Lifecycle:", "key-missing", "Manifests"),
    "another format": ("2020-01-25", "2021-01-25", "format-version", "2020-01-25"),
    "a long name": ("com.example.Eye\n", f"com.{'e' * 130}\n", "name-too-long", "134 characters"),
    "a name with a blank": ("com.example.Eye\n", "com.example Eye\n", "name-malformed", "com.example Eye"),
    "a version of two numbers": ("'1.4.0'", "'1.4'", "version-malformed", "1.4"),
    "a version that is a number": ("'1.4.0'", "1.4", "version-malformed", "1.4"),
    "a version with a v": ("'1.4.0'", "v1.4.0", "version-malformed", "v1.4.0"),
    "a version with a leading zero": ("'1.4.0'", "'1.04.0'", "version-malformed", "1.04.0"),
    "a dependency without a range": ("{VersionRequirement: '~2.0.0', ", "{", "dependency-range", "VersionRequirement"),
    "a dependency with another range": ("'~2.0.0'", "'about 2'", "dependency-range", "about 2"),
    "a dependency of another kind": ("DependencyType: SOFT", "DependencyType: WEAK", "dependency-type", "WEAK"),
    "a misspelt key of a dependency": ("DependencyType: SOFT", "DependencyTyp: SOFT", "key-unknown", "DependencyType"),
    "a key given twice": ("    memory: 1g\n", "    memory: 1g\n    memory: 2g\n", "key-twice", "memory"),
    "an unknown key of a manifest": ("- Name: classic", "- Title: classic", "key-unknown", "Name"),
    "an architecture as uname says it": ("amd64}\n", "x86_64}\n", "platform-value", "amd64"),
    "an attribute that is no text": (
        "amd64, runtime",
        "amd64, com.example.l4t: 36, runtime",
        "platform-value",
        "quotes",
    ),
    "a wide manifest first": (
        "amd64, runtime: aws_nucleus_lite}",
        "'*', runtime: '*'}",
        "manifest-unreachable",
        "Manifests.0",
    ),
    "an expression on lite": ("amd64, runtime", "/amd64|arm/, runtime", "lite-regex", "/amd64|arm/"),
    "a manifest without a lifecycle": (
        "    Lifecycle:\n      startup:",
        "    Selections: [all]\n    X:\n      startup:",
        "lifecycle-missing",
        "",
    ),
    "a mistyped step": ("      recover:", "      recovery:", "step-unknown", "did you mean 'recover'?"),
    "run beside startup": ("      recover:", "      run: sleep 5\n      recover:", "run-and-startup", "run"),
    "a step of classic on lite": (
        "      startup:\n",
        "      shutdown: {Timeout: 9, Script: x}\n      startup:\n",
        "lite-step",
        "shutdown",
    ),
    "a step in capitals on lite": (
        "      startup:\n        Timeout: 300\n        Script: |",
        "      Startup:\n        Timeout: 300\n        Script: |",
        "lite-case",
        "startup",
    ),
    "an unknown key of a step": (
        "recover: {Timeout: 60,",
        "recover: {Timeout: 60, Privileged: true,",
        "key-unknown",
        "Privileged",
    ),
    "a step without a script": (
        "install: {Timeout: 60, Script: 'sh {artifacts:path}/eye.sh install'}",
        "install: {Timeout: 60}",
        "script-empty",
        "",
    ),
    "a step without a time limit": ("recover: {Timeout: 60, ", "recover: {", "timeout-missing", "Timeout"),
    "a step that is only text": (
        "recover: {Timeout: 60, Script: docker rm -f eye}",
        "recover: docker rm -f eye",
        "timeout-missing",
        "Timeout",
    ),
    "a time limit in words": ("recover: {Timeout: 60", "recover: {Timeout: 1m", "timeout-value", "1m"),
    "a stop longer than its step": ("stop -t 20", "stop -t 30", "stop-longer-than-step", "30 s"),
    "a script that is too long": ("docker rm -f eye", f"docker rm -f {'e' * 10_000}", "script-too-long", "10000"),
    "a shell's braces": ("--name eye --memory", "--name ${EYE} --memory", "script-braces", "${EYE}"),
    "a template of docker": (
        "docker rm -f eye",
        "\"docker inspect -f '{{.State.Status}}' eye\"",
        "script-braces",
        "{{.State",
    ),
    "a variable without a value": ("{configuration:/memory}", "{configuration:/memroy}", "variable-unknown", "/memroy"),
    "a variable of nothing": (
        "{artifacts:path}/eye.sh",
        "{artifacts:paths}/eye.sh",
        "variable-unknown",
        "decompressedPath",
    ),
    "another component's variable on lite": (
        "{configuration:/memory}",
        "{com.example.Ear:configuration:/memory}",
        "lite-variable",
        "com.example.Ear",
    ),
    "a path without its slash": (
        "{artifacts:path}/eye.sh",
        "{artifacts:path}eye.sh",
        "artifacts-path",
        "{artifacts:path}e",
    ),
    "a path of what is not unpacked": (
        "{artifacts:path}/eye.sh",
        "{artifacts:decompressedPath}/eye.sh",
        "artifacts-path",
        "Unarchive",
    ),
    "a path where only images are": (
        "docker run --rm --name eye --memory",
        "ls {artifacts:path}/; docker run --rm --memory",
        "artifacts-path",
        "only images",
    ),
    "a container that Docker restarts": (
        "--rm --name eye --cpus",
        "--restart always --name eye --cpus",
        "container-restarts",
        "always",
    ),
    "a privileged container": (
        "--rm --name eye --cpus",
        "--privileged --rm --name eye --cpus",
        "container-privileged",
        "--privileged",
    ),
    "an empty image": (*image("'docker:'"), "image-malformed", "docker:"),
    "an image in capitals": (*image("docker:plant.example/Eye:1.4.0"), "image-malformed", "lower case"),
    "an image with a malformed digest": (*image("docker:plant.example/eye@sha256:12"), "image-malformed", "sha256:12"),
    "a tag and a digest": (
        *image(f"docker:plant.example/eye:1.4.0@sha256:{'a' * 64}"),
        "image-tag-and-digest",
        "never both",
    ),
    "the latest image": (*image("docker:plant.example/eye:latest"), "image-latest", "eye:latest"),
    "an image without a tag": (*image("docker:plant.example/eye"), "image-latest", "plant.example/eye"),
    "a private registry without credentials": (
        *image(f"docker:{ECR}/eye:1.4.0"),
        "token-exchange-missing",
        "TokenExchangeService",
    ),
    "images without their manager": (
        "aws.greengrass.DockerApplicationManager",
        "aws.greengrass.LogManager",
        "docker-manager-missing",
        "DockerApplicationManager",
    ),
    "an artifact from nowhere": (
        "s3://plant-bucket/eye/1.4.0/eye.sh",
        "https://plant.example/eye.sh",
        "artifact-uri",
        "https://",
    ),
    "an artifact that is a folder": (
        "s3://plant-bucket/eye/1.4.0/eye.sh",
        "s3://plant-bucket/eye/1.4.0/",
        "artifact-uri",
        "s3://<bucket>/<key>",
    ),
    "an artifact unpacked as tar": (
        "        Permission:",
        "        Unarchive: TAR\n        Permission:",
        "artifact-unarchive",
        "TAR",
    ),
    "a permission for nobody known": ("Read: OWNER", "Read: GROUP", "artifact-permission", "GROUP"),
    "a misspelt accessControl": ("    accessControl:", "    accesscontrol:", "access-misspelt", "accesscontrol"),
    "an accessControl that is a list": (
        "      aws.greengrass.ipc.pubsub:\n        'com",
        "      - aws.greengrass.ipc.pubsub:\n        'com",
        "access-malformed",
        "policies by id",
    ),
    "a text that is no YAML": ("    memory: 1g", "    memory: [1g", "unreadable", "not YAML"),
    "a service of nobody": (
        "aws.greengrass.ipc.pubsub:",
        "aws.greengrass.ipc.pubsubs:",
        "access-service",
        "aws.greengrass.ipc.pubsub",
    ),
    "a policy without resources": ("          resources: ['local/eye/result']\n", "", "access-malformed", "resources"),
    "a policy whose operations are text": (
        "['aws.greengrass#PublishToTopic']",
        "aws.greengrass#PublishToTopic",
        "access-malformed",
        "operations",
    ),
    "a policy for every operation": ("['aws.greengrass#PublishToTopic']", "['*']", "access-wildcard", "operation"),
    "a policy for every topic": ("['local/eye/result']", "['local/eye/*']", "access-wildcard", "local/eye/*"),
    "an operation of another service": ("#PublishToTopic", "#PublishToIoTCore", "access-operation", "PublishToTopic"),
    "an MQTT wildcard in a local topic": ("local/eye/result", "local/+/result", "access-topic", "plain characters"),
    "a policy id in two services": (
        "ComponentDependencies:",
        ANOTHER_SERVICE + "ComponentDependencies:",
        "policy-id-twice",
        "line 10",
    ),
}


def changed(before: str, after: str) -> str:
    assert before in RIGHT
    return RIGHT.replace(before, after, 1)


def test_the_recipe_that_they_are_made_of_is_right() -> None:
    assert check(RIGHT).findings == ()
    assert check(json.dumps(yaml.safe_load(RIGHT), indent=2), is_json=True).findings == ()


def test_there_are_at_least_25_and_each_rule_is_broken_by_one() -> None:
    assert len(BROKEN) >= 25
    folder = Path(sys.modules[Finding.__module__].__file__).parent
    source = "".join((folder / f"{name}.py").read_text() for name in ("checking", "access", "artifacts", "lifecycle"))
    rules = set(re.findall(r'"([a-z0-9]+(?:-[a-z0-9]+)+)", (?:says|f?")', source))
    assert {rule for *_text, rule, _names in BROKEN.values()} >= rules - {
        "type-wrong",
        "not-a-recipe",
        "component-twice",
    }


def test_the_reference_names_every_rule() -> None:
    page = (ROOT / "docs/reference/recipe.md").read_text(encoding="utf-8")
    named = {
        rule
        for row in re.findall(r"^\| (`[a-z].*?) \|", page, re.MULTILINE)
        for rule in re.findall(r"`([a-z-]+)`", row)
    }
    assert {"component-twice", *(rule for *_text, rule, _names in BROKEN.values())} - {"unreadable"} <= named


@pytest.mark.parametrize(("before", "after", "rule", "names"), BROKEN.values(), ids=BROKEN)
def test_a_broken_recipe_is_refused_for_its_own_reason(before: str, after: str, rule: str, names: str) -> None:
    broken = changed(before, after)
    found = [finding for finding in check(broken).findings if finding.rule == rule]
    assert len(found) == 1, check(broken).findings
    assert names in str(found[0])
    others = {finding.rule for finding in check(broken).findings} - {rule}
    assert others <= {"key-unknown"} if rule in {"key-missing", "lifecycle-missing"} else not others


@pytest.mark.parametrize("what", ["a mistyped step", "a shell's braces", "an operation of another service"])
def test_a_finding_names_the_line_of_its_value(what: str) -> None:
    before, after, rule, _names = BROKEN[what]
    broken = changed(before, after)
    line = next(place for place, text in enumerate(broken.splitlines(), 1) if after.strip() in text)
    assert [finding.line for finding in check(broken).findings if finding.rule == rule] == [line]


def test_a_finding_in_json_names_the_line_of_its_value() -> None:
    document = yaml.safe_load(RIGHT)
    document["Manifests"][1]["Lifecycle"]["recover"]["Script"] = "a\nb\n${C}"
    text = json.dumps(document, indent="\t")
    (found,) = check(text, is_json=True).findings
    assert "${C}" in text.splitlines()[found.line - 1]


@pytest.mark.parametrize(
    ("text", "is_json", "rule"),
    [
        ("", False, "not-a-recipe"),
        ("- a", False, "not-a-recipe"),
        ("{", True, "unreadable"),
        ("a: &a [*a]", False, "unreadable"),
    ],
)
def test_what_is_no_recipe_is_said_so(text: str, is_json: bool, rule: str) -> None:
    assert [finding.rule for finding in check(text, is_json=is_json).findings] == [rule]


@pytest.mark.parametrize("key", ["ComponentDependencies", "ComponentConfiguration", "Manifests", "Lifecycle"])
@pytest.mark.parametrize("value", [None, 3, "x", [], [3], {}, {"x": None}, {"x": [1]}, True])
def test_values_of_every_other_type_are_findings_and_no_crash(key: str, value: object) -> None:
    document = yaml.safe_load(RIGHT) | {key: value}
    for finding in check(json.dumps(document), is_json=True).findings:
        assert finding.line == 1
        assert finding.says


def test_a_policy_id_of_two_components_is_found_when_they_are_named_together() -> None:
    other = RIGHT.replace("com.example.Eye\n", "com.example.Nose\n")
    found = check_together({"eye.yaml": check(RIGHT), "nose.yaml": check(other)})
    assert found["eye.yaml"] == []
    assert [(finding.rule, finding.line) for finding in found["nose.yaml"]] == [("policy-id-twice", 10)]
    assert "com.example.Eye (eye.yaml)" in str(found["nose.yaml"][0])


def test_two_versions_of_one_component_share_their_ids() -> None:
    newer = RIGHT.replace("1.4.0", "1.5.0")
    assert check_together({"a": check(RIGHT), "b": check(newer)}) == {"a": [], "b": []}


def test_two_recipes_of_one_component_and_version_are_found_when_they_are_named_together() -> None:
    found = check_together({"a.yaml": check(RIGHT), "b.yaml": check(RIGHT.replace("memory: 1g", "memory: 2g"))})
    assert found["a.yaml"] == []
    [finding] = found["b.yaml"]
    assert str(finding).startswith("2: ComponentName: 'com.example.Eye': 1.4.0 is in a.yaml too, and a device gets one")
    assert finding.rule == "component-twice"


def test_the_command_names_file_line_value_and_rule(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.yaml", tmp_path / "wrong.yaml"
    right.write_text(RIGHT)
    wrong.write_text(changed(*BROKEN["a mistyped step"][:2]))
    run = [sys.executable, "-m", "lineside", "recipe", "check"]
    done = subprocess.run([*run, right], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1 recipe: right\n")
    done = subprocess.run([*run, wrong, tmp_path / "none.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{wrong}:" in done.stderr
    assert "'recovery': not a step" in done.stderr
    assert "[step-unknown]" in done.stderr
    assert "none.yaml: cannot be read: No such file or directory; name recipes, or a folder" in done.stderr


def test_of_a_folder_the_recipes_in_it_are_checked(tmp_path: Path) -> None:
    folder = tmp_path / "recipes"
    (folder / "artifacts.yaml").mkdir(parents=True)
    (folder / "eye.yaml").write_text(RIGHT)
    (folder / "nose.json").write_text(json.dumps(yaml.safe_load(RIGHT.replace("com.example.Eye", "com.example.Nose"))))
    (folder / "README.md").write_text("no recipe")
    result = CliRunner().invoke(app, ["check", str(folder)])
    assert (result.exit_code, result.output) == (0, "2 recipes: right\n")
    (folder / "eye.yaml").write_text(changed(*BROKEN["a mistyped step"][:2]))
    result = CliRunner().invoke(app, ["check", str(folder)])
    assert result.exit_code == 1
    assert f"{folder / 'eye.yaml'}:" in result.output
    result = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert (result.exit_code, result.output) == (
        2,
        f"{tmp_path}: no recipe is in this folder; they end with .yaml, .yml, .json\n",
    )
