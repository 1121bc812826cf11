"""What a deployment changes of what runs: which components are installed again, started again, told, left alone. Pure.

As in the classic nucleus a component whose configuration alone changed goes on running and is told of it; its scripts
are compared as they are after expansion, so one that names a changed value in a step is started again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True)
class Release:
    """One component as it is deployed: everything that a change is found by."""

    version: str
    configuration: Mapping[str, Any]
    steps: Mapping[str, str]
    """Each step's script, after expansion, with its limits and environment."""
    recipe: str = ""
    """What tells a recipe of one version from another of the same version."""


class Change(StrEnum):
    """What happens to a component."""

    ADDED = "added"
    REMOVED = "removed"
    REINSTALLED = "installed again"
    RESTARTED = "started again"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"


_INSTALLING = ("bootstrap", "install")


def changes(before: Mapping[str, Release], after: Mapping[str, Release]) -> dict[str, Change]:
    """Return what happens to each component, those that leave among them."""
    made = {name: Change.REMOVED for name in before if name not in after}
    for name, release in after.items():
        made[name] = Change.ADDED if name not in before else _change(before[name], release)
    return made


def _change(before: Release, after: Release) -> Change:
    installing = any(before.steps.get(step) != after.steps.get(step) for step in _INSTALLING)
    if before.version != after.version or before.recipe != after.recipe or installing:
        return Change.REINSTALLED
    if before.steps != after.steps:
        return Change.RESTARTED
    return Change.UNCHANGED if before.configuration == after.configuration else Change.CONFIGURED
