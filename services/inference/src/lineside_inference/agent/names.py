"""What clients call a model: a handle (2022) or a name (2021), one word in two fields."""

import re
from typing import Protocol

from lineside_inference.errors import ModelHandle

PATTERN = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*\Z")
"""What a model may be loaded as."""
MAX = 128
"""Characters of a model's name."""


class Named(Protocol):
    """A request about one model."""

    name: str
    handle: str


def key_of(request: Named) -> str:
    """Return the model's name that a request gives; raises ModelHandle where there is none, or are two."""
    name, handle = request.name, request.handle
    if name and handle and name != handle:
        raise ModelHandle(
            f"handle is {handle[:MAX]!r} and name is {name[:MAX]!r}", remedy="Give one of them, or the same in both"
        )
    key = handle or name
    if not key:
        raise ModelHandle("neither handle nor name is given", remedy="Give the model's name in handle, or in name")
    if len(key) > MAX:
        raise ModelHandle(f"{key[:MAX]!r}... has {len(key)} characters", remedy=f"A model's name has at most {MAX}")
    return key


def check_new(name: str) -> None:
    """Raise ModelHandle where a model may not be loaded by this name."""
    if PATTERN.match(name) is None:
        raise ModelHandle(
            f"a model cannot be loaded as {name!r}",
            remedy="Use letters, digits and, between them, hyphens: " + PATTERN.pattern.removesuffix(r"\Z"),
        )
