"""Both bridges on a real mosquitto whose every topic is given what nobody should send."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from lineside.bus.mqtt import MqttBus
from lineside.connections import Connection
from lineside.contract import Result, parse_request, policy_topic, reported_policy_topic, to_json, uuid7
from lineside.service import Service
from lineside_opcua_bridge.bridge import Bridge
from lineside_opcua_bridge.settings import Settings
from lineside_topic_bridge.__main__ import build
from lineside_topic_bridge.settings import Settings as TopicBridgeProcess
from tests.support.waiting import until

BOUND_S = 60
COLLECTED, ALIAS = "collected/press", "/press/present"


def values(value: Any, at: float, quality: Any = "GOOD") -> bytes:
    stamp = {"timeInSeconds": int(at), "offsetInNanos": int(at % 1 * 1e9)}
    one = {"value": value, "timestamp": stamp, "quality": quality}
    return json.dumps({"entries": [{"propertyAlias": ALIAS, "propertyValues": [one]}]}).encode()


POISON = [
    values({"booleanValue": True}, 0, ["GOOD"]),
    values({"booleanValue": True}, 0, {"x": 1}),
    values({"doubleValue": int("9" * 401)}, 0),
    values({"doubleValue": float("inf")}, 0),
    b"[" * 5000,
    b'{"schema":' + b"9" * 4301 + b"}",
    b'{"schema":"lineside/request/1","id":"' + b"\xff" * 4 + b'"}',
    b'{"enabled":[],"response":3,"request_id":{}}',
    b"",
]


@contextlib.asynccontextmanager
async def bridges(broker: Any) -> AsyncIterator[tuple[Service, Service]]:
    """Run the opcua-bridge, fed by a collector, and the topic-bridge, whose inference service is away."""
    trigger = {
        "name": "t",
        "when": {"kind": "edge", "node": f"alias={ALIAS}"},
        "debounce_ms": 0,
        "station": "s",
        "model": "m",
        "source": {"kind": "camera", "camera": "c"},
        "deadline_ms": 60_000,
    }
    section = {"triggers": [trigger], "collector": {"topics": [COLLECTED]}, "http": {"port": 1, "drain_s": 0.1}}
    ours = {"bus": broker.settings}
    floor = Service("opcua_bridge")
    link = floor.connection("bus", "", first_s=0.05, longest_s=0.2)
    bus = MqttBus(broker.settings, client="opcua-bridge", connection=link, registry=floor.registry)
    bridge = Bridge(Settings.model_validate(ours | {"opcua_bridge": section}), floor, bus)
    topic = Service("topic_bridge")
    away = {"inference_url": f"http://127.0.0.1:{broker.port + 1}", "http": {"port": 1, "drain_s": 0.1}}
    app, _http = build(TopicBridgeProcess.model_validate(ours | {"topic_bridge": away}), topic)
    async with floor.life(bridge.life()), app.router.lifespan_context(app):  # type: ignore[attr-defined]
        await until(lambda: floor.is_ready and topic.connections["bus"].is_online)
        yield floor, topic
        assert (floor.failed, topic.failed) == (None, None)


def counted(service: Service, name: str, **labels: str) -> float:
    return service.registry.get_sample_value(f"lineside_{service.name}_{name}", labels) or 0.0


async def test_no_message_on_any_topic_ends_a_bridge_or_decides_for_another(keeping_broker) -> None:
    topics = keeping_broker.settings
    everywhere = (
        COLLECTED,
        topics.request_topic,
        topics.result_topic,
        f"{topics.result_topic}/error",
        policy_topic("bench"),
        reported_policy_topic("bench"),
    )
    link = Connection("outside", "", first_s=0.05, longest_s=0.2)
    outside = MqttBus(topics, client="outside", connection=link)
    requests = aiter(outside.subscribe(topics.request_topic))
    async with outside:
        for _ in range(2):  # the second time with what the first may have left unacknowledged
            async with bridges(keeping_broker) as (floor, topic):
                for each in everywhere:
                    for payload in POISON:
                        await outside.publish(each, payload)
                now = time.time()
                await outside.publish(COLLECTED, values({"booleanValue": False}, now))
                await outside.publish(COLLECTED, values({"booleanValue": True}, now + 0.01))
                async with asyncio.timeout(BOUND_S):
                    async for message in requests:
                        message.ack()
                        if message.payload not in POISON:
                            break
                request = parse_request(message.payload)
                forged = {"id": uuid7(), "request_id": request.id, "status": "ok", "verdict": "pass", "reason": "!"}
                for about in ({"station": "other"}, request.context):
                    result = Result.model_validate(forged | {"context": about})
                    await outside.publish(topics.result_topic, to_json(result))
                await until(lambda floor=floor: counted(floor, "results_total", kind="matched") == 1)
                assert counted(floor, "results_total", kind="mismatched") == 1
                await until(
                    lambda topic=topic: topic.registry.get_sample_value(
                        "lineside_topic_bridge_errors_total", {"code": "not-json"}
                    )
                )
                for service in (floor, topic):
                    for each in everywhere:
                        assert counted(service, "bus_failed_messages_total", topic=each) == 0
