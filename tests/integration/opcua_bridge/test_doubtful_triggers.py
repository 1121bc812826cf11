"""Triggers as real servers send them: stamped with the start or whole seconds, as arrays of one, of bad quality."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua

pytestmark = pytest.mark.asyncio(loop_scope="module")

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("step_ms", [0, 125, -10], ids=["the start", "whole seconds", "backwards"])
async def test_every_rise_is_a_part_whatever_its_stamp(
    steady: Any, line_of: Any, configure: Any, wait_until: Any, step_ms: int
) -> None:
    await steady.reset()

    def stamp(number: int) -> datetime:
        moment = START + timedelta(milliseconds=step_ms * number)
        return moment.replace(microsecond=0) if step_ms > 0 else moment

    trigger = steady.trigger(1, debounce_ms=20, deadline_ms=60_000)
    async with line_of(configure(steady, trigger)) as line:
        await line.ready()
        for number in range(8):
            await steady.set("Station1", "PartId", f"P-{number}")
            await steady.set("Station1", "Done", value=False)
            await steady.set("Station1", "PartPresent", value=True, at=stamp(2 * number))
            request = await line.request(number + 1)
            assert request.context.part_id == f"P-{number}"
            await line.answer(request, "pass")
            await wait_until(lambda: steady.get("Station1", "Done"))
            before = line.metric("values_total")
            await steady.set("Station1", "PartPresent", value=False, at=stamp(2 * number + 1))
            await wait_until(lambda seen=before: line.metric("values_total") > seen)
        assert len(line.requests()) == 8
        assert steady.dones("Station1") == 8
        assert line.metric("source_timestamps_unusable", trigger="station-1") == 1


@pytest.mark.parametrize(
    "at_the_start", [{}, {"PartId": ["P-0"], "PartPresent": [False]}], ids=["later", "at the start"]
)
async def test_an_array_of_one_is_its_element(
    steady: Any, line_of: Any, configure: Any, wait_until: Any, at_the_start: dict[str, Any]
) -> None:
    await steady.reset()
    for tag, value in at_the_start.items():
        await steady.set("Station1", tag, value)
    async with line_of(configure(steady)) as line:
        await line.ready()
        await steady.set("Station1", "PartId", ["P-1"])
        await steady.set("Station1", "PartPresent", [True])
        request = await line.request()
        assert request.context.part_id == "P-1"
        await line.answer(request, "pass")
        await wait_until(lambda: steady.get("Station1", "Done"))


async def test_an_array_that_lost_the_triggers_element_is_an_unusable_trigger(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    await steady.set("Station1", "PartPresent", [False, False])
    trigger = steady.trigger(1, deadline_ms=300)
    trigger["when"]["node"] = f"index=1;{trigger['when']['node']}"
    async with line_of(configure(steady, trigger)) as line:
        await line.ready()
        await steady.set("Station1", "PartPresent", [True])
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert steady.get("Station1", "Verdict") == "unknown"
        assert not line.requests()
        await steady.set("Station1", "PartPresent", [False, False])
        await steady.set("Station1", "PartId", "P-2")
        await steady.set("Station1", "Done", value=False)
        await steady.set("Station1", "PartPresent", [False, True])
        assert (await line.request()).context.part_id == "P-2"


@pytest.mark.parametrize(
    ("value", "status"),
    [(True, ua.StatusCodes.BadSensorFailure), ([True, False], ua.StatusCodes.Good)],
    ids=["bad quality", "an array of two"],
)
async def test_a_trigger_that_stays_unusable_is_unknown_in_time(
    steady: Any, line_of: Any, configure: Any, wait_until: Any, value: Any, status: int
) -> None:
    await steady.reset()
    async with line_of(configure(steady, steady.trigger(1, deadline_ms=300))) as line:
        await line.ready()
        await steady.set("Station1", "PartPresent", value, status=status)
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert steady.get("Station1", "Verdict") == "unknown"
        told = {"trigger": "station-1", "verdict": "unknown", "origin": "trigger"}
        await wait_until(lambda: line.metric("verdicts_total", **told) == 1)
        assert not line.requests()
        await steady.set("Station1", "PartPresent", value=False)
        await steady.part("Station1", "P-2")
        assert (await line.request()).context.part_id == "P-2"


async def test_a_trigger_that_gets_readable_in_time_is_judged(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    async with line_of(configure(steady, steady.trigger(1, deadline_ms=60_000))) as line:
        await line.ready()
        await steady.set("Station1", "PartId", "P-1")
        await steady.set("Station1", "PartPresent", value=True, status=ua.StatusCodes.BadSensorFailure)
        await wait_until(lambda: line.metric("looks_total", trigger="station-1", standing="unreadable"))
        await steady.set("Station1", "PartPresent", value=True)
        request = await line.request()
        assert request.context.part_id == "P-1"
        await line.answer(request, "fail")
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert (steady.get("Station1", "Verdict"), len(line.requests())) == ("fail", 1)


async def test_after_a_pulse_the_part_keeps_its_own_id(steady: Any, line_of: Any, configure: Any) -> None:
    """A PLC that lowers its trigger at once and shows the next id while the verdict is under way."""
    await steady.reset()
    async with line_of(
        configure(steady, steady.trigger(1, overrun="queue", debounce_ms=0), publishing_interval_ms=50)
    ) as line:
        await line.ready()
        for number in (1, 2):
            await steady.set("Station1", "PartId", f"P-{number}")
            await steady.set("Station1", "PartPresent", value=True)
            await steady.set("Station1", "PartPresent", value=False)
        await line.request(2)
        assert [request.context.part_id for request in line.requests()] == ["P-1", "P-2"]
