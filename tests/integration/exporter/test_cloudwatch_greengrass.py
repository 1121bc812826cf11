"""The component's topic on a real broker: what it would read there, and what it tells back."""

import asyncio
import json
from typing import Any

import pytest

from lineside.bus.mqtt import MqttBus
from lineside.connections import Connection
from lineside_exporter.cloudwatch.settings import GreengrassSettings
from tests.support.cloudwatch_rig import TOPIC, running, thing_of
from tests.support.mqtt_broker import Broker
from tests.support.result_messages import message
from tests.support.waiting import until

SETTINGS = GreengrassSettings(namespace="Test/Greengrass")


class Component:
    """Who listens where the component does."""

    def __init__(self, broker: Broker) -> None:
        self.link = Connection("bus", "broker", first_s=0.01, longest_s=0.1)
        self.bus = MqttBus(broker.settings, client="component", connection=self.link)
        self.heard: list[dict[str, Any]] = []
        self._topic = self.bus.subscribe(SETTINGS.topic)

    async def listen(self) -> None:
        async for each in self._topic:
            self.heard.append(json.loads(each.payload)["request"])
            each.ack()

    def figures(self, station: str = "station-1") -> dict[str, float]:
        return {
            request["metricData"]["metricName"]: request["metricData"]["value"]
            for request in self.heard
            if {"name": "Station", "value": station} in request["metricData"]["dimensions"]
        }


async def test_a_period_is_nine_figures_of_each_series(broker: Broker) -> None:
    component = Component(broker)
    async with component.bus, running(SETTINGS, broker.settings) as (rig, bus), asyncio.TaskGroup() as group:
        listening = group.create_task(component.listen())
        await until(lambda: component.link.is_online)
        for number in range(100):
            await bus.publish(TOPIC, message("fail" if number < 25 else "pass", latency=1.0 + number, confidence=0.75))
        await bus.publish(TOPIC, message("unknown", station="station-2"))
        await until(lambda: rig.value("results_total") == 101)
        rig.reporter.close_period()
        await until(lambda: rig.value("sent_results_total") == 101)
        await until(lambda: len(component.heard) == 9 + 7)
        listening.cancel()

    figures = component.figures()
    assert figures == {
        "Results": 100,
        "LatencyMean": pytest.approx(50.5),
        "LatencyP50": pytest.approx(50, rel=0.02),
        "LatencyP99": pytest.approx(99, rel=0.02),
        "LatencyMax": 100,
        "ConfidenceMean": pytest.approx(0.75),
        "DefectRate": 0.25,
        "UnknownRate": 0,
        "ErrorRate": 0,
    }
    assert component.figures("station-2")["UnknownRate"] == 1
    first = component.heard[0]
    assert first["namespace"] == "Test/Greengrass"
    assert first["metricData"]["dimensions"] == [
        {"name": "Thing", "value": thing_of("Test/Greengrass")},
        {"name": "Station", "value": "station-1"},
        {"name": "Model", "value": "surface-defect"},
    ]
    assert first["metricData"]["timestamp"] == int(rig.wall.timestamp())
    assert {each["metricData"]["metricName"]: each["metricData"]["unit"] for each in component.heard} == {
        "Results": "Count",
        "LatencyMean": "Milliseconds",
        "LatencyP50": "Milliseconds",
        "LatencyP99": "Milliseconds",
        "LatencyMax": "Milliseconds",
        "ConfidenceMean": "None",
        "DefectRate": "None",
        "UnknownRate": "None",
        "ErrorRate": "None",
    }


async def test_a_broker_that_is_away_keeps_the_period(broker: Broker) -> None:
    component = Component(broker)
    impatient = SETTINGS.model_copy(update={"timeout_s": 0.5})
    async with component.bus, running(impatient, broker.settings) as (rig, _bus), asyncio.TaskGroup() as group:
        listening = group.create_task(component.listen())
        await until(lambda: component.link.is_online)
        broker.kill()
        rig.reporter.take(message("fail", confidence=0.5))
        rig.reporter.close_period()
        await until(lambda: rig.value("calls_total", outcome="failed") >= 1)
        assert rig.value("waiting_periods") == 1
        broker.start()
        await until(lambda: rig.value("sent_results_total") == 1)
        await until(lambda: len({each["metricData"]["metricName"] for each in component.heard}) == 9)
        listening.cancel()

    assert rig.value("waiting_periods") == 0


@pytest.mark.parametrize(
    ("told", "refused"),
    [
        ({"response": {"cloudwatch_rid": "1", "namespace": "Test", "status": "success"}}, 0),
        ({"response": {"namespace": "Test", "status": "fail", "error": "InvalidInputException"}}, 1),
        ([1], 1),
    ],
    ids=["taken", "refused", "no-status"],
)
async def test_what_the_component_tells_is_counted(broker: Broker, told: Any, refused: int) -> None:
    async with running(SETTINGS, broker.settings) as (rig, bus):
        await bus.publish(f"{SETTINGS.topic}/status", json.dumps(told).encode())
        await bus.publish(f"{SETTINGS.topic}/status", b'{"response": {"status": "fail"}}')  # the last one
        await until(lambda: rig.value("calls_total", outcome="refused") == refused + 1)
