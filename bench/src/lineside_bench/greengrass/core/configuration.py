"""A component's configuration: the recipe's default, what a deployment resets and merges. Pure.

Maps are merged key by key, everything else is replaced whole. As in the classic nucleus a name's case does not matter
where a pointer looks for it.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True)
class Update:
    """What a deployment changes of a configuration: first the resets, then the merge."""

    merge: Mapping[str, Any] = field(default_factory=dict)
    reset: tuple[str, ...] = ()
    """JSON pointers; the empty one is the whole configuration."""


def steps(pointer: str) -> tuple[str, ...]:
    """Return the names that a JSON pointer goes through; raises ValueError where it does not begin with `/`."""
    if pointer in {"", "/"}:
        return ()
    if not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is no JSON pointer: it begins with /, or is empty for the whole configuration")
    return tuple(each.replace("~1", "/").replace("~0", "~") for each in pointer[1:].split("/"))


def read(configuration: Any, path: Sequence[str]) -> Any:
    """Return what is at a path; raises KeyError where there is nothing."""
    at = configuration
    for step in path:
        name = _name(at, step) if isinstance(at, Mapping) else None
        if name is None:
            raise KeyError(step)
        at = at[name]
    return at


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> Document:
    """Return a configuration with a change merged in."""
    made: Document = {name: copy.deepcopy(value) for name, value in base.items()}
    for given, value in change.items():
        name = _name(made, given) or given
        before = made.get(name)
        both = isinstance(value, Mapping) and isinstance(before, Mapping)
        made[name] = merged(before, value) if both and isinstance(before, Mapping) else copy.deepcopy(value)
    return made


def after(current: Mapping[str, Any] | None, default: Mapping[str, Any], update: Update | None) -> Document:
    """Return the configuration after a deployment; `current` is None for a component that was not there.

    What is set already stays, and new keys of the default are added: a new recipe's `accessControl` does not replace
    what is there, unless it is reset.
    """
    made = copy.deepcopy(dict(default)) if current is None else merged(default, current)
    for pointer in update.reset if update else ():
        made = _reset(made, default, steps(pointer))
    return merged(made, update.merge) if update else made


def _reset(configuration: Mapping[str, Any], default: Mapping[str, Any], path: Sequence[str]) -> Document:
    """Return a configuration with what is at a path as the default has it, or without it where that has none."""
    if not path:
        return copy.deepcopy(dict(default))
    made = copy.deepcopy(dict(configuration))
    try:
        holder = read(made, path[:-1])
    except KeyError:
        holder = None
    name = _name(holder, path[-1]) if isinstance(holder, dict) else None
    if isinstance(holder, dict) and name is not None:
        del holder[name]
    try:
        return merged(made, _only(default, path))
    except KeyError:
        return made


def _only(document: Mapping[str, Any], path: Sequence[str]) -> Document:
    """Return a document with nothing but what is at a path; raises KeyError where there is nothing."""
    value: Any = copy.deepcopy(read(document, path))
    for step in reversed(path):
        value = {step: value}
    return dict(value)


def _name(names: Mapping[str, Any], name: str) -> str | None:
    """Return a name as it stands in a map: this one, or one of another case."""
    if name in names:
        return name
    return next((each for each in names if each.lower() == name.lower()), None)
