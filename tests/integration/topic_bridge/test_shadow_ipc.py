"""The topic-bridge's process as a Greengrass component, steered by a shadow: through the nucleus of either kind."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from lineside import __version__
from lineside.settings import COMPONENT_VARIABLE
from lineside_bench.greengrass.ipc_server import CLASSIC, LITE, IpcServer
from lineside_bench.processes.process import clean_environment
from lineside_topic_bridge.steering.shadow.topics import prefix
from tests.support.greengrass import COMPONENT, core_device
from tests.support.mqtt_broker import MOSQUITTO, Broker, running_broker
from tests.support.policy_service import PolicyService
from tests.support.ports import free_port
from tests.support.simulated_shadow import SimulatedShadow
from tests.support.waiting import until

THING = "bench"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    running = running_broker("mosquitto" if MOSQUITTO else "amqtt", tmp_path)
    made = next(running)
    yield made
    made.stop()
    running.close()


class CloudMessage:
    """A message for AWS IoT Core."""

    after_gap = False

    def __init__(self, topic: str, payload: bytes) -> None:
        self.topic = topic
        self.payload = payload

    def ack(self) -> None:
        pass


class Cloud:
    """AWS IoT Core as a core device reaches it: what `SimulatedShadow` needs of a bus."""

    def __init__(self, server: IpcServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._queues: dict[str, asyncio.Queue[CloudMessage]] = {}
        server.on_cloud.append(lambda topic, payload: self._loop.call_soon_threadsafe(self._take, topic, payload))

    def subscribe(self, topic: str) -> Any:
        queue = self._queues.setdefault(topic, asyncio.Queue())

        async def each() -> AsyncIterator[CloudMessage]:
            while True:
                yield await queue.get()

        return each()

    async def publish(self, topic: str, payload: bytes) -> None:
        await asyncio.to_thread(self._server.from_cloud, topic, payload)

    def _take(self, topic: str, payload: bytes) -> None:
        if topic in self._queues:
            self._queues[topic].put_nowait(CloudMessage(topic, payload))


class Bridge:
    """The process; what it says goes to a file."""

    def __init__(
        self, folder: Path, broker: Broker, server: IpcServer, inference: PolicyService, **shadow: Any
    ) -> None:
        settings = {
            "thing": THING,
            "bus": {"port": broker.port},
            "topic_bridge": {
                "http": {"port": free_port()},
                "inference_url": inference.url,
                "steering": {"shadow": shadow, "configuration": {"thresholds": {"default": 0.75}}},
            },
        }
        self.config = folder / "bridge.yaml"
        self.config.write_text(yaml.safe_dump(settings))
        self.log = folder / "bridge.log"
        self._environment = {
            **clean_environment(),
            **server.environment(COMPONENT),
            COMPONENT_VARIABLE: COMPONENT,
        }
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "lineside_topic_bridge", str(self.config), stderr=log, env=self._environment
            )

    async def stop(self) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.terminate()
        return await self.process.wait()

    def said(self) -> str:
        return self.log.read_text()[-4000:]


@contextmanager
def shadow_of(server: IpcServer) -> Iterator[tuple[Callable[[Any], None], Callable[[], dict[str, Any]]]]:
    """Return what changes the desired state of the classic nucleus' shadow, and what is reported there."""

    def desire(desired: Any) -> None:
        server.update_shadow("lineside", json.dumps({"state": {"desired": desired}}).encode())

    def reported() -> dict[str, Any]:
        shadow = server.core.shadows.get((THING, "lineside"))
        return dict(shadow.state.get("reported") or {}) if shadow else {}

    yield desire, reported


async def steered(
    bridge: Bridge, inference: PolicyService, desire: Any, reported: Callable[[], dict[str, Any]]
) -> None:
    """Edit the shadow, rightly and wrongly, and see what the inference service has and what is reported."""

    async def edit(desired: Any) -> None:
        done = desire(desired)
        if asyncio.iscoroutine(done):
            await done

    def says(**wanted: Any) -> Callable[[], bool]:
        return lambda: {name: reported().get(name) for name in wanted} == wanted

    why = lambda: f"{reported()} {inference.policy!r} {bridge.said()}"  # noqa: E731 - in a failure only
    await until(lambda: json.loads(inference.policy).get("thresholds") == {"default": 0.75}, why)
    await edit({"thresholds": {"scratch": 0.6}})
    await until(says(thresholds={"default": 0.75, "scratch": 0.6}, errors=[]), why)
    assert json.loads(inference.policy)["thresholds"] == {"default": 0.75, "scratch": 0.6}
    await edit({"enabled": False})
    await until(says(enabled=False), why)
    assert json.loads(inference.policy)["enabled"] is False
    before = list(inference.puts)
    await edit({"enabled": "true", "thresholds": {"scratch": "high"}})
    await until(lambda: len(reported().get("errors", ())) == 2, why)
    assert says(enabled=False, thresholds={"default": 0.75, "scratch": 0.6})()
    assert inference.puts == before
    await edit({"enabled": True, "thresholds": {"scratch": 0.7}})
    await until(says(enabled=True, thresholds={"default": 0.75, "scratch": 0.7}, errors=[]), why)
    assert json.loads(inference.policy)["thresholds"]["scratch"] == 0.7
    await until(lambda: reported().get("health", {}).get("ready") is True, why)
    assert reported()["components"] == {"inference": "0.1.0", "topic_bridge": __version__}
    assert len(reported()["settings_hash"]["topic_bridge"]) == 32


async def test_a_shadow_of_the_classic_nucleus_steers(tmp_path: Path, broker: Broker) -> None:
    inference = PolicyService(says_defaults=True)
    await inference.start()
    with core_device(CLASSIC) as server, shadow_of(server) as (desire, reported):
        bridge = Bridge(tmp_path, broker, server, inference, by="ipc")
        await bridge.start()
        try:
            await steered(bridge, inference, desire, reported)
            assert await bridge.stop() == 0
            desire({"enabled": False})
            await bridge.start()
            await until(lambda: reported()["enabled"] is False, bridge.said)
            server.drop()
            assert bridge.process is not None
            await until(lambda: bridge.process is not None and bridge.process.returncode == 1, bridge.said)
        finally:
            await bridge.stop()
            await inference.stop()


async def test_a_shadow_steers_through_the_lite_nucleus(tmp_path: Path, broker: Broker) -> None:
    inference = PolicyService(says_defaults=True)
    await inference.start()
    with core_device(LITE) as server:
        shadow = SimulatedShadow(Cloud(server), THING)  # type: ignore[arg-type]  # all that it uses of a bus
        answering = asyncio.create_task(shadow.run())
        bridge = Bridge(tmp_path, broker, server, inference, by="iot-core")
        await bridge.start()
        try:
            await steered(bridge, inference, shadow.desire, lambda: shadow.reported)
        finally:
            await bridge.stop()
            answering.cancel()
            await inference.stop()


async def test_what_the_recipe_does_not_allow_is_said_with_what_to_add(tmp_path: Path, broker: Broker) -> None:
    inference = PolicyService(says_defaults=True)
    await inference.start()
    with core_device(CLASSIC) as server:
        server.core.components[COMPONENT].configuration.clear()
        bridge = Bridge(tmp_path, broker, server, inference, by="ipc", wait_s=0)
        await bridge.start()
        try:
            await until(lambda: "aws.greengrass#SubscribeToTopic" in bridge.said(), bridge.said)
            assert prefix(THING, "lineside") in bridge.said()
            # The other sources steer all the same.
            await until(lambda: json.loads(inference.policy).get("thresholds") == {"default": 0.75}, bridge.said)
        finally:
            await bridge.stop()
            await inference.stop()


async def test_the_lite_nucleus_has_no_shadow_service_and_it_is_said_what_to_do(tmp_path: Path, broker: Broker) -> None:
    inference = PolicyService(says_defaults=True)
    await inference.start()
    with core_device(LITE) as server:
        bridge = Bridge(tmp_path, broker, server, inference, by="ipc", wait_s=0)
        await bridge.start()
        try:
            await until(lambda: "set topic_bridge.steering.shadow.by to iot-core" in bridge.said(), bridge.said)
        finally:
            await bridge.stop()
            await inference.stop()


async def test_outside_greengrass_the_start_is_refused_with_the_reason(tmp_path: Path, broker: Broker) -> None:
    inference = PolicyService()
    with core_device(CLASSIC) as server:
        bridge = Bridge(tmp_path, broker, server, inference, by="ipc")
        bridge._environment = {name: value for name, value in clean_environment().items() if name in os.environ}
        await bridge.start()
        assert bridge.process is not None
        assert await bridge.process.wait() == 2
    assert "topic_bridge.steering.shadow.by: ipc needs a process that Greengrass started" in bridge.said()
