"""The opcua-bridge's process killed, stopped, run twice and flooded at the worst moment; its PLC is a process too."""

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from lineside.bus.mqtt import MqttBus
from lineside.connections import Connection
from lineside.contract import REQUEST_TOPIC, RESULT_TOPIC, Request, Result, parse_request, to_json, utc_now, uuid7
from lineside.settings import BusSettings
from lineside_bench.processes.process import clean_environment
from tests.support import waiting
from tests.support.fault_proxy import FaultProxy
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.waiting import HANG_S

URI = "urn:lineside:test"
WRITE_REQUEST = 673
"""The id of OPC UA's WriteRequest in binary encoding (OPC 10000-6, NodeIds)."""


until = partial(waiting.until, despite=(OSError, httpx.HTTPError))
"""Wait for what a process says that may not listen yet."""


class WriteProxy(FaultProxy):
    """A proxy to the PLC that recognises write requests, and can discard everything from one of them on."""

    def __init__(self, port: int) -> None:
        super().__init__(port, listens_on=free_port())
        self.held = asyncio.Event()
        self._hold: tuple[int, bool] | None = None
        self._writes = 0

    def hold(self, at: int, *, arrives: bool) -> None:
        """Discard everything from write number `at` from now on, or, where it arrives, from its answer on."""
        self._writes = 0
        self._hold = at, arrives
        self.held.clear()

    def let_go(self) -> None:
        self._hold = None
        self.held.clear()

    async def _piece(self, source: asyncio.StreamReader, *, is_reply: bool) -> bytes:
        """Return one message of the client's, as its header gives its size, or what there is of the server's."""
        if is_reply:
            return await super()._piece(source, is_reply=True)
        try:
            header = await source.readexactly(8)
            return header + await source.readexactly(int.from_bytes(header[4:8], "little") - 8)
        except asyncio.IncompleteReadError:
            return b""

    def _is_lost(self, piece: bytes, *, is_reply: bool) -> bool:
        if is_reply:
            return self.held.is_set()
        is_write = piece[:3] == b"MSG" and int.from_bytes(piece[26:28], "little") == WRITE_REQUEST
        self._writes += is_write
        was_held = self.held.is_set()
        if self._hold and is_write and self._writes == self._hold[0]:
            self.held.set()
            return not self._hold[1]
        return was_held


class PlcProcess:
    """The PLC's process; `ask` gives it a command."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.opcua_plc", str(self.port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer()["ready"]

    def end(self) -> None:
        self.process.kill()
        self.process.wait(HANG_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        return dict(json.loads(self.process.stdout.readline()))

    async def ask(self, **command: Any) -> Any:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return (await asyncio.wait_for(asyncio.to_thread(self._answer), 3 * HANG_S))["ok"]

    async def part(self, part_id: str, station: str = "Station1") -> None:
        await self.ask(part=part_id, station=station)

    async def take(self, station: str = "Station1", *, lowers: bool = True, holds: bool = False) -> dict[str, Any]:
        return dict(await self.ask(take=station, lowers=lowers, holds=holds))

    async def rises(self) -> list[dict[str, Any]]:
        return list(await self.ask(rises=True))


class Bridge:
    """A bridge's process, seen from outside."""

    def __init__(self, rig: "Rig", name: str, **changes: Any) -> None:
        self.name = name
        self.http = free_port()
        self._rig = rig
        self._config = rig.folder / f"{name}.yaml"
        section = {"http": {"port": self.http, "drain_s": 1}} | rig.section | changes
        settings = {
            "bus": {"port": rig.mqtt, "client_id_prefix": name},
            "log": {"format": "json"},
            "opcua_bridge": section,
        }
        self._config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it and wait until it is ready and has seen its tags: a part that came before is a recovered one."""
        self.launch()
        await until(self.is_ready, f"{self.name} ready: {self.log()[-2000:]}")
        await until(self.has_seen, f"{self.name} has its tags' first values: {self.log()[-2000:]}")

    def launch(self) -> None:
        self.process = self._rig.start(self.name, "-m", "lineside_opcua_bridge", str(self._config))

    async def is_ready(self) -> bool:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"http://127.0.0.1:{self.http}/readyz", timeout=HANG_S)).status_code == 200

    async def has_seen(self) -> bool:
        return await self.count("values_total") > 0

    async def count(self, name: str, **labels: str) -> float:
        """Return the sum of the counter's series that have these labels."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{self.http}/metrics", timeout=HANG_S)).text
        found = re.findall(rf"^lineside_opcua_bridge_{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
        return sum(
            float(value) for given, value in found if all(f'{key}="{label}"' in given for key, label in labels.items())
        )

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        assert self.process.wait(HANG_S) == -signal.SIGKILL

    async def wait(self) -> int:
        assert self.process
        return await asyncio.to_thread(self.process.wait, HANG_S)

    def log(self) -> str:
        return (self._rig.folder / f"{self.name}.log").read_text(encoding="utf-8")


@dataclass
class Rig:
    """One PLC, one broker, a judge, and the bridges of a test."""

    folder: Path
    plc: PlcProcess
    requests: list[Request] = field(default_factory=list)
    silent: set[str | None] = field(default_factory=set)
    """Parts whose requests nobody answers."""

    def __post_init__(self) -> None:
        self.mqtt = free_port()
        self.proxy = WriteProxy(self.plc.port)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.section = {
            "endpoint": self.proxy.endpoint,
            "security": {"policy": "none"},
            "publishing_interval_ms": 10,
            "request_timeout_ms": 5000,
            "triggers": [self.trigger(1)],
        }
        link = Connection("bus", f"mqtt://127.0.0.1:{self.mqtt}")
        self.bus = MqttBus(BusSettings(port=self.mqtt), client="judge", connection=link)

    def trigger(self, number: int, **write_back: Any) -> dict[str, Any]:
        station = f"nsu={URI};s=Station{number}"
        return {
            "name": f"station-{number}",
            "when": {"kind": "edge", "node": f"{station}.PartPresent"},
            "station": f"station-{number}",
            "model": "surface-defect",
            "source": {"kind": "camera", "camera": f"station-{number}"},
            "deadline_ms": 20_000,
            "sample": {"part_id": f"{station}.PartId"},
            "write_back": {
                "verdict": f"{station}.Verdict",
                "request_id": f"{station}.RequestId",
                "part_id": f"{station}.VerdictPart",
                "done": f"{station}.Done",
            }
            | write_back,
        }

    def start(self, name: str, *argv: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, *argv], stdout=log, stderr=log, env=clean_environment())
        self._processes.append(process)
        return process

    def broker(self) -> None:
        self.start("broker", "-m", "lineside_bench.peers.amqtt_broker", str(self.mqtt))

    def asked(self, part_id: str) -> list[Request]:
        return [request for request in self.requests if request.context.part_id == part_id]

    @contextlib.asynccontextmanager
    async def judging(self) -> AsyncIterator[None]:
        """Answer a part's first request `fail` and all others `pass`, so that it shows whose verdict is whose."""
        subscription = self.bus.subscribe(REQUEST_TOPIC)

        async def answer() -> None:
            async for message in subscription:
                request = parse_request(message.payload)
                self.requests.append(request)
                if request.context.part_id not in self.silent:
                    await self.judge(request)
                message.ack()

        async with self.bus:
            task = asyncio.create_task(answer())
            try:
                yield
            finally:
                task.cancel()

    def verdict_of(self, request: Request) -> str:
        return "fail" if self.asked(request.context.part_id or "")[0].id == request.id else "pass"

    async def judge(self, request: Request) -> None:
        about = {"id": uuid7(), "request_id": request.id, "status": "ok", "verdict": self.verdict_of(request)}
        result = Result.model_validate(about | {"reason": "as told", "context": request.context})
        await self.bus.publish(RESULT_TOPIC, to_json(result))

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait(HANG_S)


@pytest.fixture(scope="module")
def plc() -> Iterator[PlcProcess]:
    """Start the PLC's process; it runs on from test to test."""
    started = PlcProcess()
    yield started
    started.end()


@pytest.fixture
async def rig(plc: PlcProcess, tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, plc)
    try:
        await plc.ask(reset=True)
        async with made.proxy:
            yield made
    finally:
        made.end()


def assert_one_done_each(rig: Rig, rises: list[dict[str, Any]], *parts: str) -> None:
    """Each part got one done, once, and with it the verdict, the request and the part of one request of its own."""
    assert [rise["PartId"] for rise in rises] == list(parts)
    for rise in rises:
        assert not rise["again"], "done was raised while it was up"
        by_id = {request.id: request for request in rig.asked(rise["PartId"])}
        assert rise["VerdictPart"] == rise["PartId"]
        assert rise["Verdict"] == rig.verdict_of(by_id[rise["RequestId"]])


def recovered(request: Request) -> bool:
    return getattr(request.context, "recovered", False)


async def asked(rig: Rig, part_id: str, count: int = 1) -> None:
    async def are_there() -> bool:
        return len(rig.asked(part_id)) >= count

    await until(are_there, f"{count} requests for {part_id}")


@pytest.mark.parametrize("clear_done", ["plc", "bridge"])
@pytest.mark.parametrize("done_arrives", [False, True], ids=["before done", "after done"])
async def test_killed_between_verdict_and_done_a_part_gets_one_done(
    rig: Rig, clear_done: str, *, done_arrives: bool
) -> None:
    lowers = clear_done == "plc"
    bridge = Bridge(rig, "one", triggers=[rig.trigger(1, clear_done=clear_done)])
    rig.broker()
    async with rig.judging():
        await bridge.start()
        rig.proxy.hold(2, arrives=done_arrives)  # the first write is the verdict, the second done
        await rig.plc.part("P-1")
        async with asyncio.timeout(HANG_S):
            await rig.proxy.held.wait()
        if done_arrives:

            async def is_done() -> bool:
                return bool(await rig.plc.rises())

            await until(is_done, "done")
        bridge.kill()
        assert len(await rig.plc.rises()) == done_arrives
        rig.proxy.let_go()
        await bridge.start()
        await rig.plc.take(lowers=lowers, holds=True)
        await rig.plc.part("P-2")
        await rig.plc.take(lowers=lowers)
    rises = await rig.plc.rises()
    assert_one_done_each(rig, rises, "P-1", "P-2")
    # Without done nobody can tell whose verdict stands there: the part is asked about again, and says so.
    assert [recovered(request) for request in rig.asked("P-1")] == [False] + [True] * (not done_arrives)
    assert rises[0]["RequestId"] == rig.asked("P-1")[-1].id
    assert "Traceback" not in bridge.log()


async def test_the_record_shows_a_second_done(rig: Rig) -> None:
    """Negative control: one done more, by whomever, is seen."""
    bridge = Bridge(rig, "one")
    rig.broker()
    async with rig.judging():
        await bridge.start()
        await rig.plc.part("P-1")
        await rig.plc.take()
    assert_one_done_each(rig, await rig.plc.rises(), "P-1")
    await rig.plc.ask(write="Done", value=True)
    with pytest.raises(AssertionError):
        assert_one_done_each(rig, await rig.plc.rises(), "P-1")


async def test_stopped_with_parts_that_wait_each_gets_its_verdict_then_or_after_the_next_start(rig: Rig) -> None:
    bridge = Bridge(rig, "one", triggers=[rig.trigger(1), rig.trigger(2)])
    rig.broker()
    rig.silent = {"P-1", "Q-1"}
    async with rig.judging():
        await bridge.start()
        await rig.plc.part("P-1")
        await rig.plc.part("Q-1", "Station2")
        await asked(rig, "P-1")
        await asked(rig, "Q-1")
        assert bridge.process
        bridge.process.send_signal(signal.SIGTERM)

        async def is_stopping() -> bool:
            try:
                return not await bridge.is_ready()
            except httpx.TransportError:
                return True

        await until(is_stopping, "the stop begun")
        assert bridge.process.poll() is None
        await rig.judge(rig.asked("P-1")[0])
        status = await bridge.wait()
        rises = await rig.plc.rises()
        assert [rise["PartId"] for rise in rises] == ["P-1"], "within the drain; the other part's verdict never came"
        rig.silent = set()
        await bridge.start()
        await rig.plc.take("Station2")
        await rig.plc.take("Station1")
    assert_one_done_each(rig, await rig.plc.rises(), "P-1", "Q-1")
    assert len(rig.asked("P-1")) == 1
    assert [recovered(request) for request in rig.asked("Q-1")] == [False, True]
    assert status == 0
    assert "the next start recovers them" in bridge.log()
    assert "Traceback" not in bridge.log()


async def serve_parts(rig: Rig, first: int, count: int, *, lowers: bool) -> None:
    for number in range(first, first + count):
        await rig.plc.part(f"P-{number}")
        await rig.plc.take(lowers=lowers, holds=True)


async def owns(bridge: Bridge) -> bool:
    """Return whether this bridge serves the station."""
    return await bridge.count("owner") == 1


@pytest.mark.parametrize("clear_done", ["plc", "bridge"])
async def test_of_two_bridges_at_one_station_the_later_gives_way_and_no_verdicts_mix(rig: Rig, clear_done: str) -> None:
    """Without a node for a mark: the results of what the other asked tell."""
    lowers = clear_done == "plc"
    triggers = [rig.trigger(1, clear_done=clear_done)]
    one, two = Bridge(rig, "one", triggers=triggers), Bridge(rig, "two", triggers=triggers)
    rig.broker()
    async with rig.judging():
        await one.start()
        await serve_parts(rig, 0, 2, lowers=lowers)
        assert_one_done_each(rig, await rig.plc.rises(), "P-0", "P-1")
        assert await owns(one), "negative control: alone, it is its own"
        await two.start()
        await serve_parts(rig, 2, 2, lowers=lowers)

        async def settled() -> bool:
            return await owns(one) and not await owns(two)

        await until(settled, "the later gives way")
        await serve_parts(rig, 4, 4, lowers=lowers)
    rises = await rig.plc.rises()
    dones = Counter(rise["PartId"] for rise in rises)
    assert all(1 <= dones[f"P-{number}"] <= 2 for number in (2, 3))
    assert all(dones[f"P-{number}"] == len(rig.asked(f"P-{number}")) == 1 for number in range(4, 8))
    for rise in rises:
        by_id = {request.id: request for request in rig.asked(rise["PartId"])}
        assert rise["VerdictPart"] == rise["PartId"]
        assert rise["Verdict"] == rig.verdict_of(by_id[rise["RequestId"]]), (
            "the verdict is of the request named with it"
        )


def rss_kb(process: subprocess.Popen[bytes]) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])


VALUES = 14_000
"""Values of a window's tags between the two looks at the memory."""
GROWTH_KB = 2500
"""The most that the memory may grow meanwhile: far less than what those values take."""
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the memory from /proc")


@on_linux
async def test_windows_that_nobody_takes_are_counted_and_not_kept(rig: Rig) -> None:
    source = {
        "kind": "window",
        "input": "x",
        "tags": {f"c{number}": f"nsu={URI};s=C{number}" for number in range(20)},
        "rate_hz": 100,
        "samples": 25,
    }
    trigger = {"name": "spindle", "when": {"kind": "window"}, "station": "spindle", "model": "spindle"}
    bridge = Bridge(rig, "one", triggers=[trigger | {"source": source, "deadline_ms": 200}])
    bridge.launch()
    assert bridge.process

    async def is_bound() -> bool:
        return await bridge.count("connection_state", connection="trigger spindle", state="ONLINE") == 1

    async def values(least: int) -> None:
        async def have_come() -> bool:
            return await bridge.count("values_total") >= least

        await until(have_come, f"{least} values of the window's tags")

    await until(is_bound, "the tags subscribed")
    counting = asyncio.create_task(rig.plc.ask(count=1000, every_ms=10, nodes=20))  # 2,000 values/s
    await values(4000)
    warm = rss_kb(bridge.process)
    await values(4000 + VALUES)
    grown = rss_kb(bridge.process) - warm
    await counting
    assert grown < GROWTH_KB, f"{grown} kB more after {VALUES} values"

    async def are_counted() -> bool:
        accepted, unknown = (
            await bridge.count("triggers_total"),
            await bridge.count("verdicts_total", verdict="unknown"),
        )
        return accepted - unknown - await bridge.count("unanswered_parts_total") <= 1  # superseded where we are slow

    async def are_unsent() -> bool:
        if await bridge.count("requests_total", outcome="unsent") >= 8:
            return True
        await rig.plc.ask(count=100, every_ms=10, nodes=20)  # a busy machine makes fewer windows of as many values
        return False

    await until(are_unsent, "eight windows whose requests nobody took")
    await until(are_counted, "each window counted but one under way")
    assert await bridge.count("requests_total", outcome="published") == 0

    started = utc_now()
    rig.silent = {None}
    rig.broker()
    async with rig.judging():

        async def some() -> bool:
            return len(rig.requests) >= 4

        await until(some, "windows once the broker is there")
    times = [request.time.published for request in rig.requests if request.time]
    assert all(time and time > started - timedelta(seconds=1) for time in times), "no window of before is sent late"


@on_linux
def test_the_memory_shows_values_that_are_kept() -> None:
    """Negative control: a process that keeps as many values grows by more than the bound."""
    program = (
        "import sys, time; from datetime import UTC, datetime; from lineside_opcua_bridge.samples import Sample\n"
        "now = lambda: datetime.now(UTC)\n"
        "print(flush=True); sys.stdin.readline()\n"
        f"kept = [Sample(n + 0.5, 'good', now(), now(), now(), time.monotonic()) for n in range({VALUES})]\n"
        "print(flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        before = rss_kb(process)
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert rss_kb(process) - before > GROWTH_KB
        process.stdin.write(b"\n")
