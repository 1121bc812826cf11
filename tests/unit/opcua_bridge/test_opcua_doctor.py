"""What the doctor says of a trigger's source timestamps."""

from datetime import UTC, datetime

import pytest
from asyncua import ua

from lineside_opcua_bridge.doctor.nodes import stamping

EARLIER, LATER = (datetime(2026, 1, 1, microsecond=at, tzinfo=UTC) for at in (1, 2))


@pytest.mark.parametrize(
    ("stamps", "values", "says"),
    [
        ((EARLIER, EARLIER), (False, False), ""),
        ((EARLIER, LATER), (False, True), ""),  # it rose between the two
        ((EARLIER, LATER), (False, False), "stamps a value when it is read"),
        ((None, None), (False, False), "no source timestamp"),
    ],
)
def test_how_a_server_stamps_is_said_where_it_is_no_write(
    stamps: tuple[datetime | None, ...], values: tuple[bool, ...], says: str
) -> None:
    first, second = (
        ua.DataValue(ua.Variant(value), SourceTimestamp=stamp) for value, stamp in zip(values, stamps, strict=True)
    )
    assert says in stamping(first, second)
    assert bool(says) is bool(stamping(first, second))
