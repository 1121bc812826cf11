"""Simulated core devices: what a device runs, and how it carries a deployment out, one minute a tick. Pure.

A device may be real instead: a core somewhere carries its deployments out, and reports what came of them.

A device runs the union of the sets that its targets gave it. A subdeployment takes the place of its parent's set on the
devices that it reaches. Two sets that pin one component to two versions cannot be united: the deployment fails there.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

OPEN = frozenset({"QUEUED", "IN_PROGRESS"})
REPORTED = ("IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED")
CLASSIC, LITE = "aws_nucleus_classic", "aws_nucleus_lite"


@dataclass(frozen=True)
class Manner:
    """How a device is: `pace` minutes for a deployment, offline until a minute, what of `name@version` breaks on it."""

    pace: int = 1
    offline_until: int = 0
    fails: frozenset[str] = frozenset()
    rejects: bool = False


@dataclass
class Execution:
    """One deployment on one device: its state in the IoT job, and since when (minutes)."""

    deployment_id: str
    queued_at: int
    status: str = "QUEUED"
    started_at: int | None = None
    updated_at: int = 0
    reason: str = ""
    errors: tuple[str, ...] = ()

    def begin(self, now: int) -> None:
        """Note that the device has it in hand."""
        self.status, self.started_at, self.updated_at = "IN_PROGRESS", now, now

    def end(self, status: str, now: int, reason: str = "", errors: tuple[str, ...] = ()) -> None:
        """Note how it ended."""
        self.status, self.updated_at, self.reason, self.errors = status, now, reason, errors


@dataclass
class Device:
    """One core device; `sets` is what each target gave it: component, then its part of the deployment."""

    name: str
    architecture: str = "aarch64"
    runtime: str = CLASSIC
    manner: Manner = field(default_factory=Manner)
    sets: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    by_hand: dict[str, str | None] = field(default_factory=dict)
    """What somebody changed on the device itself: a version, or None where it was taken away."""
    reported_at: int = 0
    sources: dict[str, str] = field(default_factory=dict)
    """Which deployment put a component there."""
    is_real: bool = False
    """Whether a core carries its deployments out and reports them: no tick does."""
    reported: dict[str, str] = field(default_factory=dict)
    """Of a real one: the version of each component that it last reported."""

    def online(self, now: int) -> bool:
        """Return whether the device can be reached."""
        return now >= self.manner.offline_until

    def acts(self, now: int) -> bool:
        """Return whether a tick moves the device: it is simulated and can be reached."""
        return not self.is_real and self.online(now)

    def installed(self) -> dict[str, str]:
        """Return the version of each component that is there."""
        if self.is_real:
            return dict(sorted(self.reported.items()))
        united = {name: part["componentVersion"] for each in self.sets.values() for name, part in each.items()}
        for name, version in self.by_hand.items():
            if version is None:
                united.pop(name, None)
            else:
                united[name] = version
        return dict(sorted(united.items()))

    def carry_out(self, execution: Execution, deployment: "Work", now: int) -> None:
        """End an execution: the set is in place, or was rolled back, or stays broken."""
        if self.manner.rejects:
            execution.end("REJECTED", now, "The device takes no deployments")
            return
        others = [parts for slot, parts in self.sets.items() if slot != deployment.slot]
        clash = next(
            (
                name
                for name, part in deployment.components.items()
                for parts in others
                if name in parts and parts[name]["componentVersion"] != part["componentVersion"]
            ),
            None,
        )
        if clash is not None:
            why = f"No version of {clash} satisfies all deployments of this device"
            execution.end("FAILED", now, f"FAILED_NO_STATE_CHANGE: {why}", ("NO_AVAILABLE_COMPONENT_VERSION",))
            return
        foreign = [name for name in deployment.components if not deployment.runs_on(name, self.architecture)]
        if foreign:
            why = f"{foreign[0]} has no manifest for {self.architecture}"
            execution.end("FAILED", now, f"FAILED_NO_STATE_CHANGE: {why}", ("UNSUPPORTED_PLATFORM",))
            return
        bad = {n for n, p in deployment.components.items() if f"{n}@{p['componentVersion']}" in self.manner.fails}
        rolls_back = deployment.rolls_back and self.runtime == CLASSIC  # lite rolls nothing back
        if not bad or not rolls_back:
            self.sets[deployment.slot] = dict(deployment.components)
            self.sources.update(dict.fromkeys(deployment.components, execution.deployment_id))
            self.broken = {name for name in self.broken if name in self.installed()} - set(deployment.components) | bad
            for name in deployment.components:
                self.by_hand.pop(name, None)
        if bad:
            how = "FAILED_ROLLBACK_COMPLETE" if rolls_back else "FAILED_ROLLBACK_NOT_REQUESTED"
            why = f"{how}: {min(bad)} is BROKEN"
            execution.end("FAILED", now, why, ("DEPLOYMENT_FAILURE", how, "COMPONENT_BROKEN"))
        else:
            execution.end("SUCCEEDED", now)


@dataclass(frozen=True)
class Report:
    """What a real core says: how far a deployment is, which versions run on it, and which of them are BROKEN.

    `status` is the job's: IN_PROGRESS, SUCCEEDED, FAILED or REJECTED. Raises ValueError for another one.
    """

    thing: str
    deployment_id: str
    status: str
    components: Mapping[str, str]
    broken: Collection[str] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        if self.status not in REPORTED:
            raise ValueError(f"status {self.status!r}: a core reports {', '.join(REPORTED)}")


@dataclass(frozen=True)
class Work:
    """What a device needs to know of a deployment; `slot` is the target whose set it replaces."""

    slot: str
    components: dict[str, dict[str, Any]]
    rolls_back: bool
    architectures: dict[str, frozenset[str] | None]
    """Of each component the architectures that it has manifests for, None for all."""

    def runs_on(self, component: str, architecture: str) -> bool:
        """Return whether a component has a manifest for an architecture."""
        known = self.architectures.get(component)
        return known is None or architecture in known
