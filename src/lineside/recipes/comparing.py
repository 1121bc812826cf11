"""Whether two recipes say the same. Pure.

AWS gives a recipe back with what it filled in: digests of artifacts and defaults. Those make no difference.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

_FILLED_IN = {"digest", "algorithm"}
_DEFAULTS: Mapping[str, Any] = {
    "unarchive": "NONE",
    "componenttype": "aws.greengrass.generic",
    "dependencytype": "HARD",
    "read": "OWNER",
    "execute": "NONE",
}
_FREE = {"defaultconfiguration", "setenv", "platform"}
"""Groups whose names are somebody else's: their case counts."""


def canonical(value: Any, *, own_names: bool = True) -> Any:
    """Return a recipe without what AWS fills in, and with the names of its own in lower case."""
    if isinstance(value, Mapping):
        made = {}
        for given, each in value.items():
            name = str(given).lower() if own_names else str(given)
            plain = canonical(each, own_names=own_names and name not in _FREE)
            if own_names and (name in _FILLED_IN or plain in (None, {}, []) or _DEFAULTS.get(name) == plain):
                continue
            made[name] = plain
        return made
    if isinstance(value, list):
        return [canonical(each, own_names=own_names) for each in value]
    return value


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a recipe says."""
    return hashlib.sha256(json.dumps(canonical(recipe), sort_keys=True, default=str).encode()).hexdigest()


def differences(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """Yield the places where two canonical recipes differ."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for name in sorted({*ours, *theirs}):
            if name not in ours or name not in theirs:
                yield f"{place}{name}"
            else:
                yield from differences(ours[name], theirs[name], f"{place}{name}.")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{place}{index}.")
    elif ours != theirs:
        yield place.rstrip(".")
