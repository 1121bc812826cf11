"""Thing groups and core devices."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from lineside_fleet.aws.clients import Api
from lineside_fleet.errors import Refused

_MISSING = ("ResourceNotFoundException",)
THINGS_A_PAGE, CORES_A_PAGE = 250, 100


@dataclass(frozen=True)
class Group:
    """A thing group; `mark` is its attribute that says who made it."""

    name: str
    arn: str
    mark: str = ""

    @property
    def account(self) -> str:
        """Return the account's number."""
        return self.arn.split(":")[4]

    @property
    def region(self) -> str:
        """Return the region."""
        return self.arn.split(":")[3]


@dataclass(frozen=True)
class Core:
    """A core device as Greengrass lists it."""

    thing: str
    status: str
    reported: datetime | None
    architecture: str
    runtime: str


MARK = "lineside-rollout"
"""The attribute of groups that a rollout made."""


def find_group(iot: Api, name: str) -> Group | None:
    """Return a group, None where there is none; raises AwsError."""
    answer = iot.call("describe_thing_group", absent=_MISSING, thingGroupName=name)
    if answer is None:
        return None
    attributes = (answer.get("thingGroupProperties") or {}).get("attributePayload", {}).get("attributes") or {}
    return Group(name, str(answer["thingGroupArn"]), str(attributes.get(MARK, "")))


def members(iot: Api, group: str) -> list[str]:
    """Return the things of a group and of the groups in it; raises AwsError."""
    rows = iot.rows("list_things_in_thing_group", "things", size=THINGS_A_PAGE, thingGroupName=group, recursive=True)
    return list(dict.fromkeys(rows))


def cores(greengrass: Api, group_arn: str) -> dict[str, Core]:
    """Return the core devices of a group by thing; raises AwsError."""
    rows = greengrass.rows("list_core_devices", "coreDevices", size=CORES_A_PAGE, thingGroupArn=group_arn)
    return {
        row["coreDeviceThingName"]: Core(
            row["coreDeviceThingName"],
            row.get("status", "UNKNOWN"),
            row.get("lastStatusUpdateTimestamp"),
            row.get("architecture", ""),
            row.get("runtime", ""),
        )
        for row in rows
    }


def make_group(iot: Api, name: str, mark: str, things: Iterable[str]) -> Group:
    """Return the group that belongs to this rollout's stage, with exactly these things; raises Refused, AwsError.

    Made anew or completed: it looks first at what is there, so that it may be run again after any interruption.
    """
    found = find_group(iot, name)
    if found is None:
        properties = {
            "thingGroupDescription": "A stage of a rollout, made by lineside fleet",
            "attributePayload": {"attributes": {MARK: mark}},
        }
        answer = iot.ask("create_thing_group", thingGroupName=name, thingGroupProperties=properties)
        found = Group(name, str(answer["thingGroupArn"]), mark)
    if found.mark != mark:
        raise Refused(
            f"thing group {name} is there already and not of this rollout",
            remedy="Delete it, or give the rollout or the stage another name",
        )
    wanted, there = list(things), set(members(iot, name))
    for thing in wanted:
        if thing not in there:
            iot.ask("add_thing_to_thing_group", thingGroupName=name, thingName=thing)
    foreign = sorted(there - set(wanted))
    if foreign:
        raise Refused(
            f"thing group {name} holds {foreign[0]}, which is not of the stage",
            remedy="Somebody added it: take it out of the group and run the command again",
        )
    return found
