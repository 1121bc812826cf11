"""Node ids by namespace URI, for a namespace's index may change with every restart of the server.

The form is that of OPC 10000-6, 5.3.1.11: `nsu=<uri>;s=<text>`, or `i=` (number), `g=` (GUID), `b=` (base64) after
the URI; `i=2258` alone is a node of OPC UA's own namespace. In the URI `;` is written as `%3B` and `%` as `%25`.
"""

import base64
import binascii
import difflib
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from asyncua import ua

from lineside.errors import LinesideError

OPC_UA = "http://opcfoundation.org/UA/"
"""The namespace of OPC UA itself: index 0 on every server."""

_MAX_NUMBER = 0xFFFFFFFF
_EXPECTED = "expected nsu=<namespace URI>;s=<text>, or i=, g=, b= in place of s="


class NodeMissing(LinesideError):
    """The server does not have a namespace or node that the settings name."""

    code = "node-missing"
    transient = True


class NodeAmbiguous(NodeMissing):
    """The server has several nodes where the settings must name one."""

    code = "node-ambiguous"


@dataclass(frozen=True)
class Address:
    """A node as the settings name it: a namespace URI and an identifier within it."""

    uri: str
    identifier: int | str | bytes | uuid.UUID
    text: str
    """As it was written."""

    @property
    def key(self) -> tuple[str, str]:
        """The same for all spellings of one node."""
        return self.uri, repr(self.identifier)


def parse(text: str) -> Address:
    """Return the address that `text` names; raises ValueError that says what is allowed."""
    uri, rest = OPC_UA, text
    if text.startswith("nsu="):
        uri, found, rest = text[len("nsu=") :].partition(";")
        uri = uri.replace("%3B", ";").replace("%3b", ";").replace("%25", "%")
        if not uri or not found:
            raise ValueError(f"{text!r} is not a node id: {_EXPECTED}")
    elif match := re.match(r"ns=(\d+);(.*)", text, re.DOTALL):
        if match[1] != "0":
            raise ValueError(
                f"{text!r} names its namespace by index, which may change when the server restarts: write "
                f"nsu=<namespace URI>;{match[2]}; the server's NamespaceArray (i=2255) has the URI at place {match[1]}"
            )
        rest = match[2]
    elif not text.startswith("i="):
        raise ValueError(f"{text!r} is not a node id: {_EXPECTED}")
    return Address(uri=uri, identifier=_identifier(text, rest), text=text)


def _identifier(text: str, rest: str) -> int | str | bytes | uuid.UUID:
    kind, found, value = rest.partition("=")
    if not found or not value or kind not in {"i", "s", "g", "b"}:
        raise ValueError(f"{text!r} is not a node id: {_EXPECTED}")
    if kind == "s":
        return value
    try:
        if kind == "g":
            return uuid.UUID(value)
        if kind == "b":
            return base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error) as error:
        raise ValueError(f"{text!r} is not a node id: {'g= takes a GUID' if kind == 'g' else error}") from None
    if not re.fullmatch(r"[0-9]{1,10}", value) or int(value) > _MAX_NUMBER:
        raise ValueError(f"{text!r} is not a node id: i= takes a number from 0 to {_MAX_NUMBER}")
    return int(value)


def resolve(address: Address, namespaces: Sequence[str]) -> ua.NodeId:
    """Return the node id on a server whose NamespaceArray is `namespaces`; raises NodeMissing."""
    try:
        index = namespaces.index(address.uri)
    except ValueError:
        known = [uri for uri in namespaces if uri != OPC_UA]
        close = difflib.get_close_matches(address.uri, known, n=1)
        raise NodeMissing(
            f"namespace {address.uri!r} of node {address.text!r} is not on the server",
            remedy=f"did you mean {close[0]!r}?" if close else f"it has {', '.join(map(repr, known)) or 'none'}",
        ) from None
    identifier = address.identifier
    if isinstance(identifier, int):
        return ua.NodeId(ua.Int32(identifier), ua.Int16(index))
    if isinstance(identifier, str):
        return ua.NodeId(ua.String(identifier), ua.Int16(index))
    if isinstance(identifier, bytes):
        return ua.NodeId(ua.ByteString(identifier), ua.Int16(index))
    return ua.NodeId(ua.Guid(int=identifier.int), ua.Int16(index))


def describe(node: ua.NodeId, namespaces: Sequence[str]) -> str:
    """Return a node id as it goes into the settings: `parse` and `resolve` make the same node of it.

    Only a node of a namespace that `namespaces` does not have stays `ns=<index>;...`, which the settings refuse.
    """
    identifier = node.Identifier
    if isinstance(identifier, int):
        rest = f"i={identifier}"
    elif isinstance(identifier, str):
        rest = f"s={identifier}"
    elif isinstance(identifier, bytes):
        rest = f"b={base64.b64encode(identifier).decode('ascii')}"
    else:
        rest = f"g={identifier}"
    if node.NamespaceIndex == 0 and isinstance(identifier, int):
        return rest
    if node.NamespaceIndex >= len(namespaces):
        return f"ns={node.NamespaceIndex};{rest}"
    uri = namespaces[node.NamespaceIndex].replace("%", "%25").replace(";", "%3B")
    return f"nsu={uri};{rest}"
