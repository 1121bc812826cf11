"""Every kind of trigger, its conditions and what travels with it, over real OPC UA and the in-memory bus."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua

pytestmark = pytest.mark.asyncio(loop_scope="module")

NODE = "nsu=urn:lineside:test;s=Station1"


@pytest.mark.parametrize(
    ("when", "idle", "values"),
    [
        ({"kind": "edge", "node": f"{NODE}.PartPresent", "edge": "falling"}, ("PartPresent", True), [False]),
        ({"kind": "change", "node": f"{NODE}.PartId"}, ("PartId", "P-0"), ["P-1", "P-1"]),
        (
            {"kind": "limit", "node": f"{NODE}.Speed", "above": 1500, "hysteresis": 100},
            ("Speed", 0.0),
            [1501.0, 1450.0],
        ),
        ({"kind": "limit", "node": f"{NODE}.Speed", "below": 900}, ("Speed", 1000.0), [899.5]),
        ({"kind": "counter", "node": f"{NODE}.Counter"}, ("Counter", 7), [8]),
    ],
    ids=lambda value: f"{value['kind']}-{'-'.join(map(str, list(value)[2:3]))}" if isinstance(value, dict) else None,
)
async def test_a_trigger_of_each_kind_asks_once_and_gets_its_verdict(
    steady: Any, line_of: Any, configure: Any, wait_until: Any, when: Any, idle: Any, values: Any
) -> None:
    await steady.reset()
    await steady.set("Station1", *idle)
    if when["kind"] == "edge":
        await steady.set("Station1", "Done", value=True)
    async with line_of(configure(steady, steady.trigger(1, when=when, debounce_ms=0))) as line:
        await line.ready()
        if when["kind"] == "edge":
            await steady.set("Station1", "Done", value=False)
        assert not line.requests()
        for value in values:
            await steady.set("Station1", when["node"].rsplit(".", 1)[1], value)
        request = await line.request()
        assert request.time.source is not None
        await line.answer(request, "fail")
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert steady.get("Station1", "Verdict") == "fail"
        assert len(line.requests()) == 1


async def test_parts_that_a_counter_shows_and_nobody_asked_about_are_counted(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    when = {"kind": "counter", "node": f"{NODE}.Counter"}
    async with line_of(configure(steady, steady.trigger(1, when=when, debounce_ms=0))) as line:
        await line.ready()
        await steady.set("Station1", "Counter", 3)
        await line.request()
        await wait_until(lambda: line.metric("missed_parts_total", trigger="station-1") == 2)


async def test_an_event_asks_and_its_fields_travel(steady: Any, line_of: Any, configure: Any, wait_until: Any) -> None:
    await steady.reset()
    when = {
        "kind": "event",
        "fields": {"part_id": "Message", "severity": "Severity"},
        "min_severity": 300,
    }
    async with line_of(configure(steady, steady.trigger(1, when=when, debounce_ms=0, sample={}))) as line:
        await line.ready()
        await steady.notify("too faint", 100)
        await steady.notify("P-42", 500)
        request = await line.request()
        assert request.context.part_id == "P-42"
        assert request.context.tags == {"severity": 500}
        assert request.time.source is not None
        await line.answer(request, "pass")
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert len(line.requests()) == 1


async def test_a_field_that_only_some_events_have_travels(steady: Any, line_of: Any, configure: Any) -> None:
    await steady.reset()
    when = {"kind": "event", "fields": {"part_id": "Message", "client": "ClientUserId"}}
    async with line_of(configure(steady, steady.trigger(1, when=when, debounce_ms=0, sample={}))) as line:
        await line.ready()
        await steady.notify("P-1", 500, kind=ua.ObjectIds.AuditEventType, ClientUserId="press")
        context = (await line.request()).context
        assert (context.part_id, context.tags) == ("P-1", {"client": "press"})


@pytest.mark.parametrize(
    ("changes", "own", "says"),
    [
        ({"when": {"kind": "event", "fields": {"text": "Mesage"}}, "sample": {}}, {}, "no field 'Mesage'"),
        ({}, {"heartbeat": {"node": "/Objects/Station1/Done"}}, "done of trigger 'station-1', heartbeat"),
    ],
    ids=["event field", "heartbeat"],
)
async def test_what_only_the_server_can_tell_to_be_wrong_stops_the_start(
    steady: Any, line_of: Any, configure: Any, wait_until: Any, changes: Any, own: Any, says: str
) -> None:
    await steady.reset()
    async with line_of(configure(steady, steady.trigger(1, **changes), **own), fails=True) as line:
        await wait_until(lambda: line.service.failed)
        assert says in line.service.failed
    assert not [path for path, value in steady.writes if path == "Station1.Done" and value is True]


async def test_a_period_asks_on_its_own_and_samples(steady: Any, line_of: Any, configure: Any, wait_until: Any) -> None:
    await steady.reset()
    when = {"kind": "period", "every_ms": 50}
    async with line_of(configure(steady, steady.trigger(1, when=when, write_back=None))) as line:
        await line.ready()
        request = await line.request()
        assert request.context.tags == {"speed": 1200.5}
        await line.request(3)
        await line.answer(line.requests()[-1], "pass")
        await wait_until(
            lambda: line.metric("results_total", kind="matched") + line.metric("results_total", kind="late")
        )


async def test_a_window_of_a_tag_becomes_a_tensor(steady: Any, line_of: Any, configure: Any, wait_until: Any) -> None:
    await steady.reset()
    source = {"kind": "window", "input": "x", "tags": {"speed": f"{NODE}.Speed"}, "rate_hz": 100, "samples": 5}
    trigger = steady.trigger(1, source=source | {"max_gap_ms": 60_000}, debounce_ms=0)
    start = datetime.now(UTC)
    async with line_of(configure(steady, trigger)) as line:
        await line.ready()
        for step in range(8):
            await steady.set("Station1", "Speed", float(step), at=start + timedelta(milliseconds=10 * step))
        await steady.set("Station1", "PartPresent", value=True, at=start + timedelta(milliseconds=70))
        (tensor,) = (await line.request()).source.tensors
        assert (tensor.name, tensor.shape) == ("x", (5, 1))
        assert tensor.values == [3.0, 4.0, 5.0, 6.0, 7.0]
        await line.answer(await line.request(), "pass")
        await wait_until(lambda: steady.get("Station1", "Done"))


async def test_a_window_with_a_gap_is_unknown_at_once_with_its_own_code(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    source = {"kind": "window", "input": "x", "tags": {"speed": f"{NODE}.Speed"}, "rate_hz": 100, "samples": 50}
    trigger = steady.trigger(1, source=source, debounce_ms=0, deadline_ms=60_000)
    trigger["write_back"] |= {
        "code": f"{NODE}.Code",
        "codes": {"ok": 0, "window-gap": 7, "window-short": 7, "default": 9},
    }
    async with line_of(configure(steady, trigger)) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert steady.get("Station1", "Verdict") == "unknown"
        assert steady.get("Station1", "Code") == 7
        assert not line.requests()


async def test_a_condition_on_another_tag_holds_triggers_back(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    trigger = steady.trigger(1, only_if=[{"node": f"{NODE}.Mode", "equals": 2}], debounce_ms=0)
    async with line_of(configure(steady, trigger)) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        await wait_until(lambda: line.metric("triggers_total", trigger="station-1", kind="condition"))
        await steady.leave("Station1")
        await steady.set("Station1", "Mode", 2)
        await steady.part("Station1", "P-2")
        assert (await line.request()).context.part_id == "P-2"
        assert len(line.requests()) == 1


async def test_a_tag_that_changed_since_is_sampled_as_it_was_at_the_trigger(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    async with line_of(configure(steady)) as line:
        await line.ready()
        now = datetime.now(UTC)
        await steady.set("Station1", "PartId", "P-1", at=now + timedelta(milliseconds=10))
        await steady.set("Station1", "Speed", 1.0, at=now + timedelta(milliseconds=10))
        await steady.set("Station1", "Speed", 2.0, at=now + timedelta(milliseconds=30))
        await steady.set("Station1", "PartPresent", value=True, at=now + timedelta(milliseconds=20))
        request = await line.request()
        assert (request.context.part_id, request.context.tags) == ("P-1", {"speed": 1.0})
        assert line.metric("samples_total", trigger="station-1", kind="in_force") == 1
        assert line.metric("samples_total", trigger="station-1", kind="read") == 1
        await line.answer(request)
        await wait_until(lambda: steady.get("Station1", "Done"))


async def test_triggers_closer_than_the_least_interval_are_counted(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    when = {"kind": "counter", "node": f"{NODE}.Counter"}
    trigger = steady.trigger(1, when=when, debounce_ms=0, min_interval_ms=60_000)
    async with line_of(configure(steady, trigger)) as line:
        await line.ready()
        await steady.set("Station1", "Counter", 1)
        await line.request()
        await steady.set("Station1", "Counter", 2)
        await wait_until(lambda: line.metric("triggers_total", trigger="station-1", kind="too_soon"))
        assert len(line.requests()) == 1
