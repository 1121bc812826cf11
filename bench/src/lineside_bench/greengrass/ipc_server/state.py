"""What the core knows: components with their tokens, configuration and state; shadows. No I/O.

Changes of a configuration are told to who registered with `on_change`: sessions for their clients, a deployer for its
own record.
"""

import copy
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lineside_bench.greengrass.ipc_server.manners import CLASSIC, Manner

ACCESS_CONTROL = "accessControl"
Document = dict[str, Any]
Key = tuple[str, ...]


class Refusal(Exception):
    """An operation's error as the client is to see it: its shape's name and what it says."""

    def __init__(self, shape: str, text: str = "") -> None:
        super().__init__(text)
        self.shape = shape
        self.text = text


@dataclass
class Component:
    """One component: the token that its processes show, its configuration, and the states that it reported."""

    name: str
    version: str = "1.0.0"
    configuration: Document = field(default_factory=dict)
    token: str = ""
    states: list[str] = field(default_factory=list)
    """What it reported by UpdateState, oldest first."""
    changed_at: dict[Key, float] = field(default_factory=dict)
    """When each value was last set, in seconds since 1970, where somebody said so."""


class Core:
    """All components of one core device, and its shadows."""

    def __init__(self, thing: str = "bench", manner: Manner = CLASSIC) -> None:
        self.thing = thing
        self.manner = manner
        self.components: dict[str, Component] = {}
        self.shadows: dict[tuple[str, str], Shadow] = {}
        self.restarts: list[str] = []
        """Components whose restart was asked for."""
        self.on_change: list[Callable[[str, Key], None]] = []
        """Told the component and the key of each change of a configuration."""
        self.on_state: list[Callable[[str, str], None]] = []
        """Told the component and the state of each UpdateState."""

    def add(self, name: str, configuration: Document | None = None, *, version: str = "1.0.0") -> Component:
        """Add a component, or replace it, with a new token: that of the one before is refused from now on.

        The configuration is as in a recipe's YAML: where the manner says so, its numbers become text.
        """
        given = as_text(configuration or {}) if self.manner.scalars_as_text else copy.deepcopy(configuration or {})
        made = Component(name, version, given, secrets.token_hex(16))
        self.components[name] = made
        return made

    def renew(self, name: str) -> str:
        """Give a component a new token, as each start of it gets; return it."""
        self.components[name].token = secrets.token_hex(16)
        return self.components[name].token

    def known(self, token: str) -> Component | None:
        """Return whose token this is."""
        return next((each for each in self.components.values() if each.token == token), None)

    def read(self, component: str, path: Sequence[str]) -> Any:
        """Return a copy of what is at a path; raises KeyError where there is nothing."""
        at: Any = self.components[component].configuration
        for step in path:
            if not isinstance(at, Mapping):
                raise KeyError(step)
            at = at[step]
        return copy.deepcopy(at)

    def merge(self, component: str, path: Sequence[str], value: Any, *, at: float | None = None) -> None:
        """Merge a value into a configuration: maps key by key, everything else whole; tell who listens.

        `at` is when it was meant, in seconds since 1970: a value that was set later stays, and Refusal is raised
        after the others were set, as the classic nucleus does.
        """
        known = self.components[component]
        changed: list[Key] = []
        late: list[Key] = []
        _merge(known, known.configuration, tuple(path), value, at, changed, late)
        for key in sorted(changed):  # as the lite nucleus tells them
            for tell in self.on_change:
                tell(component, key)
        if late:
            text = "Proposed timestamp is older than the config's latest modified timestamp"
            raise Refusal("FailedUpdateConditionCheckError", text)

    def report(self, component: str, state: str) -> None:
        """Take a state that a component reports of itself."""
        self.components[component].states.append(state)
        for tell in self.on_state:
            tell(component, state)


def _merge(
    known: Component, into: Document, path: Key, value: Any, at: float | None, changed: list[Key], late: list[Key]
) -> None:
    """Set a value below a path of the component's configuration; note what changed and what came too late."""
    node: Any = into
    for depth, step in enumerate(path if isinstance(value, Mapping) else path[:-1]):
        below = node.setdefault(step, {}) if isinstance(node, dict) else None
        if not isinstance(below, dict):
            raise Refusal("InvalidArgumentsError", f"{'/'.join(path[: depth + 1])} is a value and no map")
        node = below
    if not isinstance(value, Mapping):
        if not path:
            raise Refusal("InvalidArgumentsError", "the root of a configuration is a map")
        _set(known, node, path, value, at, changed, late)
        return
    for name, each in value.items():
        key = (*path, str(name))
        if isinstance(each, Mapping):
            if not isinstance(node.get(name, {}), dict):
                raise Refusal("InvalidArgumentsError", f"{'/'.join(key)} is a value and no map")
            _merge(known, into, key, each, at, changed, late)
        else:
            _set(known, node, key, each, at, changed, late)


def _set(
    known: Component, node: Document, key: Key, value: Any, at: float | None, changed: list[Key], late: list[Key]
) -> None:
    name = key[-1]
    if isinstance(node.get(name), dict):
        raise Refusal("InvalidArgumentsError", f"{'/'.join(key)} is a map and no value")
    if at is not None:
        if at < known.changed_at.get(key, at):
            late.append(key)
            return
        known.changed_at[key] = at
    if name not in node or node[name] != value:
        node[name] = copy.deepcopy(value)
        changed.append(key)


def as_text(value: Any) -> Any:
    """Return a document with each of its scalars as YAML writes it."""
    if isinstance(value, Mapping):
        return {str(name): as_text(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_text(each) for each in value]
    return value if isinstance(value, str) else json.dumps(value)


@dataclass
class Shadow:
    """One shadow document, with its version."""

    state: Document = field(default_factory=dict)
    version: int = 0

    def document(self) -> Document:
        """Return it as GetThingShadow does."""
        delta = self.delta()
        state = {**self.state, **({"delta": delta} if delta else {})}
        return {"state": copy.deepcopy(state), "version": self.version}

    def delta(self) -> Document:
        """Return what is desired and not reported so."""
        return _difference(self.state.get("desired") or {}, self.state.get("reported") or {})

    def update(self, payload: bytes, max_bytes: int) -> Document:
        """Merge an update; return what it says, with the new version. Raises Refusal, and then nothing changed."""
        if len(payload) > max_bytes:
            raise Refusal("InvalidArgumentsError", f"The payload exceeds the maximum size of {max_bytes} bytes")
        try:
            given = json.loads(payload)
        except ValueError:
            raise Refusal("InvalidArgumentsError", "The payload is not JSON") from None
        if not isinstance(given, dict) or not isinstance(given.get("state"), dict):
            raise Refusal("InvalidArgumentsError", "State node needs to be an object")
        if not set(given["state"]) <= {"desired", "reported"}:
            raise Refusal("InvalidArgumentsError", "State contains an invalid node")
        if (version := given.get("version")) is not None and version != self.version:
            raise Refusal("ConflictError", "Version conflict")
        if wrong := [part for part, values in given["state"].items() if not isinstance(values, dict | None)]:
            raise Refusal("InvalidArgumentsError", f"{', '.join(wrong)} needs to be an object")
        for part, values in given["state"].items():
            if values is None:
                self.state.pop(part, None)
            else:
                self.state[part] = _patched(self.state.get(part) or {}, values)
        self.version += 1
        return {**given, "version": self.version}


def _patched(before: Document, change: Document) -> Document:
    """Return a map with a change merged in; null removes a key, and lists are replaced."""
    made = copy.deepcopy(before)
    for name, value in change.items():
        if value is None:
            made.pop(name, None)
        elif isinstance(value, dict):
            made[name] = _patched(made[name] if isinstance(made.get(name), dict) else {}, value)
        else:
            made[name] = value
    return made


def _difference(desired: Document, reported: Document) -> Document:
    found: Document = {}
    for name, value in desired.items():
        other = reported.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            if below := _difference(value, other):
                found[name] = below
        elif name not in reported or value != other:
            found[name] = value
    return found
