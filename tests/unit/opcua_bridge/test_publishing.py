"""The fast decoder says what asyncua's own decoder says, of every message; and nothing breaks it but by `Malformed`."""

import contextlib
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside_opcua_bridge.link.publishing import Malformed, Message, decode, decode_repeated

FIRST, LAST = datetime(1603, 1, 1), datetime(9990, 1, 1)  # noqa: DTZ001 - hypothesis adds the zone
KINDS = ua.VariantType


def integers(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else st.integers(0, 2**bits - 1)


MOMENTS = st.datetimes(FIRST, LAST, timezones=st.just(UTC))
SCALARS: dict[ua.VariantType, st.SearchStrategy[Any]] = {
    KINDS.Boolean: st.booleans(),
    KINDS.SByte: integers(8, signed=True),
    KINDS.Byte: integers(8, signed=False),
    KINDS.Int16: integers(16, signed=True),
    KINDS.UInt16: integers(16, signed=False),
    KINDS.Int32: integers(32, signed=True),
    KINDS.UInt32: integers(32, signed=False),
    KINDS.Int64: integers(64, signed=True),
    KINDS.UInt64: integers(64, signed=False),
    KINDS.Float: st.floats(width=32, allow_nan=False),
    KINDS.Double: st.floats(allow_nan=False),
    KINDS.String: st.none() | st.text(max_size=20),
    KINDS.DateTime: MOMENTS,
    KINDS.ByteString: st.binary(max_size=9),
    KINDS.Guid: st.uuids(),
    KINDS.LocalizedText: st.builds(ua.LocalizedText, st.text(max_size=5)),
}
ARRAYS = st.lists(integers(32, signed=True), max_size=4)


@st.composite
def data_values(draw: st.DrawFn) -> ua.DataValue:
    if draw(st.integers(0, 9)) == 0:
        variant = ua.Variant(draw(ARRAYS), KINDS.Int32, is_array=True)
    elif draw(st.integers(0, 9)) == 0:
        variant = ua.Variant()
    else:
        kind = draw(st.sampled_from(list(SCALARS)))
        variant = ua.Variant(draw(SCALARS[kind]), kind)
    status = draw(st.sampled_from([None, 0, 0x480, 0x40000000, 0x80340000]))
    return ua.DataValue(
        variant,
        StatusCode=None if status is None else ua.StatusCode(ua.UInt32(status)),
        SourceTimestamp=draw(st.none() | MOMENTS),
        ServerTimestamp=draw(st.none() | MOMENTS),
    )


ITEMS = st.builds(ua.MonitoredItemNotification, integers(32, signed=False), data_values())
CHANGES = st.builds(ua.DataChangeNotification, st.lists(ITEMS, max_size=12))
FIELDS = st.lists(st.builds(ua.Variant, st.text(max_size=5)), max_size=3)
EVENTS = st.builds(
    ua.EventNotificationList,
    st.lists(st.builds(ua.EventFieldList, integers(32, signed=False), FIELDS), max_size=3),
)
ENDED = st.builds(ua.StatusChangeNotification, st.just(ua.StatusCode(ua.UInt32(ua.StatusCodes.BadTimeout))))


@st.composite
def responses(draw: st.DrawFn) -> ua.PublishResponse:
    response = ua.PublishResponse()
    response.Parameters = ua.PublishResult(
        SubscriptionId=draw(integers(32, signed=False)),
        AvailableSequenceNumbers=draw(st.lists(integers(32, signed=False), max_size=4)),
        MoreNotifications=draw(st.booleans()),
        NotificationMessage=ua.NotificationMessage(
            SequenceNumber=draw(integers(32, signed=False)),
            PublishTime=draw(MOMENTS),
            NotificationData=draw(st.lists(CHANGES | EVENTS | ENDED, max_size=3)),
        ),
        Results=[ua.StatusCode() for _ in range(draw(st.integers(0, 3)))],
    )
    return response


def as_told_by_asyncua(told: ua.NotificationMessage) -> Message:
    changes, events, ended = [], [], None
    for content in told.NotificationData:
        if isinstance(content, ua.DataChangeNotification):
            for item in content.MonitoredItems:
                value = item.Value
                code = value.StatusCode.value if value.StatusCode else 0
                changes.append(
                    (item.ClientHandle, value.Value.Value, code, value.SourceTimestamp, value.ServerTimestamp)
                )
        elif isinstance(content, ua.EventNotificationList):
            events += [(each.ClientHandle, [one.Value for one in each.EventFields]) for each in content.Events]
        else:
            ended = content.Status.name
    return Message(told.SequenceNumber, changes, events, ended, is_keepalive=not told.NotificationData)


@settings(max_examples=150, deadline=None)
@given(responses())
def test_it_says_what_asyncua_says(response: ua.PublishResponse) -> None:
    body = struct_to_binary(response)
    theirs = struct_from_binary(ua.PublishResponse, Buffer(body)).Parameters
    ours = decode(body)
    assert ours.subscription == theirs.SubscriptionId
    assert ours.message == as_told_by_asyncua(theirs.NotificationMessage)
    repeated = ua.RepublishResponse(NotificationMessage=response.Parameters.NotificationMessage)
    assert decode_repeated(struct_to_binary(repeated)) == ours.message


@settings(max_examples=150, deadline=None)
@given(responses(), st.data())
def test_bytes_that_were_damaged_on_the_way_do_no_worse_than_malformed(
    response: ua.PublishResponse, data: st.DataObject
) -> None:
    body = bytearray(struct_to_binary(response))
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    with contextlib.suppress(Malformed):
        decode(bytes(body[:cut]))


def one(value: Any, **more: Any) -> bytes:
    response = ua.PublishResponse()
    item = ua.MonitoredItemNotification(ua.UInt32(7), ua.DataValue(value, **more))
    response.Parameters.NotificationMessage = ua.NotificationMessage(
        ua.UInt32(3), datetime.now(UTC), [ua.DataChangeNotification([item])]
    )
    return struct_to_binary(response)


def test_a_message_that_ends_in_the_middle_of_a_value_is_malformed() -> None:
    body = one(ua.Variant("twelve bytes"))
    for length in range(len(body) - 8):  # what follows is not read: acknowledgements and diagnostics
        with pytest.raises(Malformed):
            decode(body[:length])


def test_more_values_announced_than_sent_is_malformed() -> None:
    body = one(ua.Variant(1, KINDS.Int32))
    place = body.index((1).to_bytes(4, "little") + (7).to_bytes(4, "little"))
    with pytest.raises(Malformed):
        decode(body[:place] + (2).to_bytes(4, "little") + body[place + 4 :])


def test_a_time_that_nobody_set_is_none_and_the_last_one_does_not_overflow() -> None:
    unset, last = datetime(1601, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    ((_handle, value, code, source, server),) = decode(
        one(ua.Variant(last, KINDS.DateTime), SourceTimestamp=unset, ServerTimestamp=last)
    ).message.changes
    assert (value, code, source, server) == (last, 0, None, last)


def test_a_text_that_is_no_utf8_is_readable_all_the_same() -> None:
    body = one(ua.Variant(b"gr\xfcn", KINDS.ByteString))
    place = body.index(b"gr\xfcn") - 5
    text = body[:place] + bytes([KINDS.String.value]) + body[place + 1 :]
    assert decode(text).message.changes[0][1] == "gr\N{REPLACEMENT CHARACTER}n"


@pytest.mark.parametrize("value", [ua.Variant(5, KINDS.UInt16), ua.Variant("five"), ua.Variant([5, 6], KINDS.UInt16)])
def test_picoseconds_stand_after_their_own_timestamp(value: ua.Variant) -> None:
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    ticks = struct.pack("<q", (moment - datetime(1601, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10)
    body = one(value, SourceTimestamp=moment, ServerTimestamp=moment)
    place = body.index(ticks * 2)
    mask = body.index(struct.pack("<I", 7) + b"\x0f") + 4
    longer = body[:mask] + b"\x3f" + body[mask + 1 : place] + (ticks + b"\xff\xff") * 2 + body[place + 16 :]
    content = b"\x01\x00\x2b\x03\x01"  # a DataChangeNotification, as bytes
    at = longer.index(content) + len(content)
    (length,) = struct.unpack_from("<i", longer, at)
    longer = longer[:at] + struct.pack("<i", length + 4) + longer[at + 4 :]
    assert decode(longer).message.changes == [(7, value.Value, 0, moment, moment)]


def test_a_sign_of_life_has_no_content() -> None:
    response = ua.PublishResponse()
    response.Parameters.NotificationMessage.SequenceNumber = ua.UInt32(12)
    message = decode(struct_to_binary(response)).message
    assert message.is_keepalive
    assert message.number == 12


def test_a_refusal_is_no_message() -> None:
    response = ua.PublishResponse()
    response.ResponseHeader.ServiceResult = ua.StatusCode(ua.UInt32(ua.StatusCodes.BadNoSubscription))
    with pytest.raises(Malformed, match="BadNoSubscription"):
        decode(struct_to_binary(response))


def test_the_same_instant_is_the_same_for_all_values_of_a_message() -> None:
    now = datetime(2026, 5, 1, 12, 0, 0, 125000, tzinfo=UTC)
    response = ua.PublishResponse()
    items = [
        ua.MonitoredItemNotification(
            ua.UInt32(number),
            ua.DataValue(ua.Variant(number, KINDS.Int64), SourceTimestamp=now + timedelta(seconds=number // 2)),
        )
        for number in range(6)
    ]
    response.Parameters.NotificationMessage = ua.NotificationMessage(
        ua.UInt32(1), now, [ua.DataChangeNotification(items)]
    )
    changes = decode(struct_to_binary(response)).message.changes
    assert [change[1] for change in changes] == list(range(6))
    assert [change[3] for change in changes] == [now + timedelta(seconds=number // 2) for number in range(6)]
