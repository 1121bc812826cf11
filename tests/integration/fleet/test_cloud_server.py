"""The stand-in as boto3 sees it."""

import json
import threading

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from lineside_bench.cloud.faults import Fault, Kind
from lineside_bench.cloud.sample import BASE, FLEET, STAGING, recipe
from tests.support.stand_in_cloud import client, serving, steer
from tests.support.waiting import PATIENCE_S

MODEL = "com.lineside.Model.SurfaceDefect"


@pytest.fixture
def server():
    with serving(devices=30) as running:
        yield running


@pytest.fixture
def greengrass(server):
    return client(server, "greengrassv2")


@pytest.fixture
def iot(server):
    return client(server, "iot")


def set_of(version):
    return {name: {"componentVersion": version if name == MODEL else base} for name, base in BASE.items()}


def test_a_component_is_made_once_told_of_and_deployed(server, greengrass, iot):
    made = greengrass.create_component_version(inlineRecipe=json.dumps(recipe(MODEL, "2.0.0")), tags={"a": "b"})
    told = greengrass.describe_component(arn=made["arn"])
    assert told["status"]["componentState"] == "DEPLOYABLE"
    assert told["tags"] == {"a": "b"}
    assert json.loads(greengrass.get_component(arn=made["arn"])["recipe"]) == recipe(MODEL, "2.0.0")
    arn = made["arn"].rpartition(":versions:")[0]
    listed = [each["componentVersion"] for each in greengrass.list_component_versions(arn=arn)["componentVersions"]]
    assert listed == ["2.0.0", "1.1.0", "1.0.0"]
    newest = {
        each["arn"]: each["latestVersion"]["componentVersion"] for each in greengrass.list_components()["components"]
    }
    assert newest[arn] == "2.0.0"
    with pytest.raises(greengrass.exceptions.ConflictException, match="already exists"):
        greengrass.create_component_version(inlineRecipe=json.dumps(recipe(MODEL, "2.0.0")))

    group = iot.describe_thing_group(thingGroupName=STAGING)["thingGroupArn"]
    deployed = greengrass.create_deployment(targetArn=group, components=set_of("2.0.0"), deploymentName="second")
    assert steer(server, "POST", "tick", {"minutes": 3})[0] == 200
    executions = iot.list_job_executions_for_job(jobId=deployed["iotJobId"])["executionSummaries"]
    assert {each["jobExecutionSummary"]["status"] for each in executions} == {"SUCCEEDED"}
    device = executions[0]["thingArn"].rpartition("/")[2]
    installed = greengrass.list_installed_components(coreDeviceThingName=device)["installedComponents"]
    assert {each["componentName"]: each["componentVersion"] for each in installed}[MODEL] == "2.0.0"
    effective = greengrass.list_effective_deployments(coreDeviceThingName=device)["effectiveDeployments"]
    assert [each["deploymentName"] for each in effective] == ["second"]


def test_a_real_core_reports_over_the_wire(server, greengrass, iot):
    server.cloud.world.devices["staging-01"].is_real = True
    group = iot.describe_thing_group(thingGroupName=STAGING)["thingGroupArn"]
    deployed = greengrass.create_deployment(targetArn=group, components=set_of("1.1.0"))["deploymentId"]
    report = {"thing": "staging-01", "deployment_id": deployed, "status": "SUCCEEDED", "components": {MODEL: "1.1.0"}}
    assert steer(server, "POST", "report", {**report, "thing": "staging-02"})[0] == 409
    assert steer(server, "POST", "report", {**report, "status": "FINE"})[0] == 400
    assert steer(server, "POST", "report", {**report, "colour": "red"})[0] == 400
    assert steer(server, "POST", "report", report)[0] == 200
    said = steer(server, "POST", "report", report)
    assert (said[0], "is SUCCEEDED on staging-01 already" in said[1]["message"]) == (409, True)
    rows = greengrass.list_installed_components(coreDeviceThingName="staging-01")["installedComponents"]
    assert [(each["componentName"], each["componentVersion"]) for each in rows] == [(MODEL, "1.1.0")]
    effective = greengrass.list_effective_deployments(coreDeviceThingName="staging-01")["effectiveDeployments"]
    assert [each["coreDeviceExecutionStatus"] for each in effective] == ["SUCCEEDED"]


def test_listings_come_in_pages(greengrass, iot):
    names = []
    for page in iot.get_paginator("list_things_in_thing_group").paginate(thingGroupName=FLEET):
        assert len(page["things"]) <= 25
        names += page["things"]
    assert len(names) == len(set(names)) == 30
    arn = iot.describe_thing_group(thingGroupName=FLEET)["thingGroupArn"]
    pages = greengrass.get_paginator("list_core_devices").paginate(thingGroupArn=arn, PaginationConfig={"PageSize": 20})
    assert [len(page["coreDevices"]) for page in pages] == [20, 10]


def test_a_client_token_gives_the_same_deployment_again_and_not_another(server, greengrass):
    group = server.cloud.world.groups[STAGING].arn
    asked = {"targetArn": group, "components": set_of("1.1.0"), "clientToken": "token-1"}
    first = greengrass.create_deployment(**asked)
    assert greengrass.create_deployment(**asked)["deploymentId"] == first["deploymentId"]
    with pytest.raises(greengrass.exceptions.ConflictException):
        greengrass.create_deployment(**{**asked, "components": set_of("1.0.0")})


def test_what_is_not_there_or_not_played_is_an_error_of_the_api(greengrass, iot):
    with pytest.raises(greengrass.exceptions.ResourceNotFoundException):
        greengrass.get_core_device(coreDeviceThingName="nobody")
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.describe_thing_group(thingGroupName="nobody")
    with pytest.raises(ClientError, match="does not play iot:ListPolicies"):
        iot.list_policies()


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        (Kind.throttled, "ThrottlingException", 429),
        (Kind.denied, "AccessDeniedException", 403),
        (Kind.conflict, "ConflictException", 409),
        (Kind.internal, "InternalServerException", 500),
    ],
)
def test_faults_come_on_demand_and_at_the_named_call_alone(server, greengrass, kind, code, status):
    server.cloud.faults.planned = [Fault(kind, "ListDeployments", skip=1)]
    greengrass.list_core_devices()
    greengrass.list_deployments()
    with pytest.raises(ClientError) as caught:
        greengrass.list_deployments()
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    greengrass.list_deployments()


def test_throttling_tells_when_to_come_back_and_boto3_does(server):
    status, _ = steer(server, "POST", "faults", [{"kind": "throttled", "times": 1, "retry_after_s": 0}])
    assert status == 200
    client(server, "greengrassv2", attempts=3).list_deployments()
    assert server.cloud.calls["ListDeployments"] == 2


@pytest.mark.parametrize(("kind", "made"), [(Kind.dropped, 2), (Kind.half_done, 3)])
def test_a_connection_that_ends_has_done_its_work_or_not(server, greengrass, kind, made):
    server.cloud.faults.planned = [Fault(kind, "CreateDeployment")]
    with pytest.raises(ConnectionClosedError):
        greengrass.create_deployment(targetArn=server.cloud.world.groups[STAGING].arn, components=set_of("1.1.0"))
    assert len(server.cloud.world.deployments) == made


def test_a_call_that_hangs_has_been_done(server):
    server.cloud.faults.planned = [Fault(Kind.hangs, "CreateDeployment")]
    group = server.cloud.world.groups[STAGING].arn
    told = []

    def call():
        try:
            client(server, "greengrassv2").create_deployment(targetArn=group, components=set_of("1.1.0"))
        except ConnectionClosedError as error:
            told.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert server.cloud.hanging.wait(PATIENCE_S)
    assert len(server.cloud.world.deployments) == 3
    assert told == []
    server.cloud.release.set()
    thread.join(PATIENCE_S)
    assert len(told) == 1


def test_it_is_steered_over_http_and_refuses_what_it_does_not_know(server):
    assert steer(server, "POST", "tick", {"minutes": "soon"})[0] == 400
    assert steer(server, "POST", "faults", [{"kind": "strange"}])[0] == 400
    assert steer(server, "GET", "nothing")[0] == 404
    assert steer(server, "GET", "calls") == (200, {})
    assert steer(server, "GET", "world")[1]["groups"][STAGING] == ["staging-01", "staging-02"]
