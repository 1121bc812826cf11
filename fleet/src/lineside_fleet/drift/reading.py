"""Asks AWS what devices should run and what they run: listings by the page, and one call for each device."""

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from lineside_fleet.aws import deployments, things
from lineside_fleet.aws.clients import Aws
from lineside_fleet.aws.deployments import Revision
from lineside_fleet.drift import comparing
from lineside_fleet.drift.comparing import Device, Difference, Heard, Installed, Said
from lineside_fleet.drift.desired import Desired, desired
from lineside_fleet.drift.heard import joined
from lineside_fleet.errors import Refused

_AT_ONCE = 4
_COMPONENTS_A_PAGE = 100
_OPEN = frozenset({"QUEUED", "IN_PROGRESS"})


@dataclass(frozen=True)
class Drift:
    """What was found, at a time (seconds since 1970)."""

    at: float
    wanted: Mapping[str, Desired]
    differences: list[Difference] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    """Devices that send heartbeats and are no core devices of the account."""

    @property
    def pending(self) -> list[str]:
        """The devices on which a deployment is under way."""
        return sorted(thing for thing, each in self.wanted.items() if each.pending)

    @property
    def drifting(self) -> list[str]:
        """The devices that differ."""
        return sorted({each.thing for each in self.differences})


def read(
    aws: Aws,
    group: str | None,
    reports: Mapping[str, Said],
    heard: Mapping[str, Heard] | None,
    *,
    now: float,
    stale_s: float,
) -> Drift:
    """Return the drift of a group's core devices, of all where None; raises Refused, AwsError.

    `reports` and `heard` are what devices say of themselves, by thing; None where nobody listened for heartbeats.
    """
    cores = _cores(aws, group)
    revisions, members = _in_force(aws, cores)
    pending = {each.id: _pending(aws, each) for each in revisions if each.status == "ACTIVE"}
    wanted = {thing: desired(revisions, thing, members, pending) for thing in cores}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        installed = dict(zip(cores, pool.map(lambda thing: _installed(aws, thing), cores), strict=True))
    devices = {
        thing: Device(
            thing,
            found,
            max((each.reported for each in found.values() if each.reported), default=None),
            joined(reports.get(thing, Said()), (heard or {}).get(thing)),
        )
        for thing, found in installed.items()
    }
    differing: list[Difference] = []
    for thing in cores:
        differing += comparing.differences(devices[thing], wanted[thing], now=now, stale_s=stale_s)
        differing += comparing.heartbeat_differences(thing, heard.get(thing)) if heard is not None else ()
        differing += comparing.version_differences(devices[thing], wanted[thing])
    strangers = sorted(set(heard or ()) - set(cores)) if group is None else []
    return Drift(now, wanted, [*differing, *comparing.odd_ones(devices, wanted)], strangers)


def _cores(aws: Aws, group: str | None) -> list[str]:
    if group is None:
        rows = aws.greengrass.rows("list_core_devices", "coreDevices", size=things.CORES_A_PAGE)
        return sorted(row["coreDeviceThingName"] for row in rows)
    found = things.find_group(aws.iot, group)
    if found is None:
        raise Refused(f"there is no thing group {group!r}", remedy="Correct the name, or leave it out for all devices")
    return sorted(things.cores(aws.greengrass, found.arn))


def _in_force(aws: Aws, cores: Collection[str]) -> tuple[list[Revision], dict[str, frozenset[str]]]:
    """Return the latest deployment of each target that has one of the devices, and the targets' things."""
    rows = aws.greengrass.rows(
        "list_deployments", "deployments", size=deployments.DEPLOYMENTS_A_PAGE, historyFilter="LATEST_ONLY"
    )
    known = frozenset(cores)
    members: dict[str, frozenset[str]] = {}
    found = []
    for row in list(rows):
        target = str(row["targetArn"])
        if not row.get("isLatestForTarget", True):
            continue
        members[target] = _things_of(aws, target) & known
        if members[target]:
            found.append(deployments.get(aws.greengrass, str(row["deploymentId"])))
    return found, members


def _things_of(aws: Aws, target: str) -> frozenset[str]:
    kind, _, name = target.rpartition(":")[2].partition("/")
    if kind == "thing":
        return frozenset({name})
    return frozenset(things.members(aws.iot, name)) if things.find_group(aws.iot, name) else frozenset()


def _pending(aws: Aws, revision: Revision) -> frozenset[str]:
    if not revision.job:
        return frozenset()
    executions = deployments.executions(aws.iot, revision.job)
    return frozenset(thing for thing, each in executions.items() if each.status in _OPEN)


def _installed(aws: Aws, thing: str) -> dict[str, Installed]:
    rows: Iterable[Mapping[str, Any]] = aws.greengrass.rows(
        "list_installed_components",
        "installedComponents",
        size=_COMPONENTS_A_PAGE,
        coreDeviceThingName=thing,
        topologyFilter="ROOT",  # what components bring in with them is theirs
    )
    return {
        row["componentName"]: Installed(
            row["componentVersion"],
            row.get("lifecycleState", ""),
            row.get("lastInstallationSource", ""),
            row["lastReportedTimestamp"].timestamp() if row.get("lastReportedTimestamp") else None,
        )
        for row in rows
    }
