"""Ticks that do not drift, and beats that the PLC sees change; time is handed in."""

import asyncio

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from lineside_opcua_bridge.heartbeat import following
from lineside_opcua_bridge.ticker import FairLock, Ticker
from tests.support.waiting import HANG_S


@given(st.floats(0.01, 100), st.lists(st.floats(0, 10), max_size=50))
def test_ticks_and_missed_ones_are_all_there_are(every: float, waits: list[float]) -> None:
    grid, now, ticks = Ticker(0.0, every), 0.0, 0
    for wait in waits:
        now = max(now + wait, grid.due)
        ticks += 1 + grid.take(now)
        assert grid.due > now - every * 1e-6
        assert grid.due == pytest.approx((ticks + 1) * every)


def test_a_tick_served_late_does_not_move_the_next() -> None:
    grid = Ticker(100.0, 1.0)
    assert grid.take(101.9) == 0
    assert grid.due == 102.0
    assert grid.take(105.5) == 3
    assert grid.due == 106.0


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (False, ua.VariantType.Boolean, True),
        (True, ua.VariantType.Boolean, False),
        (7, ua.VariantType.Byte, 8),
        (255, ua.VariantType.Byte, 0),
        (-5, ua.VariantType.Int16, 0),
        (2**31 - 1, ua.VariantType.Int32, 0),
    ],
)
def test_the_next_beat_is_another_value_that_the_node_can_hold(value: int, kind: ua.VariantType, expected: int) -> None:
    assert following(value, kind) == expected
    assert type(following(value, kind)) is type(expected)


@pytest.mark.parametrize(("in_turn", "waited_for"), [(True, 1), (False, 50)])
async def test_what_comes_meanwhile_waits_for_one_turn_and_not_for_all(in_turn: bool, waited_for: int) -> None:
    turns, done, seen = FairLock(), list[int](), list[int]()

    async def work(number: int) -> None:
        if in_turn:
            await turns.take()
        done.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(50)]
    async with asyncio.timeout(HANG_S):
        while not done:
            await asyncio.sleep(0)
        seen.append(len(done))
        await asyncio.gather(*tasks)
    assert seen == [waited_for]
    assert done == list(range(50))
