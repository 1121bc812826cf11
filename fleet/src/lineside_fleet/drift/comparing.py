"""What differs between what a device should run and what it runs. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from lineside_fleet.drift.desired import Desired, Pinned

Kind = Literal["missing", "version", "extra", "broken", "stale", "by-hand", "settings", "clash", "unknown"]
KINDS: tuple[Kind, ...] = ("missing", "version", "extra", "broken", "stale", "by-hand", "settings", "clash", "unknown")
BROKEN = frozenset({"BROKEN", "ERRORED"})
LOCAL = "LOCAL"
"""What Greengrass names as the source of what a deployment on the device itself put there."""
_FEWEST_ALIKE = 3
"""Devices that must have one and the same settings before another's count as changed by hand."""


@dataclass(frozen=True)
class Installed:
    """One component as a device reported it."""

    version: str
    state: str = "RUNNING"
    source: str = ""
    reported: float | None = None


@dataclass(frozen=True)
class Device:
    """What is known of a device; `settings` are the hashes that its services say of theirs, by service."""

    thing: str
    installed: Mapping[str, Installed] = field(default_factory=dict)
    reported: float | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


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


def settings_differences(devices: Mapping[str, Device], wanted: Mapping[str, Desired]) -> Iterator[Difference]:
    """Yield the services whose settings are not those of most devices with the same deployments.

    Settings that a deployment gives are the same on all devices that carried it out: one alone was changed by hand.
    """
    alike: dict[tuple[frozenset[str], str], list[tuple[str, str]]] = defaultdict(list)
    for thing, device in sorted(devices.items()):
        deployments = frozenset(pinned.deployment_id for pinned in wanted[thing].components.values())
        for service, digest in device.settings.items():
            if not wanted[thing].pending:
                alike[deployments, service].append((thing, digest))
    for (_, service), found in sorted(alike.items(), key=lambda item: item[0][1]):
        usual, times = Counter(digest for _, digest in found).most_common(1)[0]
        if times < _FEWEST_ALIKE or 2 * times <= len(found):
            continue
        for thing, digest in found:
            if digest != usual:
                why = f"{times} devices with the same deployments have the other; changed by hand?"
                yield Difference(thing, "settings", service, usual, digest, why)
