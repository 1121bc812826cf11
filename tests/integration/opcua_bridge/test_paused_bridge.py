"""The operator's switch against a real PLC: parts are answered meanwhile, and the session stays."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from lineside.connections import State
from lineside.contract import reported_policy_topic

REPORTED = reported_policy_topic("bench")
STATION = "Station1"


@pytest.fixture
def switch() -> Callable[..., Any]:
    async def turn(line: Any, enabled: bool | None) -> None:
        report = {"policy": None, "enabled": enabled, "etag": None, "state": "applied", "errors": []}
        await line.bus.publish(REPORTED, json.dumps(report).encode(), retain=True)

    return turn


def link(line: Any, name: str) -> Any:
    return line.service.connections[name]


async def test_a_paused_station_answers_at_once_and_the_next_part_after_it_is_judged(
    plc, line_of, configure, wait_until, switch
) -> None:
    await plc.start()
    async with line_of(configure(plc)) as line:
        await line.ready()
        since = link(line, "opcua").snapshot().since
        await switch(line, enabled=False)
        await wait_until(lambda: link(line, "trigger station-1").state is State.PAUSED)
        assert link(line, "trigger station-1").detail == "paused by policy"
        assert line.service.is_ready

        await plc.part(STATION, "P-1")
        await wait_until(lambda: plc.get(STATION, "Done"))
        assert plc.get(STATION, "Verdict") == "unknown"
        assert line.requests() == []
        await wait_until(
            lambda: line.metric("verdicts_total", trigger="station-1", verdict="unknown", origin="paused") == 1
        )
        await plc.leave(STATION)

        await switch(line, enabled=True)
        await wait_until(lambda: link(line, "trigger station-1").state is State.ONLINE)
        await plc.part(STATION, "P-2")
        request = await line.request()
        assert request.context.part_id == "P-2"
        await line.answer(request, "pass")
        await wait_until(lambda: plc.get(STATION, "Done"))
        assert plc.get(STATION, "Verdict") == "pass"
        assert plc.dones(STATION) == 2
        assert (link(line, "opcua").state, link(line, "opcua").snapshot().since) == (State.ONLINE, since)


async def test_a_report_that_does_not_say_it_changes_nothing(plc, line_of, configure, wait_until, switch) -> None:
    await plc.start()
    async with line_of(configure(plc)) as line:
        await line.ready()
        await switch(line, enabled=False)
        await wait_until(lambda: link(line, "trigger station-1").state is State.PAUSED)
        await switch(line, enabled=None)
        await line.bus.publish(REPORTED, b"no json")
        await wait_until(lambda: not line.broker._subscriptions[REPORTED][0]._waiting.qsize())
        assert link(line, "trigger station-1").state is State.PAUSED


async def test_without_a_report_parts_are_asked_about(plc, line_of, configure) -> None:
    await plc.start()
    async with line_of(configure(plc)) as line:
        await line.ready()
        await plc.part(STATION, "P-1")
        assert (await line.request()).context.part_id == "P-1"


async def test_a_plc_that_goes_away_while_paused_is_shown_and_comes_back_paused(
    plc, line_of, configure, wait_until, switch
) -> None:
    await plc.start()
    async with line_of(configure(plc)) as line:
        await line.ready()
        await switch(line, enabled=False)
        await wait_until(lambda: link(line, "trigger station-1").state is State.PAUSED)
        await plc.stop()
        await wait_until(lambda: link(line, "trigger station-1").state is State.BACKOFF)
        await plc.start()
        await wait_until(lambda: link(line, "trigger station-1").state is State.PAUSED, within=20)
