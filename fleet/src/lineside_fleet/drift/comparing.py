"""What differs between what a device should run and what it runs. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from lineside_fleet.drift.desired import Desired, Pinned

Kind = Literal[
    "missing",
    "version",
    "model",
    "extra",
    "broken",
    "stale",
    "silent",
    "unheard",
    "by-hand",
    "settings",
    "clash",
    "unknown",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
BROKEN = frozenset({"BROKEN", "ERRORED"})
LOCAL = "LOCAL"
"""What Greengrass names as the source of what a deployment on the device itself put there."""
_FEWEST_ALIKE = 3
"""Devices that must have one and the same settings or models before another's count as differing."""
Models = Mapping[str, frozenset[str]]
"""The versions of each model that a device has."""


@dataclass(frozen=True)
class Installed:
    """One component as a device reported it."""

    version: str
    state: str = "RUNNING"
    source: str = ""
    reported: float | None = None


@dataclass(frozen=True)
class Said:
    """What a device says of itself beside Greengrass: hashes of settings and versions by service, models by name.

    `models` is None where it says nothing of them.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, str] = field(default_factory=dict)
    models: Models | None = None


@dataclass(frozen=True)
class Heard:
    """A device's latest heartbeat: its age and the most that it may be, in seconds, and what it complains of."""

    age_s: float
    allowed_s: float
    said: Said = field(default_factory=Said)
    complaints: tuple[tuple[str, str], ...] = ()
    """What is broken, and why."""

    @property
    def is_old(self) -> bool:
        """Whether the next ones are missing: of the rest nothing is said then."""
        return self.age_s > self.allowed_s


@dataclass(frozen=True)
class Device:
    """What is known of a device."""

    thing: str
    installed: Mapping[str, Installed] = field(default_factory=dict)
    reported: float | None = None
    said: Said = field(default_factory=Said)


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be."""

    thing: str
    kind: Kind
    component: str
    desired: str
    actual: str
    why: str = ""


def differences(device: Device, wanted: Desired, *, now: float, stale_s: float) -> Iterator[Difference]:
    """Yield what differs on one device; of an old report nothing is said but that it is old.

    What a deployment under way will change is no difference yet.
    """
    for name, (one, other) in wanted.clashes.items():
        why = (
            f"{one.target.rpartition('/')[2]} and {other.target.rpartition('/')[2]} pin two versions: it cannot deploy"
        )
        yield Difference(device.thing, "clash", name, one.version, other.version, why)
    if device.reported is None:
        yield Difference(device.thing, "unknown", "", "", "", "it has reported nothing to Greengrass yet")
        return
    age = now - device.reported
    if age > stale_s:
        yield Difference(device.thing, "stale", "", "", "", f"its report is {age / 3600:.1f} h old")
        return
    for name, pinned in wanted.components.items():
        if name not in wanted.clashes and pinned.deployment_id not in wanted.pending:
            yield from _of_component(device, name, pinned)
    extra = [] if wanted.pending else [name for name in device.installed if name not in wanted.components]
    for name in extra:
        version = device.installed[name].version
        yield Difference(device.thing, "extra", name, "", version, "no deployment names it")


def _of_component(device: Device, name: str, pinned: Pinned) -> Iterator[Difference]:
    found = device.installed.get(name)
    if found is None:
        yield Difference(device.thing, "missing", name, pinned.version, "")
        return
    is_local = found.source.startswith(LOCAL)
    if found.version != pinned.version:
        why = "put there by a deployment on the device itself" if is_local else ""
        yield Difference(device.thing, "version", name, pinned.version, found.version, why)
    elif found.state in BROKEN:
        yield Difference(device.thing, "broken", name, pinned.version, found.version, f"it is {found.state}")
    elif is_local:
        why = "put there by a deployment on the device itself, with a configuration that nobody recorded"
        yield Difference(device.thing, "by-hand", name, pinned.version, found.version, why)


def heartbeat_differences(thing: str, heard: Heard | None) -> Iterator[Difference]:
    """Yield what is wrong by a device's heartbeats; None: none came."""
    if heard is None:
        yield Difference(thing, "unheard", "", "", "", "no heartbeat of it was found")
    elif heard.is_old:
        ages = f"its heartbeat is {_time(heard.age_s)} old, and counts for {_time(heard.allowed_s)}"
        yield Difference(thing, "silent", "", "", "", ages)
    else:
        for name, why in heard.complaints:
            yield Difference(thing, "broken", name, "", "", f"its heartbeat says: {why}")


def version_differences(device: Device, wanted: Desired) -> Iterator[Difference]:
    """Yield where a device says that it runs otherwise than its deployments' `exporter.desired` names."""
    if wanted.pending:
        return
    for service, version in sorted(wanted.services.items()):
        actual = device.said.services.get(service)
        if actual not in {None, version}:
            yield Difference(device.thing, "version", service, version, actual or "", "by its own report")
    for model, version in sorted(wanted.models.items()):
        if device.said.models is not None and version not in (there := device.said.models.get(model, frozenset())):
            yield Difference(device.thing, "model", model, version, _listed(there), "" if there else "it is not there")


def odd_ones(devices: Mapping[str, Device], wanted: Mapping[str, Desired]) -> Iterator[Difference]:
    """Yield the settings and models that are not those of most devices with the same deployments.

    What a deployment gives is the same on all devices that carried it out: one alone was changed by hand. Of models
    those are left out whose version the deployments name.
    """
    settled = {thing: device for thing, device in sorted(devices.items()) if not wanted[thing].pending}
    models = {name for device in settled.values() for name in device.said.models or ()}
    alike: dict[tuple[Literal["settings", "model"], str, frozenset[str]], list[tuple[str, str]]] = defaultdict(list)
    for thing, device in settled.items():
        deployments = frozenset(pinned.deployment_id for pinned in wanted[thing].components.values())
        for service, digest in device.said.settings.items():
            alike["settings", service, deployments].append((thing, digest))
        if device.said.models is not None:
            for name in models - set(wanted[thing].models):
                alike["model", name, deployments].append((thing, _listed(device.said.models.get(name, frozenset()))))
    for (kind, name, _), found in sorted(alike.items(), key=lambda item: item[0][:2], reverse=True):
        usual, times = Counter(value for _, value in found).most_common(1)[0]
        if times < _FEWEST_ALIKE or 2 * times <= len(found):
            continue
        for thing, value in found:
            if value != usual:
                why = f"{times} devices with the same deployments have the other; changed by hand?"
                yield Difference(thing, kind, name, usual, value, why)


def _listed(versions: frozenset[str]) -> str:
    return ", ".join(sorted(versions))


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - an hour
