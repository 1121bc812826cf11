"""How a setting names a tag: a node id, a browse path with globs, or the alias under which a collector publishes it.

    nsu=urn:plant:press;s=Station1.PartPresent    a node id by namespace URI (see `nodes`)
    /Objects/Press/Station1/PartPresent           a browse path: browse names from the Root folder on
    /Objects/Press/Station*/PartPresent           with `*`, `?`, `[abc]` within a name and `**` for any depth
    alias=/plant/press/station1/present           a property alias of SiteWise collector messages

In a browse path a name stands without its namespace; `&` before `/`, `&`, `*`, `?` or `[` takes the sign as it is.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from lineside_opcua_bridge import nodes

_ALIAS = "alias="
_EXPECTED = "expected a node id (nsu=<namespace URI>;s=<text>), a browse path (/Objects/...) or alias=<property alias>"


@dataclass(frozen=True)
class Path:
    """A browse path from the Root folder; `names` are patterns, `**` among them stands for any number of levels."""

    names: tuple[str, ...]
    text: str
    """As it was written."""

    @property
    def key(self) -> tuple[str, str]:
        """What two spellings of the same path have in common."""
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
        """What two spellings of the same alias have in common."""
        return "alias", self.name


Tag = nodes.Address | Path | Alias


def is_pattern(name: str) -> bool:
    """Whether a name of a path has a glob sign that no `&` takes as it is."""
    return any(sign in "*?[" and (place == 0 or name[place - 1] != "&") for place, sign in enumerate(name))


def parse(text: str) -> Tag:
    """Return the tag that `text` names; raises ValueError that says what is allowed."""
    if text.startswith(_ALIAS):
        name = text[len(_ALIAS) :]
        if not name:
            raise ValueError(f"{text!r} names no property: expected alias=<property alias>")
        return Alias(name, text)
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


def _names(text: str) -> tuple[str, ...]:
    names = [""]
    taken = False
    for sign in text[1:]:
        if sign == "/" and not taken:
            names.append("")
            continue
        names[-1] += sign
        taken = sign == "&" and not taken
    return tuple(names)


def _tag(text: str) -> str:
    parse(text)
    return text


def _node(text: str) -> str:
    tag = parse(text)
    if isinstance(tag, Alias):
        raise ValueError(f"{text!r} comes by a collector's messages; here a node of the PLC is needed")  # noqa: TRY004
    return text


TagText = Annotated[str, AfterValidator(_tag)]
"""A tag in a setting, by any of the three ways."""

NodeText = Annotated[str, AfterValidator(_node)]
"""A node of the PLC in a setting: a node id or a browse path."""
