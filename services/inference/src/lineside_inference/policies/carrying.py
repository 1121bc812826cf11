"""What a change of the settings' policy does to a policy in force that others changed as well."""

from collections.abc import Mapping
from typing import Any

from lineside.contract import Policy

_ABSENT = object()


def carry(before: Policy, now: Policy, current: Policy) -> Policy:
    """Return the current policy with what changed in the settings' from `before` to `now`, and all else as it is.

    Thresholds and versions count each for itself, so that another default threshold takes away no version that an
    operator chose.
    """
    return Policy.model_validate(_carry(before.model_dump(), now.model_dump(), current.model_dump()))


def _carry(before: Mapping[str, Any], now: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(current)
    for name in {**before, **now}:
        old, new = before.get(name, _ABSENT), now.get(name, _ABSENT)
        if old == new:
            continue
        if new is _ABSENT:
            made.pop(name, None)
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            made[name] = _carry(old, new, made.get(name, {}))
        else:
            made[name] = new
    return made
