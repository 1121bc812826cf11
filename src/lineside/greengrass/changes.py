"""What a change of the settings means for a service that runs: applied at once, or a new start."""

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

AT_ONCE = frozenset({"log.level", "edge_manager.SagemakerEdgeLogVerbose"})
"""Settings that every service applies while it runs; a service adds its own, with all that stands below them."""


@dataclass(frozen=True)
class Change:
    """The settings that differ, by what they need."""

    at_once: tuple[str, ...] = ()
    """Paths of those that are applied while the service runs."""
    anew: tuple[str, ...] = ()
    """Paths of those that only a new start brings into force."""

    @property
    def reason(self) -> str:
        """Why the service ends, for people; empty where it goes on."""
        if not self.anew:
            return ""
        return f"the configuration changed {', '.join(self.anew)}: only a new start brings that into force"


def change(old: BaseModel, new: BaseModel, at_once: Collection[str] = AT_ONCE) -> Change:
    """Return what differs between two settings of one service; `at_once` names settings and groups by their path."""
    differing = list(differences(old, new))
    quick = [path for path in differing if any(f"{path}.".startswith(f"{name}.") for name in at_once)]
    return Change(tuple(quick), tuple(path for path in differing if path not in quick))


def differences(old: BaseModel, new: BaseModel, path: str = "") -> Iterator[str]:
    """Yield the path of every setting that differs, for instance `bus.port`; of a list or map its own path."""
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        where = f"{path}.{name}".lstrip(".")
        if isinstance(before, BaseModel) and type(before) is type(after):
            yield from differences(before, after, where)
        elif before != after:
            yield where


@dataclass(frozen=True)
class Taker:
    """Settings that one service applies while it runs, and how."""

    path: str
    """The setting or group, for instance `inference.policy`."""
    problems: Callable[[Any], Awaitable[Sequence[str]]]
    """Called with the service's new settings; returns everything that stands against them."""
    apply: Callable[[Any], Awaitable[None]]
    """Puts them into force; called only after there were no problems."""
