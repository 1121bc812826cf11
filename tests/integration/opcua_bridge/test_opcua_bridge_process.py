"""The bridge as it is shipped: its own process, a real broker, a PLC that hangs, dies and comes back."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from asyncua import Client, ua

from lineside.bus.mqtt import MqttBus
from lineside.connections import Connection
from lineside.contract import REQUEST_TOPIC, RESULT_TOPIC, Request, Result, parse_request, to_json, uuid7
from lineside.settings import BusSettings
from lineside_bench.processes.process import clean_environment
from tests.support import waiting
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.waiting import HANG_S

URI = "urn:lineside:test"
NODE = f"nsu={URI};s=Station1"


class Processes:
    """Programs of one test, each killed at its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._all: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *argv: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *argv], stdout=log, stderr=log, cwd=ROOT, env=clean_environment()
            )
        self._all.append(process)
        return process

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8")

    def end(self) -> None:
        for process in self._all:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(HANG_S)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    started = Processes(tmp_path)
    yield started
    started.end()


until = partial(waiting.until, despite=(OSError, httpx.HTTPError))
"""Wait for what a process says that may not listen yet."""


class Rig:
    """The bridge's process with its PLC and broker, seen from outside."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.opcua, self.mqtt, self.http = free_port(), free_port(), free_port()
        self.config = processes.folder / "lineside.yaml"
        self.config.write_text(yaml.safe_dump(self._settings()), encoding="utf-8")
        self.requests: list[Request] = []
        self.bus = MqttBus(
            BusSettings(port=self.mqtt), client="test", connection=Connection("bus", f"mqtt://127.0.0.1:{self.mqtt}")
        )

    def _settings(self) -> dict[str, Any]:
        trigger = {
            "name": "station-1",
            "when": {"kind": "edge", "node": f"{NODE}.PartPresent"},
            "station": "station-1",
            "model": "surface-defect",
            "source": {"kind": "camera", "camera": "station-1"},
            "deadline_ms": 3000,
            "sample": {"part_id": f"{NODE}.PartId"},
            "write_back": {
                "verdict": f"{NODE}.Verdict",
                "confidence": f"{NODE}.Confidence",
                "request_id": f"{NODE}.RequestId",
                "done": f"{NODE}.Done",
            },
        }
        return {
            "bus": {"port": self.mqtt},
            "log": {"format": "json"},
            "opcua_bridge": {
                "http": {"port": self.http, "drain_s": 1},
                "endpoint": f"opc.tcp://127.0.0.1:{self.opcua}",
                "security": {"policy": "none"},
                "keepalive_ms": 200,
                "request_timeout_ms": 500,
                "triggers": [trigger],
            },
        }

    def plc(self) -> subprocess.Popen[bytes]:
        return self.processes.start("plc", "-m", "tests.support.plc_process", str(self.opcua))

    def broker(self) -> subprocess.Popen[bytes]:
        return self.processes.start("broker", "-m", "lineside_bench.peers.amqtt_broker", str(self.mqtt))

    def bridge(self) -> subprocess.Popen[bytes]:
        return self.processes.start("bridge", "-m", "lineside_opcua_bridge", str(self.config))

    async def readyz(self) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(f"http://127.0.0.1:{self.http}/readyz", timeout=HANG_S)

    async def is_ready(self) -> bool:
        return (await self.readyz()).status_code == 200

    async def is_waiting(self) -> bool:
        return (await self.readyz()).status_code == 503

    async def metrics(self) -> str:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"http://127.0.0.1:{self.http}/metrics", timeout=HANG_S)).text

    @contextlib.asynccontextmanager
    async def node(self) -> AsyncIterator[Callable[[str], Any]]:
        """Yield a function that gives the PLC's nodes by tag."""
        async with Client(f"opc.tcp://127.0.0.1:{self.opcua}") as client:
            index = await client.get_namespace_index(URI)
            yield lambda tag: client.get_node(ua.NodeId(f"Station1.{tag}", index))

    async def part(self, part_id: str) -> None:
        async with self.node() as node:
            for tag, value in {"PartPresent": False, "PartId": part_id, "Done": False, "Verdict": ""}.items():
                await node(tag).write_value(value)
            await node("PartPresent").write_value(ua.Variant(Value=True))

    async def verdict(self) -> tuple[str, str]:
        """Return the verdict and the request id, once done is raised."""
        async with self.node() as node:

            async def done() -> bool:
                return bool(await node("Done").read_value())

            await until(done)
            return await node("Verdict").read_value(), await node("RequestId").read_value()

    @contextlib.asynccontextmanager
    async def judging(self) -> AsyncIterator[None]:
        """Collect every request, and answer those that arrive with `pass`."""
        subscription = self.bus.subscribe(REQUEST_TOPIC)

        async def answer() -> None:
            async for message in subscription:
                request = parse_request(message.payload)
                self.requests.append(request)
                result = Result(
                    id=uuid7(),
                    request_id=request.id,
                    status="ok",
                    verdict="pass",
                    reason="good",
                    scores={"good": 0.9},
                    context=request.context,
                )
                await self.bus.publish(RESULT_TOPIC, to_json(result))
                message.ack()

        async with self.bus:
            task = asyncio.create_task(answer())
            try:
                yield
            finally:
                task.cancel()


async def test_it_starts_with_nobody_there_and_recovers_from_all(processes: Processes) -> None:
    rig = Rig(processes)
    bridge = rig.bridge()
    await until(rig.is_waiting)
    states = {link["name"]: link["state"] for link in (await rig.readyz()).json()["connections"]}
    assert set(states) == {"bus", "opcua", "trigger station-1"}
    assert "ONLINE" not in states.values()
    rig.broker()
    plc = rig.plc()
    async with rig.judging():
        await until(rig.is_ready)
        await rig.part("P-1")
        assert (await rig.verdict())[0] == "pass"
        metrics = await rig.metrics()
        assert 'lineside_opcua_bridge_verdicts_total{origin="result",trigger="station-1",verdict="pass"} 1.0' in metrics
        assert 'lineside_opcua_bridge_connection_state{connection="opcua",state="ONLINE"} 1.0' in metrics

        plc.send_signal(signal.SIGSTOP)  # it hangs: its socket stays open and says nothing
        await until(rig.is_waiting)
        plc.send_signal(signal.SIGCONT)
        await until(rig.is_ready)
        await rig.part("P-2")
        assert (await rig.verdict())[0] == "pass"

        plc.kill()
        plc.wait(HANG_S)
        await until(rig.is_waiting)
        rig.plc()
        await until(rig.is_ready)
        await rig.part("P-3")
        assert (await rig.verdict())[0] == "pass"

        bridge.kill()
        bridge.wait(HANG_S)
        await rig.part("P-4")
        bridge = rig.bridge()
        verdict, request_id = await rig.verdict()
        assert verdict == "pass"
        assert [request.id for request in rig.requests if request.context.part_id == "P-4"] == [request_id]

        bridge.terminate()
        assert bridge.wait(HANG_S) in {0, -signal.SIGTERM}  # uvicorn raises the signal again once all is stopped
        assert [request.context.part_id for request in rig.requests] == ["P-1", "P-2", "P-3", "P-4"]
    log = processes.log("bridge")
    assert "Traceback" not in log
    assert '"event": "stopped"' in log
    assert request_id in log


def test_a_wrong_setting_stops_the_start_and_is_named(processes: Processes) -> None:
    rig = Rig(processes)
    text = rig.config.read_text(encoding="utf-8")
    rig.config.write_text(text.replace(f"nsu={URI};s=Station1.Done", "ns=2;s=Station1.Done"), encoding="utf-8")
    assert rig.bridge().wait(HANG_S) == 2
    log = processes.log("bridge")
    assert "opcua_bridge.triggers.0.write_back.done" in log
    assert "nsu=<namespace URI>;s=Station1.Done" in log
    assert "Traceback" not in log


async def test_a_node_that_the_plc_does_not_have_stops_the_start_and_is_named(processes: Processes) -> None:
    rig = Rig(processes)
    text = rig.config.read_text(encoding="utf-8")
    rig.config.write_text(text.replace("Station1.Verdict", "Station1.Verdikt"), encoding="utf-8")
    rig.broker()
    bridge = rig.bridge()
    await until(rig.is_waiting)  # a PLC that is away is waited for
    assert bridge.poll() is None
    rig.plc()
    assert await asyncio.to_thread(bridge.wait, 30) == 2
    log = processes.log("bridge")
    assert "Station1.Verdikt" in log
    assert "Station1.Verdict" in log, "the nearest name"
    assert "Traceback" not in log
