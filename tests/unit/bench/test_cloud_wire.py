import base64
import json
from datetime import UTC, datetime

import pytest

from lineside_bench.cloud.wire import Refused, Wire

GREENGRASS, IOT = Wire("greengrassv2"), Wire("iot")
TARGET = "arn:aws:iot:eu-central-1:123456789012:thinggroup/line"
ARN = "arn:aws:greengrass:eu-central-1:123456789012:components:com.example.A:versions:1.0.0"


def read(operation, body=None, *, wire=GREENGRASS, path=None, query=None):
    model = wire.model.operation_model(operation)
    return wire.read(model, path or {}, query or {}, json.dumps(body).encode() if body is not None else b"")


def test_a_path_is_the_operation_that_botocore_sends_there():
    found = GREENGRASS.find("GET", f"/greengrass/v2/components/{ARN.replace(':', '%3A')}/metadata")
    assert found is not None
    assert found[0].name == "DescribeComponent"
    assert found[1] == {"arn": ARN}
    assert IOT.find("PUT", "/thing-groups/addThingToThingGroup")[0].name == "AddThingToThingGroup"
    assert GREENGRASS.find("GET", "/greengrass/v2/nothing-of-it") is None


def test_a_request_is_read_by_its_places_and_types():
    query = {"maxResults": "7", "historyFilter": "ALL"}
    assert read("ListDeployments", query=query) == {"maxResults": 7, "historyFilter": "ALL"}
    recipe = base64.b64encode(b"recipe").decode()
    assert read("CreateComponentVersion", {"inlineRecipe": recipe}) == {"inlineRecipe": b"recipe"}


@pytest.mark.parametrize(
    ("operation", "body", "query", "said"),
    [
        ("CreateDeployment", {}, {}, "targetArn"),
        ("CreateDeployment", {"targetArn": "line"}, {}, "pattern"),
        ("CreateDeployment", {"targetArn": TARGET, "component": {}}, {}, "component"),
        ("CreateDeployment", {"targetArn": TARGET, "components": {"a": {}}}, {}, "componentVersion"),
        ("CreateDeployment", {"targetArn": TARGET, "components": {"a": {"componentVersion": 1}}}, {}, "type"),
        (
            "CreateDeployment",
            {"targetArn": TARGET, "deploymentPolicies": {"componentUpdatePolicy": {"action": "SKIP"}}},
            {},
            "SKIP_NOTIFY_COMPONENTS",
        ),
        ("CreateDeployment", {"targetArn": TARGET, "clientToken": "x" * 65}, {}, "at most 64"),
        ("ListDeployments", None, {"maxResults": "101"}, "at most 100"),
        ("ListDeployments", None, {"maxResults": "many"}, "maxResults"),
        ("ListDeployments", None, {"historyFilter": "NEWEST"}, "LATEST_ONLY"),
    ],
)
def test_what_the_model_does_not_allow_is_a_validation_exception(operation, body, query, said):
    with pytest.raises(Refused, match=said) as refused:
        read(operation, body, query=query)
    assert refused.value.error == "ValidationException"
    assert GREENGRASS.refuse(refused.value).status == 400


def test_a_body_that_is_no_json_is_refused():
    model = GREENGRASS.model.operation_model("CreateDeployment")
    with pytest.raises(Refused, match="not JSON"):
        GREENGRASS.read(model, {}, {}, b"{")


def test_an_answer_is_written_by_its_shape_or_not_at_all():
    model = GREENGRASS.model.operation_model("GetDeployment")
    when = datetime(2026, 1, 5, tzinfo=UTC)
    answer = GREENGRASS.write(model, {"deploymentId": "d", "creationTimestamp": when, "deploymentStatus": "ACTIVE"})
    assert json.loads(answer.body) == {
        "deploymentId": "d",
        "creationTimestamp": when.timestamp(),
        "deploymentStatus": "ACTIVE",
    }
    for wrong in ({"status": "ACTIVE"}, {"deploymentStatus": "DONE"}, {"isLatestForTarget": "yes"}):
        with pytest.raises(AssertionError):
            GREENGRASS.write(model, wrong)


def test_an_error_has_the_status_and_headers_of_its_shape():
    answer = GREENGRASS.refuse(Refused("ThrottlingException", "Rate exceeded", retryAfterSeconds=3))
    assert answer.status == 429
    assert answer.headers == {"x-amzn-ErrorType": "ThrottlingException", "Retry-After": "3"}
    assert GREENGRASS.refuse(Refused("UnknownOperationException", "no")).status == 404
    assert IOT.refuse(Refused("AccessDeniedException", "no")).status == 403
