"""Recipe variables in the dialects of both nuclei. Pure.

The classic nucleus takes `{namespace:key}` and `{dependency:namespace:key}` and leaves what it cannot resolve as it is.
For the lite one every `{` begins a variable: what it cannot resolve fails the step. Its folders end with a slash, and
it knows no variables of dependencies. Sources: KernelConfigResolver.java, and runs of nucleus lite 2.6.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineside_bench.greengrass.core import configuration

_CLASSIC = re.compile(r"\{(?:(?P<dependency>[.\w-]+):)?(?P<space>[.\w-]+):(?P<key>[^:}]*)\}")
_ACROSS = ("configuration", "artifacts", "work")
"""What of a dependency may be named."""


class Unresolved(Exception):
    """A variable that nucleus lite does not resolve; the step that has it fails."""


@dataclass(frozen=True)
class Place:
    """What can be said of one component: its configuration and its folders."""

    configuration: Mapping[str, Any]
    artifacts: Path
    unpacked: Path
    work: Path


@dataclass(frozen=True)
class Scope:
    """What variables stand for in one component's recipe: its own, its dependencies' by name, the core's."""

    own: Place
    root: Path
    thing: str
    dependencies: Mapping[str, Place] = field(default_factory=dict)


def expand_classic(text: str, scope: Scope) -> str:
    """Return a text with its variables replaced; those that nothing is known of stay as they are."""

    def value(match: re.Match[str]) -> str:
        dependency, space, key = match["dependency"], match["space"], match["key"]
        place = scope.own if dependency is None else scope.dependencies.get(dependency)
        if place is None or (dependency is not None and space not in _ACROSS):
            return match[0]
        found = _path(scope, place, space, key)
        if found is not None:
            return str(found)
        if space != "configuration":
            return match[0]
        try:
            return _shown(configuration.read(place.configuration, configuration.steps(key)))
        except (KeyError, ValueError):
            return match[0]

    return _CLASSIC.sub(value, text)


def expand_lite(text: str, scope: Scope) -> str:
    """Return a text with its variables replaced, as nucleus lite does. Raises Unresolved."""
    made, at = "", 0
    while (begin := text.find("{", at)) >= 0:
        made += text[at:begin]
        end = text.find("}", begin)
        inside = text[begin + 1 : end] if end >= 0 else text[begin + 1 :]
        if end < 0 or ":" not in inside:
            shown = text[begin : begin + 24]
            raise Unresolved(f"{shown!r} is no recipe variable, and on nucleus lite every {{ begins one; write $NAME")
        space, _colon, key = inside.partition(":")
        made += _lite(scope, space, key)
        at = end + 1
    return made + text[at:]


def _lite(scope: Scope, space: str, key: str) -> str:
    found = _path(scope, scope.own, space, key)
    if found is not None:
        return f"{found}/" if space in {"artifacts", "work"} else str(found)
    if space != "configuration":
        raise Unresolved(f"{{{space}:{key}}}: nucleus lite has no such variable")
    at: Any = scope.own.configuration
    for step in key.removeprefix("/").split("/") if key.strip("/") else ():
        if not isinstance(at, Mapping) or step not in at:  # ~1 is not unescaped
            raise Unresolved(f"{{configuration:{key}}}: there is no such key")
        at = at[step]
    return _shown(at)


def _path(scope: Scope, place: Place, space: str, key: str) -> Path | str | None:
    known: dict[tuple[str, str], Path | str] = {
        ("artifacts", "path"): place.artifacts,
        ("artifacts", "decompressedPath"): place.unpacked,
        ("work", "path"): place.work,
        ("kernel", "rootPath"): scope.root,
        ("iot", "thingName"): scope.thing,
    }
    return known.get((space, key))


def _shown(value: Any) -> str:
    """Return a value as text: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
