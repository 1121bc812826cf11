"""How a setting names a tag: a node id, a browse path with globs, or the alias under which a collector publishes it.

    nsu=urn:plant:press;s=Station1.PartPresent    a node id by namespace URI (see `nodes`)
    /Objects/Press/Station1/PartPresent           a browse path: browse names from the Root folder on
    /Objects/Press/Station*/PartPresent           with `*`, `?`, `[abc]` within a name and `**` for any depth
    alias=/plant/press/station1/present           a property alias of SiteWise collector messages
    index=3;nsu=urn:plant:press;s=Press.Flags     one element of an array, counted from 0: before a node id or a path

The index comes before the node because an identifier may itself end in `[3]` and then is a node of its own.

In a browse path names have no namespace; `&` escapes a `/`, `&`, `*`, `?` or `[`.
"""

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator

from lineside_opcua_bridge import nodes

_ALIAS = "alias="
_INDEX = "index="
_MAX_INDEX = 2**31 - 2
"""Arrays have at most 2^31 - 1 elements: their length is an Int32."""
_GLOB = "*?["
_ESCAPED = "/&" + _GLOB
_EXPECTED = "expected a node id (nsu=<namespace URI>;s=<text>), a browse path (/Objects/...) or alias=<property alias>"


@dataclass(frozen=True)
class Path:
    """A browse path from the Root folder; `names` are patterns, `**` among them matches any number of levels."""

    names: tuple[str, ...]
    text: str
    """As it was written."""

    @property
    def key(self) -> tuple[str, str]:
        """The same for all spellings of one path."""
        return "path", "/".join(self.names)

    @property
    def is_glob(self) -> bool:
        """Whether it may match more than one node."""
        return any(name == "**" or is_pattern(name) for name in self.names)


@dataclass(frozen=True)
class Alias:
    """A tag that comes by a collector's messages instead of an OPC UA session."""

    name: str
    text: str
    """As it was written."""

    @property
    def key(self) -> tuple[str, str]:
        """The same for all spellings of one alias."""
        return "alias", self.name


@dataclass(frozen=True)
class Element:
    """One element of a node that is an array of one dimension: OPC UA's IndexRange of one (OPC 10000-4, 7.27)."""

    of: nodes.Address | Path
    index: int
    """Counted from 0."""
    text: str
    """As it was written."""

    @property
    def key(self) -> tuple[str, str]:
        """The same for all spellings of one element."""
        space, name = self.of.key
        return f"{_INDEX}{self.index};{space}", name


Tag = nodes.Address | Path | Alias | Element


def is_pattern(name: str) -> bool:
    """Whether a name of a path has a glob character that is not escaped."""
    return any(not taken and sign in _GLOB for sign, taken in _signs(name))


def plain(name: str) -> str:
    """Return the browse name that a name of a path stands for, which is no pattern."""
    return "".join(sign for sign, _taken in _signs(name))


def escape(name: str) -> str:
    """Return a browse name as it is written in a path."""
    return "".join(f"&{sign}" if sign in _ESCAPED else sign for sign in name)


@lru_cache(maxsize=1024)
def pattern(name: str) -> re.Pattern[str]:
    """Return the pattern that the browse names of a path's name match as a whole."""
    glob = "".join(f"[{sign}]" if taken and sign in _GLOB else sign for sign, taken in _signs(name))
    return re.compile(fnmatch.translate(glob))


def parse(text: str) -> Tag:
    """Return the tag that `text` names; raises ValueError that says what is allowed."""
    if text.startswith(_ALIAS):
        name = text[len(_ALIAS) :]
        if not name:
            raise ValueError(f"{text!r} names no property: expected alias=<property alias>")
        return Alias(name, text)
    if text.startswith(_INDEX):
        return _element(text)
    if text.startswith("/"):
        names = _names(text)
        if names[0] not in {"Objects", "Types", "Views"}:
            raise ValueError(f"{text!r} does not begin with /Objects/, /Types/ or /Views/, the folders below the Root")
        if "" in names:
            raise ValueError(f"{text!r} has an empty name between two '/'")
        return Path(names, text)
    if not text.startswith(("nsu=", "ns=", "i=")):
        raise ValueError(f"{text!r} is not a tag: {_EXPECTED}")
    return nodes.parse(text)


def index_of(text: str) -> int | None:
    """Return which element of an array a tag's text names; None where it names no element."""
    tag = parse(text)
    return tag.index if isinstance(tag, Element) else None


def _element(text: str) -> Element:
    index, found, rest = text[len(_INDEX) :].partition(";")
    if not found or not re.fullmatch(r"[0-9]{1,10}", index) or int(index) > _MAX_INDEX:
        raise ValueError(
            f"{text!r} names no element: expected index=<n>;<node id or browse path>, where <n> is one whole number "
            f"from 0 to {_MAX_INDEX}, the place in an array of one dimension"
        )
    of = parse(rest)
    if isinstance(of, Alias | Element):
        raise ValueError(f"{text!r}: after index={index}; comes a node id or a browse path of the PLC, not {rest!r}")  # noqa: TRY004
    return Element(of, int(index), text)


def _names(text: str) -> tuple[str, ...]:
    names = [""]
    for sign, taken in _signs(text[1:]):
        if sign == "/" and not taken:
            names.append("")
        else:
            names[-1] += f"&{sign}" if taken and sign in _ESCAPED else sign
    return tuple(names)


def _signs(name: str) -> Iterator[tuple[str, bool]]:
    """Yield each character of a path and whether it is escaped by a `&`, which is not yielded."""
    signs = iter(name)
    for sign in signs:
        if sign == "&":
            yield next(signs, "&"), True
        else:
            yield sign, False


def _tag(text: str) -> str:
    parse(text)
    return text


def _node(text: str) -> str:
    tag = parse(text)
    if isinstance(tag, Alias):
        raise ValueError(f"{text!r} comes by a collector's messages; here a node of the PLC is needed")  # noqa: TRY004
    return text


def _whole_node(text: str) -> str:
    if isinstance(parse(_node(text)), Element):
        raise ValueError(f"{text!r} is one element of an array; here a node as a whole is needed")  # noqa: TRY004
    return text


TagText = Annotated[str, AfterValidator(_tag)]
"""A tag in a setting, by any of these ways."""

NodeText = Annotated[str, AfterValidator(_node)]
"""A node of the PLC in a setting, or one element of it: a node id or a browse path, `index=<n>;` before it."""

WholeNodeText = Annotated[str, AfterValidator(_whole_node)]
"""A node of the PLC in a setting that is not an element of another: a node id or a browse path."""
