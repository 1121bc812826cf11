"""What each device should run: the union of its targets' sets, each target's by its newest deployment. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lineside.documents import read_json
from lineside_fleet.aws.deployments import Revision


@dataclass(frozen=True)
class Pinned:
    """One component as a deployment pins it."""

    version: str
    deployment_id: str
    target: str


@dataclass(frozen=True)
class Desired:
    """One device's components by name; `clashes` are those that two deployments pin to two versions."""

    components: Mapping[str, Pinned] = field(default_factory=dict)
    clashes: Mapping[str, tuple[Pinned, Pinned]] = field(default_factory=dict)
    pending: frozenset[str] = frozenset()
    """Deployments in force that the device has not carried out yet."""
    services: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    """Versions that the deployments name to the exporter, in its `desired`: of services, and of models."""


def newest(revisions: Iterable[Revision], thing: str, members: Mapping[str, Collection[str]]) -> list[Revision]:
    """Return the deployments in force on a device: of each target the newest, a subdeployment for its parent."""
    chosen: dict[str, Revision] = {}
    for each in revisions:
        if thing not in members.get(each.target, ()):
            continue
        slot = each.parent or each.target
        if slot not in chosen or each.created >= chosen[slot].created:
            chosen[slot] = each
    return list(chosen.values())


def desired(
    revisions: Iterable[Revision],
    thing: str,
    members: Mapping[str, Collection[str]],
    pending: Mapping[str, Collection[str]],
) -> Desired:
    """Return what a device should run; `members` are things by target, `pending` by deployment who has it to do yet."""
    components: dict[str, Pinned] = {}
    clashes: dict[str, tuple[Pinned, Pinned]] = {}
    named: dict[str, dict[str, str]] = {"components": {}, "models": {}}
    in_force = newest(revisions, thing, members)
    for each in sorted(in_force, key=lambda revision: (revision.created, revision.id)):
        for name, part in each.components.items():
            pinned = Pinned(str(part["componentVersion"]), each.id, each.target)
            if name in components and components[name].version != pinned.version:
                clashes[name] = (components[name], pinned)
            components[name] = pinned
            for kind, versions in named.items():
                versions.update(_named(part, kind))
    waits = frozenset(each.id for each in in_force if thing in pending.get(each.id, ()))
    return Desired(dict(sorted(components.items())), clashes, waits, named["components"], named["models"])


def _named(part: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Return what a component's configuration names in `exporter.desired`; nothing where it is of another form."""
    try:
        merged = read_json((part.get("configurationUpdate") or {}).get("merge") or "{}")
        versions = merged["exporter"]["desired"][kind]
        return {str(name): str(version) for name, version in versions.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
