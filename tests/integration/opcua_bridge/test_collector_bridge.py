"""Triggers by a collector's messages: the bridge without a session of its own, and with one for the write-back."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lineside.bus.mqtt import MqttBus
from lineside.connections import Connection
from lineside.contract import REQUEST_TOPIC, TensorsSource, parse_request
from lineside.service import Service
from lineside.settings import BusSettings
from lineside_opcua_bridge.bridge import Bridge
from tests.support.mqtt_broker import Broker, running_broker
from tests.support.waiting import HANG_S

TOPIC = "collected/press"
PRESENT, PART_ID, SPEED = "/press/station1/present", "/press/station1/part", "asset-7/prop-speed"
KINDS = {bool: "booleanValue", int: "integerValue", float: "doubleValue", str: "stringValue"}


def entry(alias: str, value: Any, at: float) -> dict[str, Any]:
    asset, _, prop = alias.partition("/")
    name = {"assetId": asset, "propertyId": prop} if asset else {"propertyAlias": alias}
    stamp = {"timeInSeconds": int(at), "offsetInNanos": int(at % 1 * 1e9)}
    return name | {"propertyValues": [{"value": {KINDS[type(value)]: value}, "timestamp": stamp, "quality": "GOOD"}]}


async def send(line: Any, *entries: dict[str, Any]) -> bytes:
    payload = json.dumps({"entries": list(entries)}).encode()
    await line.bus.publish(TOPIC, payload)
    return payload


def collected(line: Any, outcome: str) -> float:
    return line.metric("collector_values_total", outcome=outcome)


TRIGGER = {
    "name": "station-1",
    "when": {"kind": "edge", "node": f"alias={PRESENT}"},
    "debounce_ms": 0,
    "station": "station-1",
    "model": "surface-defect",
    "source": {"kind": "camera", "camera": "station-1"},
    "deadline_ms": 5000,
    "sample": {"part_id": f"alias={PART_ID}", "speed": f"alias={SPEED}"},
}
COLLECTOR = {"topics": [TOPIC]}


async def test_a_line_without_opcua_asks_for_every_part_once(plc, line_of, configure, wait_until) -> None:
    now = time.time()
    async with line_of(configure(plc, TRIGGER, collector=COLLECTOR)) as line:
        await line.ready()  # nobody listens at the endpoint: no session is wanted
        await send(line, entry(PRESENT, value=False, at=now))
        sent = await send(
            line,
            entry(PRESENT, value=True, at=now + 0.1),
            entry(PART_ID, "P-1", at=now + 0.1),
            entry(SPEED, 1200.5, at=now + 0.1),
        )
        request = await line.request()
        assert (request.context.part_id, request.context.tags) == ("P-1", {"speed": 1200.5})
        assert request.time.source is not None
        assert abs(request.time.source.timestamp() - now - 0.1) < 1e-3
        assert request.time.server is None
        await line.bus.publish(TOPIC, sent)  # at least once is not once
        await send(line, entry(PRESENT, value=False, at=now + 0.2))
        await send(line, entry(PRESENT, value=True, at=now + 0.3), entry(PART_ID, "P-2", at=now + 0.3))
        assert (await line.request(2)).context.part_id == "P-2"
        await wait_until(lambda: collected(line, "taken") == 7)
        assert (collected(line, "duplicate"), len(line.requests())) == (3, 2)


async def test_what_the_topic_showed_at_the_start_is_no_part(plc, line_of, configure, wait_until) -> None:
    now = time.time()
    async with line_of(configure(plc, TRIGGER, collector=COLLECTOR)) as line:
        await send(line, entry(PRESENT, value=True, at=now))
        await wait_until(lambda: collected(line, "taken") == 1)
        await send(line, entry(PRESENT, value=False, at=now + 0.1), entry(PRESENT, value=True, at=now + 0.2))
        await line.request()
        assert len(line.requests()) == 1


@pytest.mark.parametrize("outage", [True, False], ids=["outage", "negative control: none"])
async def test_an_edge_across_an_outage_of_the_broker_is_marked_as_recovered(
    plc, line_of, configure, wait_until, outage: bool
) -> None:
    now = time.time()
    async with line_of(configure(plc, TRIGGER, collector=COLLECTOR)) as line:
        await send(line, entry(PRESENT, value=False, at=now))
        await wait_until(lambda: collected(line, "taken") == 1)
        if outage:
            line.broker.online = False
            line.broker.online = True
        await send(line, entry(PRESENT, value=True, at=now + 1), entry(PART_ID, "P-1", at=now + 1))
        request = await line.request()
        kind = "recovered" if outage else "accepted"
        assert line.metric("triggers_total", trigger="station-1", kind=kind) == 1
        assert request.context.model_dump().get("recovered", False) is outage
        if outage:  # high before and after it: the same part still
            line.broker.online = False
            line.broker.online = True
            await send(line, entry(PRESENT, value=True, at=now + 2))
        await send(line, entry(PRESENT, value=False, at=now + 3))
        await send(line, entry(PRESENT, value=True, at=now + 4), entry(PART_ID, "P-2", at=now + 4))
        assert (await line.request(2)).context.part_id == "P-2"
        assert line.metric("triggers_total", trigger="station-1", kind="accepted") == (1 if outage else 2)


async def test_parts_that_the_broker_had_kept_are_not_asked_about(plc, line_of, configure, wait_until) -> None:
    """They are gone. The value of the tag is known from them all the same: the next edge is the next part's."""
    now = time.time()
    async with line_of(configure(plc, TRIGGER, collector=COLLECTOR)) as line:
        for second, value in ((0, True), (1, False), (2, True), (3, False)):
            await send(line, entry(PRESENT, value=value, at=now - 600 + second))
        await wait_until(lambda: collected(line, "stale") == 4)
        await send(line, entry(PRESENT, value=True, at=now), entry(PART_ID, "P-3", at=now))
        assert (await line.request()).context.part_id == "P-3"
        assert len(line.requests()) == 1


async def test_bad_messages_do_not_stop_the_line(plc, line_of, configure, wait_until) -> None:
    now = time.time()
    async with line_of(configure(plc, TRIGGER, collector=COLLECTOR)) as line:
        await send(line, entry(PRESENT, value=False, at=now))
        for payload in (b"no json", b"{}", b'{"entries":[1,null]}', b" " * 7000):
            await line.bus.publish(TOPIC, payload)
        await wait_until(lambda: line.metric("collector_messages_total", outcome="too_large") == 1)
        await send(line, entry(PRESENT, value=False, at=now + 1))
        await send(line, entry(PRESENT, value=True, at=now + 2))
        await line.request()
        assert line.metric("collector_messages_total", outcome="unreadable") == 2
        assert collected(line, "bad") == 2


async def test_a_collectors_trigger_and_a_session_for_the_write_back(plc, line_of, configure, wait_until) -> None:
    await plc.start()
    now = time.time()
    trigger = plc.trigger(1) | {"when": TRIGGER["when"], "sample": {"part_id": f"alias={PART_ID}"}}
    async with line_of(configure(plc, trigger, collector=COLLECTOR)) as line:
        await line.ready()
        await send(line, entry(PRESENT, value=False, at=now))
        await send(line, entry(PRESENT, value=True, at=now + 1), entry(PART_ID, "P-1", at=now + 1))
        request = await line.request()
        assert request.context.part_id == "P-1"
        await line.answer(request, "fail")
        await wait_until(lambda: plc.get("Station1", "Done"))
        assert plc.get("Station1", "Verdict") == "fail"

        await plc.stop()
        await wait_until(lambda: not line.service.is_ready)
        await plc.set("Station1", "Done", value=False)
        await plc.start()
        await line.ready()
        await send(line, entry(PRESENT, value=False, at=now + 2))
        await send(line, entry(PRESENT, value=True, at=now + 3), entry(PART_ID, "P-2", at=now + 3))
        request = await line.request(2)
        assert request.context.part_id == "P-2"
        await line.answer(request, "pass")
        await wait_until(lambda: plc.get("Station1", "Verdict") == "pass")


async def test_a_window_of_collected_tags_is_complete_and_asked_about(plc, line_of, configure) -> None:
    now = time.time()
    trigger = TRIGGER | {
        "when": {"kind": "window"},
        "sample": {},
        "source": {
            "kind": "window",
            "input": "window",
            "tags": {"speed": f"alias={SPEED}"},
            "rate_hz": 10,
            "samples": 4,
        },
    }
    async with line_of(configure(plc, trigger, collector=COLLECTOR)) as line:
        await line.ready()
        for number in range(12):
            await send(line, entry(SPEED, float(number), at=now + number / 10))
        request = await line.request()
        assert isinstance(request.source, TensorsSource)
        [tensor] = request.source.tensors
        assert tensor.shape == (4, 1)
        steps = [b - a for a, b in zip(tensor.values, tensor.values[1:], strict=False)]
        assert all(abs(step - 1) < 1.01 for step in steps)


@pytest.fixture
def real_broker(tmp_path: Path) -> Iterator[Broker]:
    yield from running_broker("amqtt", tmp_path)


def bus_of(broker: Broker, client: str) -> tuple[MqttBus, Connection]:
    settings = BusSettings(port=broker.port)
    link = Connection(client, settings.url, first_s=0.05, longest_s=0.2)
    return MqttBus(settings, client=client, connection=link), link


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "negative control: not killed"])
async def test_a_hole_that_a_real_broker_leaves_is_known(
    plc, configure, wait_until, real_broker: Broker, killed: bool
) -> None:
    """A tag is low before the broker dies and high after it: what came between them nobody has seen."""
    now = time.time()
    service = Service("opcua_bridge")
    own, link = bus_of(real_broker, "opcua-bridge")
    bridge = Bridge(configure(plc, TRIGGER, collector=COLLECTOR), service, own)
    outside, outside_link = bus_of(real_broker, "outside")
    requests = aiter(outside.subscribe(REQUEST_TOPIC))

    def taken() -> float:
        labels = {"outcome": "taken"}
        return service.registry.get_sample_value("lineside_opcua_bridge_collector_values_total", labels) or 0

    async def show(value: Any, at: float, alias: str = PRESENT) -> None:
        wanted = taken() + 1
        await outside.publish(TOPIC, json.dumps(entry(alias, value, now + at)).encode())
        await wait_until(lambda: taken() == wanted, within=20)

    def linked() -> Callable[[], bool]:
        return lambda: link.is_online and outside_link.is_online

    async with outside, service.life(bridge.life()):
        await wait_until(linked(), within=20)
        await show(value=False, at=0)
        if killed:
            real_broker.kill()
            await wait_until(lambda: not link.is_online and not outside_link.is_online, within=20)
            real_broker.start()
            await wait_until(linked(), within=20)
        await show("P-1", 1, PART_ID)
        await show(value=True, at=1)
        async with asyncio.timeout(HANG_S):
            message = await anext(requests)
            message.ack()
    request = parse_request(message.payload)
    assert request.context.part_id == "P-1"
    assert request.context.model_dump().get("recovered", False) is killed
