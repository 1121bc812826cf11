import pytest

from lineside.greengrass import services
from lineside_bench.greengrass.ipc_server import access

PUBLISH = "aws.greengrass#PublishToTopic"


def policies(*resources: str, operations: tuple[str, ...] = (PUBLISH,), service: str = services.PUBSUB) -> object:
    return {service: {"com.x:1": {"operations": list(operations), "resources": list(resources)}}}


@pytest.mark.parametrize(
    ("pattern", "resource", "covered"),
    [
        ("local/request", "local/request", True),
        ("local/request", "local/request/error", False),
        ("local/*", "local/a/b", True),
        ("*/error", "local/result/error", True),
        ("lo*al/*/x", "local/a/x", True),
        ("*", "anything", True),
        ("local/+", "local/a", False),
        ("local/+", "local/+", True),
        ("local/${*}", "local/*", True),
        ("local/${*}", "local/a", False),
        ("a.c", "abc", False),
    ],
)
def test_a_local_resource_is_covered_by_globs_only(pattern: str, resource: str, covered: bool) -> None:
    assert access.matches(pattern, resource) is covered


@pytest.mark.parametrize(
    ("pattern", "resource", "covered"),
    [
        ("$aws/things/+/shadow", "$aws/things/bench/shadow", True),
        ("$aws/things/+/shadow", "$aws/things/a/b/shadow", False),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("a/#", "b", False),
        ("#", "a/b", True),
    ],
)
def test_a_topic_of_iot_core_is_covered_by_wildcards_too(pattern: str, resource: str, covered: bool) -> None:
    assert access.matches(pattern, resource, wildcards=True) is covered


def test_an_operation_has_to_be_named_or_all_of_them() -> None:
    assert access.allowed(policies("t"), services.PUBSUB, PUBLISH, "t")
    assert access.allowed(policies("t", operations=("*",)), services.PUBSUB, PUBLISH, "t")
    assert not access.allowed(policies("t"), services.PUBSUB, "aws.greengrass#SubscribeToTopic", "t")
    assert not access.allowed(policies("t"), services.MQTT_PROXY, PUBLISH, "t")


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        "x",
        {},
        {services.PUBSUB: None},
        {services.PUBSUB: {"p": None}},
        {services.PUBSUB: {"p": {"operations": "*", "resources": "*"}}},
        {services.PUBSUB: {"p": {"operations": ["*"]}}},
    ],
)
def test_what_is_no_policy_allows_nothing(damaged: object) -> None:
    assert not access.allowed(damaged, services.PUBSUB, PUBLISH, "t")


def test_variables_of_a_recipe_are_replaced_where_they_are_given() -> None:
    wanted = policies("lineside/{iot:thingName}/status")
    resource = "lineside/press-3/status"
    assert not access.allowed(wanted, services.PUBSUB, PUBLISH, resource)
    assert access.allowed(wanted, services.PUBSUB, PUBLISH, resource, {"{iot:thingName}": "press-3"})
