import json
from pathlib import Path
from typing import Any

import pytest

from lineside.greengrass.component import Component
from lineside.greengrass.errors import Conflict, ConnectionEnded, GreengrassError, NotFound, Refused, Unauthorized
from lineside.greengrass.refusals import named, recipe_lines, why_not_connected


def of_the_sdk(name: str, message: str | None = None) -> Exception:
    error = type(name, (Exception,), {})()
    error.message = message
    return error


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("UnauthorizedError", Unauthorized),
        ("ResourceNotFoundError", NotFound),
        ("ConflictError", Conflict),
        ("FailedUpdateConditionCheckError", Conflict),
        ("InvalidArgumentsError", Refused),
        ("ServiceError", Refused),
        ("ConnectionClosedError", ConnectionEnded),
        ("StreamClosedError", ConnectionEnded),
        ("AwsCrtError", ConnectionEnded),
    ],
)
def test_an_error_of_the_sdk_is_one_of_ours_that_names_the_operation(name: str, kind: type[GreengrassError]) -> None:
    error = named(of_the_sdk(name), "com.x", "GetConfiguration", {"key_path": ["a", "b"]})
    assert type(error) is kind
    assert "GetConfiguration on 'a/b'" in error.what


def test_what_the_nucleus_says_is_said_where_it_says_something() -> None:
    silent = named(of_the_sdk("ServiceError"), "com.x", "UpdateState", {})
    spoken = named(of_the_sdk("ServiceError", "no\nplace"), "com.x", "UpdateState", {})
    assert silent.what == "the Greengrass nucleus answers UpdateState with ServiceError"
    assert spoken.what == "the Greengrass nucleus answers UpdateState with ServiceError: no place"


@pytest.mark.parametrize(
    ("operation", "fields", "service", "resource"),
    [
        ("PublishToTopic", {"topic": "t"}, "aws.greengrass.ipc.pubsub", "t"),
        ("SubscribeToIoTCore", {"topic_name": "t/#"}, "aws.greengrass.ipc.mqttproxy", "t/#"),
        ("RestartComponent", {"component_name": "com.y"}, "aws.greengrass.Cli", "com.y"),
        (
            "GetThingShadow",
            {"thing_name": "p", "shadow_name": "s"},
            "aws.greengrass.ShadowManager",
            "$aws/things/p/shadow/name/s",
        ),
        ("GetThingShadow", {"thing_name": "p"}, "aws.greengrass.ShadowManager", "$aws/things/p/shadow"),
    ],
)
def test_the_lines_for_the_recipe_are_an_access_control(
    operation: str, fields: dict[str, Any], service: str, resource: str
) -> None:
    lines = recipe_lines("com.x", operation, fields)
    policy = {"operations": [f"aws.greengrass#{operation}"], "resources": [resource]}
    assert json.loads(lines.partition(": ")[2]) == {service: {f"com.x:{operation}:1": policy}}


def test_why_a_connection_is_not_made(tmp_path: Path) -> None:
    there = tmp_path / "ipc.socket"
    there.touch()
    missing = Component("com.x", "t", tmp_path / "missing")
    known = Component("com.x", "t", there)
    assert why_not_connected(TimeoutError(), known, 10) == "it did not answer within 10 s"
    assert "its folder mounted" in why_not_connected(RuntimeError("x"), missing, 10)
    assert "refuses the token of com.x" in why_not_connected(of_the_sdk("AccessDeniedError"), known, 10)
    assert "refuses the token of com.x" in why_not_connected(RuntimeError("AWS_IO_SOCKET_CLOSED: x"), known, 10)
    assert why_not_connected(RuntimeError("no  file"), known, 10) == "no file"
