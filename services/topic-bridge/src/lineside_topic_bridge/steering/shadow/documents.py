"""The documents of a device shadow: what is wished in `desired`, and what is said in `reported`.

The form is AWS IoT's: an update is merged into the state name by name, null takes a name away, and a list is replaced
whole. What is wished may be a part of a policy; what nobody wishes stands in no document.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lineside.documents import read_json
from lineside.policy_documents import PolicyFaults, named, policy_of
from lineside_topic_bridge.steering.wishes import Document, Wish

MAX_BYTES = 8192
"""Largest state of a shadow, `desired` and `reported` together, unless the shadow manager allows more."""
MAX_ERRORS = 20
LONGEST_ERROR = 200
_POLICY = ("enabled", "thresholds", "models", "capture")
_AROUND = 64
"""Bytes of a state around its two parts."""
_TIMESTAMP = {"timestamp": 1_000_000_000}


class ShadowUnreadable(ValueError):
    """What came is no shadow's document."""


@dataclass(frozen=True)
class Shadow:
    """A shadow as it was read."""

    desired: Mapping[str, Any] | None = None
    """What is wished; None where nothing is."""
    reported: Mapping[str, Any] | None = None
    """What was reported last; None where nothing was."""
    version: int = 0
    """Which edition it is; 0: there is no such shadow yet."""


def read_shadow(payload: bytes) -> Shadow:
    """Return a shadow from the answer to a get; raises ShadowUnreadable."""
    try:
        document = read_json(payload)
    except ValueError as error:
        raise ShadowUnreadable(str(error)) from None
    state = document.get("state") if isinstance(document, dict) else None
    version = document.get("version") if isinstance(document, dict) else None
    if not isinstance(state, dict) or isinstance(version, bool) or not isinstance(version, int):
        raise ShadowUnreadable(f"no state and version in it: {payload[:80]!r}")
    desired, reported = state.get("desired"), state.get("reported")
    for name, part in (("desired", desired), ("reported", reported)):
        if part is not None and not isinstance(part, dict):
            raise ShadowUnreadable(f"{name} is no group of names and values: {part!r:.80}")
    return Shadow(desired or None, reported or None, version)


def wish_of(shadow: Shadow, max_bytes: int = MAX_BYTES) -> Wish:
    """Return what a shadow wishes, with everything that is wrong with it."""
    if shadow.desired is None:
        return Wish("shadow")
    if (size := len(compact(shadow.desired))) > max_bytes:
        error = (
            f"policy: desired has {size} bytes, allowed are {max_bytes}. Take names out of it (set them to null); "
            "the policy before stands"
        )
        return Wish("shadow", errors=(error,), stands=_stands(shadow))
    try:
        return Wish.of("shadow", policy_of(shadow.desired, strict=True))
    except PolicyFaults as error:
        return Wish("shadow", errors=tuple(error.faults), stands=_stands(shadow))


def _stands(shadow: Shadow) -> Document | None:
    """Return the policy that was in force when we reported last, None where not all of it was said."""
    said = shadow.reported or {}
    if "enabled" not in said or said.get("omitted"):
        return None
    try:
        return named(policy_of({name: said[name] for name in _POLICY if name in said}))
    except PolicyFaults:
        return None


def report(
    policy: Mapping[str, Any],
    *,
    errors: tuple[str, ...],
    versions: Mapping[str, str],
    facts: Mapping[str, Any],
    desired: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return what is to be reported of a policy in force.

    `models` are the versions that serve: where one that is wished does not, the shadow says so by its delta. A value
    that equals the wished one is written like it, for `1` and `1.0` differ in a shadow.
    """
    said = {name: policy[name] for name in _POLICY if name in policy} | {"models": dict(versions)}
    return {**_like(desired or {}, said), "errors": shortened(errors), **facts}


def shortened(errors: tuple[str, ...], most: int = MAX_ERRORS, longest: int = LONGEST_ERROR) -> list[str]:
    """Return errors as they are shown: so many, so long, and how many more there are."""
    shown = [error[:longest] for error in errors[:most]]
    return [*shown, f"and {len(errors) - most} more"] if len(errors) > most else shown


def fitted(reported: Mapping[str, Any], has_room: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
    """Return a report that has room: details give way first, `enabled` and the first error do not.

    `omitted` names what was left out. Where not even the least has room, it is returned all the same.
    """
    smaller: dict[str, Any] = {}
    for smaller in _smaller(dict(reported)):
        if has_room(smaller):
            return smaller
    return smaller


def _smaller(reported: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield reported
    errors = tuple(reported.get("errors", ()))
    reported = {**reported, "errors": shortened(errors, 4, 120)}
    yield reported
    omitted: list[str] = []
    for name in ("components", "capture", "thresholds", "models", "settings_hash"):
        if name in reported:
            omitted.append(name)
            del reported[name]
            reported = {**reported, "omitted": list(omitted)}
            yield reported
    yield {**reported, "errors": shortened(errors, 1, 80)}


def has_room_in(desired: Mapping[str, Any] | None, max_bytes: int) -> Callable[[Mapping[str, Any]], bool]:
    """Return whether a report has room beside what is desired, in a shadow whose state has at most so many bytes."""
    left = max_bytes - len(compact(desired or {})) - _AROUND
    return lambda reported: len(compact(reported)) <= left


def has_room_in_answer(desired: Mapping[str, Any] | None, max_bytes: int) -> Callable[[Mapping[str, Any]], bool]:
    """Return whether the answer to a get has room in one message, with the metadata that nobody can leave out of it."""

    def has_room(reported: Mapping[str, Any]) -> bool:
        state = {"desired": desired or {}, "reported": reported}
        answer = {
            "state": {**state, "delta": desired or {}},
            "metadata": _metadata(state),
            "version": 10**9,
            "clientToken": "-" * 64,
            **_TIMESTAMP,
        }
        return len(compact(answer)) <= max_bytes

    return has_room


def _metadata(state: Any) -> Any:
    if isinstance(state, Mapping):
        return {name: _metadata(value) for name, value in state.items()}
    return [_metadata(value) for value in state] if isinstance(state, list) else _TIMESTAMP


def compact(document: Mapping[str, Any]) -> bytes:
    """Return a document as JSON without spaces, as its size counts."""
    return json.dumps(document, separators=(",", ":")).encode()


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the update that makes `after` of `before`; empty where they say the same. An empty group says nothing."""
    change: dict[str, Any] = {}
    for name in (*before, *(name for name in after if name not in before)):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and (isinstance(new, Mapping) or new is None):
            if new and (inner := difference(old, new)):
                change[name] = inner
            elif not new and old:
                change[name] = None
        elif new == {} and old is None:
            continue
        elif not _is_same(old, new):
            change[name] = difference({}, new) if isinstance(new, Mapping) else new
    return change


def updated(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state after an update, as a shadow merges it."""
    after = dict(before)
    for name, value in change.items():
        old = after.get(name)
        if value is None:
            after.pop(name, None)
        elif isinstance(value, Mapping):
            after[name] = updated(old if isinstance(old, Mapping) else {}, value)
        else:
            after[name] = value
    return after


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values are written alike: 1, 1.0 and true differ."""
    return json.dumps(one) == json.dumps(other)


def _like(pattern: Any, value: Any) -> Any:
    """Return a value with the numbers of `pattern` as that writes them, where they are equal."""
    if isinstance(pattern, Mapping) and isinstance(value, Mapping):
        return {name: _like(pattern.get(name), inner) for name, inner in value.items()}
    if isinstance(pattern, list) and isinstance(value, list) and len(pattern) == len(value):
        return [_like(each, inner) for each, inner in zip(pattern, value, strict=True)]
    are_numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (pattern, value))
    return pattern if are_numbers and pattern == value else value
