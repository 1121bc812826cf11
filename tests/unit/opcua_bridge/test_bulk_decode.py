"""Changes that are alike are read together, and say the same as asyncua's decoder, one by one."""

import struct
from datetime import UTC, datetime, timedelta

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside_opcua_bridge.link import bulk_decode
from lineside_opcua_bridge.link.publishing import Malformed, decode
from lineside_opcua_bridge.values import instant

KINDS = ua.VariantType
NOW = datetime(2026, 5, 1, 12, 0, 0, 125000, tzinfo=UTC)
VALUES = {
    KINDS.Double: lambda number: number / 8,
    KINDS.Boolean: lambda number: number % 2 == 0,
    KINDS.UInt16: lambda number: number,
    KINDS.String: str,
    KINDS.DateTime: lambda number: NOW + timedelta(seconds=number),
}
TIMES = {
    "none": lambda _number: None,
    "one": lambda _number: NOW,
    "each its own": lambda number: NOW + timedelta(microseconds=37 * number),
    "backwards": lambda number: NOW - timedelta(seconds=number),
    "unset": lambda number: NOW if number % 5 else datetime(1601, 1, 1, tzinfo=UTC),
}
STRETCHES = st.tuples(
    st.sampled_from(list(VALUES)),
    st.integers(1, 40),
    st.sampled_from([None, 0, 0x480]),
    st.sampled_from(list(TIMES)),
    st.sampled_from(list(TIMES)),
)
Stretch = tuple[ua.VariantType, int, int | None, str, str]


def response(stretches: list[Stretch]) -> bytes:
    items = [
        ua.MonitoredItemNotification(
            ua.UInt32(number),
            ua.DataValue(
                ua.Variant(VALUES[kind](number), kind),
                StatusCode=None if status is None else ua.StatusCode(ua.UInt32(status)),
                SourceTimestamp=TIMES[source](number),
                ServerTimestamp=TIMES[server](number),
            ),
        )
        for kind, count, status, source, server in stretches
        for number in range(count)
    ]
    whole = ua.PublishResponse()
    whole.Parameters.NotificationMessage = ua.NotificationMessage(ua.UInt32(1), NOW, [ua.DataChangeNotification(items)])
    return struct_to_binary(whole)


def as_told(item: ua.MonitoredItemNotification) -> bulk_decode.Change:
    value, status = item.Value.Value.Value, item.Value.StatusCode
    return (
        int(item.ClientHandle),
        instant(value) if isinstance(value, datetime) else value,
        int(status.value) if status else 0,
        instant(item.Value.SourceTimestamp),
        instant(item.Value.ServerTimestamp),
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(STRETCHES, min_size=1, max_size=5))
def test_stretches_of_all_kinds_say_what_asyncua_says(stretches: list[Stretch]) -> None:
    body = response(stretches)
    (told,) = struct_from_binary(ua.PublishResponse, Buffer(body)).Parameters.NotificationMessage.NotificationData
    assert decode(body).message.changes == [as_told(item) for item in told.MonitoredItems]


@pytest.mark.parametrize("missing", [12, 29, 30, 300, 900])
def test_a_run_that_ends_too_early_is_malformed(missing: int) -> None:
    body = response([(KINDS.Double, 40, 0, "one", "one")])
    with pytest.raises(Malformed):
        decode(body[:-missing])


def test_more_changes_announced_than_sent_is_malformed() -> None:
    body = response([(KINDS.Double, 40, 0, "one", "one")])
    place = body.rindex(struct.pack("<i", 40))
    with pytest.raises(Malformed):
        decode(body[:place] + struct.pack("<i", 2**31 - 1) + body[place + 4 :])


@pytest.mark.parametrize("alike", [1, 2, 7, 8, 9, 63, 64, 65, 200])
def test_a_run_ends_where_the_type_changes(alike: int) -> None:
    row, other = struct.pack("<IBBd", 1, 1, 11, 0.0), struct.pack("<IBBd", 1, 1, 8, 0.0)
    body = row * alike + other + row * 100
    assert bulk_decode.length(body, 0, len(row), alike + 101) == alike
    assert bulk_decode.length(row * alike, 0, len(row), alike) == alike
