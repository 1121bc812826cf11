"""More parts than the line can judge: each has its answer in time, once, and afterwards all are judged again.

The line can do two parts a second on any machine: one request at a time, and a camera that takes half a second.
"""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from lineside_bench.options import Options
from lineside_bench.runner.capacity import trial
from lineside_bench.runner.simulated_line import SimulatedLine
from tests.support.waiting import Patience

DEADLINE_MS = 10_000.0
MARGIN_MS = 4000.0
"""A process of a busy machine may have to wait a second for a processor."""
SLOW = Options(
    parts=None,
    rate=1.0,
    seed=5,
    stations=24,
    deadline_ms=DEADLINE_MS,
    margin_ms=MARGIN_MS,
    camera_ms=500.0,
    concurrency=1,
    pictures=12,
)


@pytest.fixture
async def line() -> AsyncIterator[SimulatedLine]:
    async with SimulatedLine(SLOW) as line:
        yield line


async def decided(line: SimulatedLine, origin: str) -> float:
    """Return how many verdicts the bridge wrote that were decided so."""
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"{line.endpoints['opcua_bridge']}/metrics")).text
    return sum(
        float(row.split()[-1])
        for row in text.splitlines()
        if row.startswith("lineside_opcua_bridge_verdicts_total{") and f'origin="{origin}"' in row
    )


async def test_above_capacity_no_part_is_late_missing_or_answered_twice_and_the_line_recovers(
    line: SimulatedLine,
) -> None:
    over = await trial(line, rate=8.0, seconds=15.0)
    assert (over.late, over.missing, over.duplicates) == (0, 0, 0)
    assert over.unknown > 0
    assert over.judged > 0
    assert await decided(line, "overload") > 0
    patient = Patience()
    while not (calm := await trial(line, rate=1.0, seconds=5.0)).is_good:
        assert not patient.is_over(), calm
    # Negative control: a part whose PLC wants its verdict sooner than any camera answers is seen as late.
    line.options = replace(line.options, deadline_ms=300.0)
    assert (await trial(line, rate=1.0, seconds=3.0)).late == 3
