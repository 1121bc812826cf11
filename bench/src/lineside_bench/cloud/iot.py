"""The operations of `iot` that the stand-in plays: things, their groups, and the jobs that carry deployments."""

import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from lineside_bench.cloud.devices import Device
from lineside_bench.cloud.greengrass import job_arn
from lineside_bench.cloud.paging import page
from lineside_bench.cloud.wire import Refused
from lineside_bench.cloud.world import ACCOUNT, REGION, Deployment, Group, World

Operation = Callable[[World, dict[str, Any]], Mapping[str, Any]]
_IDS = uuid.UUID("3f3a0b57-8a2a-4b3c-8c7e-5d7d7d0a6c55")


def thing_arn(name: str) -> str:
    """Return the ARN of a thing."""
    return f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/{name}"


def create_thing(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Make a thing, which is a core device of the usual manner here."""
    name = asked["thingName"]
    world.devices.setdefault(name, Device(name))
    return {"thingName": name, "thingArn": thing_arn(name), "thingId": str(uuid.uuid5(_IDS, name))}


def describe_thing(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Tell of a thing."""
    name = _thing(world, asked["thingName"])
    return {"thingName": name, "thingArn": thing_arn(name), "thingId": str(uuid.uuid5(_IDS, name)), "version": 1}


def list_things(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """List the things."""
    return page("things", [{"thingName": name, "thingArn": thing_arn(name)} for name in world.devices], asked)


def create_thing_group(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Make a group; the same one again is the same, one with other properties is refused."""
    name = asked["thingGroupName"]
    if "parentGroupName" in asked:
        raise Refused("InvalidRequestException", "The stand-in has no groups in groups: leave parentGroupName out")
    properties = asked.get("thingGroupProperties") or {}
    attributes = dict((properties.get("attributePayload") or {}).get("attributes") or {})
    made = Group(name, properties.get("thingGroupDescription", ""), attributes)
    found = world.groups.setdefault(name, made)
    if (found.description, found.attributes) != (made.description, made.attributes):
        raise Refused("ResourceAlreadyExistsException", f"Thing group {name} exists with other properties")
    return {"thingGroupName": name, "thingGroupArn": found.arn, "thingGroupId": str(uuid.uuid5(_IDS, f"group {name}"))}


def describe_thing_group(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Tell of a group."""
    found = _group(world, asked["thingGroupName"])
    properties: dict[str, Any] = {"attributePayload": {"attributes": found.attributes}}
    if found.description:
        properties["thingGroupDescription"] = found.description
    return {
        "thingGroupName": found.name,
        "thingGroupArn": found.arn,
        "thingGroupId": str(uuid.uuid5(_IDS, f"group {found.name}")),
        "version": 1,
        "thingGroupProperties": properties,
    }


def delete_thing_group(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Take a group away; no error where there is none."""
    world.groups.pop(asked["thingGroupName"], None)
    return {}


def list_thing_groups(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """List the groups."""
    prefix = asked.get("namePrefixFilter") or ""
    found = [each for name, each in sorted(world.groups.items()) if name.startswith(prefix)]
    return page("thingGroups", [{"groupName": each.name, "groupArn": each.arn} for each in found], asked, usual=25)


def list_things_in_thing_group(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """List a group's things."""
    return page("things", list(_group(world, asked["thingGroupName"]).members), asked, usual=25)


def list_thing_groups_for_thing(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """List the groups of a thing."""
    name = _thing(world, asked["thingName"])
    rows = [{"groupName": each.name, "groupArn": each.arn} for each in world.groups.values() if name in each.members]
    return page("thingGroups", rows, asked, usual=25)


def add_thing_to_thing_group(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Add a thing; it then carries out what is in force for the group."""
    group, thing = _group(world, asked["thingGroupName"]), _thing(world, asked["thingName"])
    group.members.setdefault(thing)
    latest = world.latest_of(group.arn)
    if latest is not None and latest.status in {"ACTIVE", "COMPLETED"}:
        latest.status = "ACTIVE"
        world.queue(latest, thing)
    return {}


def remove_thing_from_thing_group(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Take a thing out; what the group's deployments put on the device stays there."""
    _group(world, asked["thingGroupName"]).members.pop(_thing(world, asked["thingName"]), None)
    return {}


def describe_job(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Tell of a deployment's job, with the numbers of its executions."""
    found = _job(world, asked["jobId"])
    counts = Counter(each.status for each in found.executions.values())
    kinds = ("Canceled", "Succeeded", "Failed", "Rejected", "Queued", "InProgress", "TimedOut")
    words = ("CANCELED", "SUCCEEDED", "FAILED", "REJECTED", "QUEUED", "IN_PROGRESS", "TIMED_OUT")
    details = {f"numberOf{kind}Things": counts[word] for kind, word in zip(kinds, words, strict=True)}
    job = {
        "jobId": found.id,
        "jobArn": job_arn(found),
        "targetSelection": "CONTINUOUS",
        "status": {"ACTIVE": "IN_PROGRESS", "COMPLETED": "COMPLETED"}.get(found.status, "CANCELED"),
        "targets": [found.target],
        "createdAt": world.time(found.created_at),
        "jobProcessDetails": details,
    }
    return {"job": job}


def list_job_executions_for_job(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """List the executions of a deployment's job by thing, those of one status where it is named."""
    found = _job(world, asked["jobId"])
    rows = [
        {
            "thingArn": thing_arn(thing),
            "jobExecutionSummary": {
                "status": each.status,
                "queuedAt": world.time(each.queued_at),
                "startedAt": None if each.started_at is None else world.time(each.started_at),
                "lastUpdatedAt": world.time(each.updated_at),
                "executionNumber": 1,
            },
        }
        for thing, each in found.executions.items()
        if asked.get("status") in {None, each.status}
    ]
    return page("executionSummaries", rows, asked)


def _thing(world: World, name: str) -> str:
    if name not in world.devices:
        raise Refused("ResourceNotFoundException", f"Thing {name} cannot be found.")
    return name


def _group(world: World, name: str) -> Group:
    if name not in world.groups:
        raise Refused("ResourceNotFoundException", f"No thing group exists with name {name}")
    return world.groups[name]


def _job(world: World, name: str) -> Deployment:
    if name not in world.deployments:
        raise Refused("ResourceNotFoundException", f"Job {name} cannot be found.")
    return world.deployments[name]


OPERATIONS: Mapping[str, Operation] = {
    "CreateThing": create_thing,
    "DescribeThing": describe_thing,
    "ListThings": list_things,
    "CreateThingGroup": create_thing_group,
    "DescribeThingGroup": describe_thing_group,
    "DeleteThingGroup": delete_thing_group,
    "ListThingGroups": list_thing_groups,
    "ListThingsInThingGroup": list_things_in_thing_group,
    "ListThingGroupsForThing": list_thing_groups_for_thing,
    "AddThingToThingGroup": add_thing_to_thing_group,
    "RemoveThingFromThingGroup": remove_thing_from_thing_group,
    "DescribeJob": describe_job,
    "ListJobExecutionsForJob": list_job_executions_for_job,
}
