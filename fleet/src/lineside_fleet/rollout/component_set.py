"""The whole set of components that a target gets, for a deployment replaces what was there. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lineside_fleet.rollout_file import Rollout


@dataclass(frozen=True)
class Change:
    """One component before and after; empty where it is not there."""

    component: str
    before: str
    after: str
    configures: bool = False

    @property
    def kind(self) -> str:
        """In a word what happens to it."""
        if not self.before:
            return "added"
        if not self.after:
            return "removed"
        if self.before != self.after:
            return "changed"
        return "configured" if self.configures else "kept"


def new_set(before: Mapping[str, Any], rollout: Rollout) -> dict[str, Any]:
    """Return the set as the API has it: what the target has, pinned again, with what the rollout names."""
    made = {name: dict(part) for name, part in before.items() if name not in rollout.remove}
    for name, wanted in rollout.components.items():
        part = dict(made.get(name, {}))
        part["componentVersion"] = wanted.version
        if wanted.update is not None:
            part["configurationUpdate"] = wanted.update
        made[name] = part
    return dict(sorted(made.items()))


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return every component of either set."""
    return [
        Change(
            name,
            before.get(name, {}).get("componentVersion", ""),
            after.get(name, {}).get("componentVersion", ""),
            before.get(name, {}).get("configurationUpdate") != after.get(name, {}).get("configurationUpdate"),
        )
        for name in sorted({*before, *after})
    ]
