"""Deployments as they are read."""

import re

import pytest

from lineside_bench.errors import BenchError
from lineside_bench.greengrass.core.configuration import Update
from lineside_bench.greengrass.core.document import DO_NOTHING, ROLLBACK, Wanted, read_deployment
from lineside_bench.greengrass.core.reading import parsed, read_file


def deployment(text):
    return read_deployment(parsed(text, "line.yaml", is_json=False))


def test_a_deployment_as_the_api_takes_it():
    made = deployment(
        """
deploymentName: line 1
components:
  com.example.A:
    componentVersion: 1.2.0
    configurationUpdate: {merge: '{"topic": "b"}', reset: ['', /topic]}
  com.example.B: 2.0.0
deploymentPolicies:
  failureHandlingPolicy: DO_NOTHING
  componentUpdatePolicy: {action: SKIP_NOTIFY_COMPONENTS, timeoutInSeconds: 5}
  configurationValidationPolicy: {timeoutInSeconds: 5}
"""
    )
    assert made.name == "line 1"
    assert made.components["com.example.A"] == Wanted("1.2.0", Update({"topic": "b"}, ("", "/topic")))
    assert made.components["com.example.B"] == Wanted("2.0.0")
    assert (made.on_failure, made.validation_s) == (DO_NOTHING, 5)


def test_what_is_not_said_is_as_greengrass_has_it():
    made = deployment("components: {a: {componentVersion: 1.0.0, configurationUpdate: {merge: {x: 1}}}}")
    assert made.components["a"].update == Update({"x": 1})
    assert (made.on_failure, made.validation_s) == (ROLLBACK, 30)


@pytest.mark.parametrize(("given", "expected"), [("true", True), ("'true'", True), ("false", False), ("no", False)])
def test_a_deployment_says_whether_configurations_are_interpolated(given, expected):
    nucleus = (
        f"{{componentVersion: 2.12.6, configurationUpdate: {{merge: {{interpolateComponentConfiguration: {given}}}}}}}"
    )
    assert deployment(f"components: {{aws.greengrass.Nucleus: {nucleus}}}").interpolates is expected
    assert deployment("components: {a: 1.0.0}").interpolates is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1", "components is None"),
        ("components: []", "components is []"),
        ("components: {a: {}}", "components.a.componentVersion is None; expected text"),
        ("components: {a: ^1.0.0}", "a deployment takes no ranges"),
        ("components: {a: {componentVersion: 1.0.0, configurationUpdate: {merge: '['}}}", "merge is '['"),
        ("components: {a: {componentVersion: 1.0.0, configurationUpdate: {merge: [1]}}}", "merge is [1]"),
        ("components: {a: {componentVersion: 1.0.0, configurationUpdate: {reset: [topic]}}}", "reset[0] is 'topic'"),
        ("components: {a: {componentVersion: 1.0.0, configurationUpdate: {reset: [1]}}}", "reset[0] is 1"),
        ("components: {a: 1.0.0}\ndeploymentPolicies: {failureHandlingPolicy: RETRY}", "ROLLBACK or DO_NOTHING"),
        (
            "components: {a: 1.0.0}\ndeploymentPolicies: {componentUpdatePolicy: {action: SKIP}}",
            "deploymentPolicies.componentUpdatePolicy.action is 'SKIP'; expected NOTIFY_COMPONENTS or SKIP_NOTIFY_COMP",
        ),
        ("components: {a: 1.0.0}\ndeploymentPolicies: [x]", "deploymentPolicies is ['x']"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, says):
    with pytest.raises(BenchError, match=re.escape(says)):
        deployment(text)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(BenchError, match=r"absent\.yaml: cannot be read: No such file"):
        read_file(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(BenchError, match="not UTF-8"):
        read_file(tmp_path / "binary.yaml")
    (tmp_path / "twice.json").write_text('{"a": 1, "a": 2}')
    with pytest.raises(BenchError, match="given twice"):
        read_file(tmp_path / "twice.json")
