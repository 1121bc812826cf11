"""Decodes Publish responses into plain values, fast enough for a PLC with thousands of tags.

asyncua makes five objects of every value that arrives. Here a data change of a scalar (Boolean, number, String,
DateTime) becomes one tuple, read by one precompiled layout for its type and the fields that its DataValue has
(OPC 10000-6, 5.2.2.17). Arrays, structures and events are decoded by asyncua, value by value, so that one array among
a thousand numbers costs no more than one array. Whatever a server sends, nothing but `Malformed` is raised.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import (
    extensionobject_from_binary,
    nodeid_from_binary,
    struct_from_binary,
    variant_from_binary,
)

from lineside.errors import LinesideError
from lineside_opcua_bridge.link import bulk_decode
from lineside_opcua_bridge.link.bulk_decode import Change
from lineside_opcua_bridge.link.ua_time import moment, timestamp
from lineside_opcua_bridge.values import instant

_DATA_CHANGE = ua.NodeId(ua.Int32(ObjectIds.DataChangeNotification_Encoding_DefaultBinary))
_INT32 = struct.Struct("<i")
_TWO_INT32 = struct.Struct("<ii")
_UINT32 = struct.Struct("<I")
_NUMBER_AND_TIME = struct.Struct("<Iq")

_FIXED = {0: "", 1: "?", 2: "b", 3: "B", 4: "h", 5: "H", 6: "i", 7: "I", 8: "q", 9: "Q", 10: "f", 11: "d", 13: "q"}
"""struct formats of the scalars of a fixed size, by the id of their built-in type."""
_STRING = 12
_DATE_TIME = 13
_SINGLY = frozenset({0, _DATE_TIME})
"""Types of fixed size whose value is not the number on the wire: Null, and DateTime."""
_RUN = 8
"""So many changes of one type and mask are faster to read together."""
_VALUE, _STATUS, _SOURCE, _SERVER, _SOURCE_PICO, _SERVER_PICO = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20


class Malformed(LinesideError):
    """The server sent bytes that are no valid response."""

    code = "plc-malformed"
    transient = True


@dataclass(frozen=True)
class Message:
    """One notification message of a subscription; without content it is a keep-alive (`is_keepalive`)."""

    number: int
    """The sequence number; a keep-alive carries that of the next message."""
    changes: list[Change] = field(default_factory=list)
    events: list[tuple[int, list[object]]] = field(default_factory=list)
    """Client handle and the fields of each event, in the order in which they were asked for."""
    ended: str | None = None
    """The status with which the server ended the subscription, where it did."""
    is_keepalive: bool = False


@dataclass(frozen=True)
class Publication:
    """The content of one Publish response."""

    subscription: int
    message: Message


@dataclass(frozen=True)
class _Layout:
    """The layout of a notification for one type and one set of fields; the index of an absent field is -1."""

    unpack: Callable[[bytes, int], tuple[Any, ...]]
    size: int
    status: int
    source: int
    server: int
    whole: struct.Struct
    """The same layout from the client handle on, without mask and type."""


def _layout(mask: int, scalar: str) -> _Layout:
    fields, indices, index = "<", {}, 0
    for bit, code in (
        (_VALUE, scalar),
        (_STATUS, "I"),
        (_SOURCE, "q"),
        (_SOURCE_PICO, "2x"),
        (_SERVER, "q"),
        (_SERVER_PICO, "2x"),
    ):
        if mask & bit and code:
            fields += code
            indices[bit] = index
            index += code != "2x"
    compiled = struct.Struct(fields)
    at = {bit: indices.get(bit, -1) for bit in (_STATUS, _SOURCE, _SERVER)}
    whole = struct.Struct(f"<I2x{fields[1:]}")
    return _Layout(compiled.unpack_from, compiled.size, at[_STATUS], at[_SOURCE], at[_SERVER], whole)


_SCALARS = {
    mask << 8 | kind: _layout(mask, scalar) for mask in range(64) if mask & _VALUE for kind, scalar in _FIXED.items()
}
"""By the DataValue's mask and the Variant's type, the two bytes after the client handle."""
_AFTER = [_layout(mask & ~_VALUE, "") for mask in range(64)]
"""What follows a value whose size is not fixed, by the mask."""


def decode(body: bytes) -> Publication:
    """Return the content of a Publish response whose own status is good; raises Malformed."""
    try:
        return _publication(body)
    except Exception as error:  # bytes from outside: whatever they break, the answer is the same
        raise Malformed(f"the server's Publish response cannot be read: {type(error).__name__}: {error}") from error


def decode_repeated(body: bytes) -> Message:
    """Return the message that a Republish response repeats; raises Malformed."""
    try:
        return _message(body, after_header(body))
    except Exception as error:
        raise Malformed(f"the server's Republish response cannot be read: {type(error).__name__}: {error}") from error


def _publication(body: bytes) -> Publication:
    at = after_header(body)
    (subscription,) = _UINT32.unpack_from(body, at)
    (available,) = _INT32.unpack_from(body, at + 4)
    at += 8 + 4 * max(0, available) + 1  # the last byte is MoreNotifications: the next request is sent anyway
    return Publication(subscription, _message(body, at))


def after_header(body: bytes) -> int:
    """Return the offset after a response's header; raises UaStatusCodeError where the service failed."""
    head = Buffer(body)
    nodeid_from_binary(head)
    struct_from_binary(ua.ResponseHeader, head).ServiceResult.check()
    return head.cur_pos


def _message(body: bytes, at: int) -> Message:
    number, _published = _NUMBER_AND_TIME.unpack_from(body, at)
    (count,) = _INT32.unpack_from(body, at + 12)
    at += 16
    changes: list[Change] = []
    events: list[tuple[int, list[object]]] = []
    ended: str | None = None
    for _ in range(count):
        content = Buffer(body, at)
        kind, encoding = nodeid_from_binary(content), content.read(1)
        if kind == _DATA_CHANGE and encoding == b"\x01":
            at = _read_changes(body, content.cur_pos, changes)
        else:
            content = Buffer(body, at)
            ended = _add(extensionobject_from_binary(content), changes, events) or ended
            at = content.cur_pos
    return Message(number, changes, events, ended, is_keepalive=count <= 0)


def _read_changes(body: bytes, at: int, changes: list[Change]) -> int:
    """Add the changes of the DataChangeNotification whose length is at offset `at`; return the offset of its end."""
    length, count = _TWO_INT32.unpack_from(body, at)
    end: int = at + 4 + length
    at += 8
    handle_of, get, add = _UINT32.unpack_from, _SCALARS.get, changes.append
    last_source = last_server = 0
    source_at: datetime | None = None
    server_at: datetime | None = None
    left = count
    while left > 0:
        (handle,) = handle_of(body, at)
        kind = body[at + 5]
        layout = get(body[at + 4] << 8 | kind)
        if layout is not None and kind not in _SINGLY:
            whole = layout.whole
            run = bulk_decode.length(body, at, whole.size, left) if left >= _RUN else 1
            if run >= _RUN:
                stop = at + run * whole.size
                places = (layout.status + 1, layout.source + 1, layout.server + 1)  # after the handle
                changes += bulk_decode.read(whole, *places, body[at:stop])
                at, left = stop, left - run
                continue
        left -= 1
        if layout is not None:
            at += 6
            parts = layout.unpack(body, at)
            value = parts[0] if kind else None
            if kind == _DATE_TIME:
                value = moment(parts[0])
        else:
            mask = body[at + 4]
            layout = _AFTER[mask & 0x3F]
            value, at = None, at + 5
            if mask & _VALUE:
                value, at = _text(body, at + 1) if kind == _STRING else _by_asyncua(body, at)
            parts = layout.unpack(body, at)
        at += layout.size
        source = parts[layout.source] if layout.source >= 0 else 0
        if source != last_source:
            last_source, source_at = source, timestamp(source)
        server = parts[layout.server] if layout.server >= 0 else 0
        if server != last_server:
            last_server, server_at = server, timestamp(server)
        add((handle, value, parts[layout.status] if layout.status >= 0 else 0, source_at, server_at))
    if not at <= end <= len(body):
        raise ValueError(f"{count} changes end at {at} where {end} of {len(body)} bytes was announced")
    return end


def _text(body: bytes, at: int) -> tuple[str | None, int]:
    (length,) = _INT32.unpack_from(body, at)
    if length < 0:
        return None, at + 4
    end = at + 4 + length
    if end > len(body):
        raise ValueError(f"a text of {length} bytes at {at} of {len(body)}")
    return body[at + 4 : end].decode("utf-8", "replace"), end


def _by_asyncua(body: bytes, at: int) -> tuple[object, int]:
    """Return any Variant's value; not a DataValue's, whose picoseconds asyncua reads in the wrong order."""
    rest = Buffer(body, at)
    return variant_from_binary(rest).Value, rest.cur_pos


def _change(handle: int, value: ua.DataValue) -> Change:
    code = int(value.StatusCode.value) if value.StatusCode is not None else 0
    content = value.Value.Value if value.Value is not None else None
    return handle, content, code, instant(value.SourceTimestamp), instant(value.ServerTimestamp)


def _add(content: object, changes: list[Change], events: list[tuple[int, list[object]]]) -> str | None:
    """Add the changes or events of a notification; return the status where it says that the subscription ended."""
    if isinstance(content, ua.DataChangeNotification):
        changes += [_change(int(item.ClientHandle), item.Value) for item in content.MonitoredItems or []]
    elif isinstance(content, ua.EventNotificationList):
        events += [
            (int(event.ClientHandle), [each.Value for each in event.EventFields or []])
            for event in content.Events or []
        ]
    elif isinstance(content, ua.StatusChangeNotification):
        return str(ua.StatusCode(content.Status.value).name)
    return None
