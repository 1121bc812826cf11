from datetime import UTC, datetime, timedelta

import pytest

from lineside.contract import CameraSource, Request
from lineside_bench.reporting.records import Exchange, triggered_since

START = datetime(2026, 1, 1, tzinfo=UTC)


def exchange(**time: datetime) -> Exchange:
    return Exchange(Request.new(model="surface-defect", source=CameraSource(camera="station-1"), time=time))


@pytest.mark.parametrize("after_s", [0, 0.000001, 38])
def test_what_was_triggered_since_is_of_the_run(after_s: float) -> None:
    mine = exchange(source=START + timedelta(seconds=after_s))
    assert triggered_since({"mine": mine}, START) == {"mine": mine}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(exchange(source=START - timedelta(seconds=38), published=START), id="an-earlier-part"),
        pytest.param(exchange(received=START, published=START), id="of-no-plc"),
        pytest.param(Exchange(None), id="a-late-result"),
    ],
)
def test_what_came_before_and_what_others_ask_is_not(other: Exchange) -> None:
    mine = exchange(source=START)
    assert triggered_since({"other": other, "mine": mine}, START) == {"mine": mine}
