"""Tags of a real server in its own process: expected = received + reported as lost, by the numbers that they count.

Every counter goes up by one a round, so that a gap in what a station gets is what was lost, and each gap must have been
reported at its place: by a doubt, by the overflow mark, or by a binding that is not whole.
"""

import asyncio
import contextlib
import json
import math
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from prometheus_client import CollectorRegistry

from lineside.connections import Connection
from lineside_opcua_bridge.link import rates, subscriptions
from lineside_opcua_bridge.link.metrics import LinkMetrics
from lineside_opcua_bridge.link.session import CallFailed, Session
from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.security.store import CertificateStore
from lineside_opcua_bridge.settings import OpcuaBridgeSettings, TriggerSettings
from lineside_opcua_bridge.supervisor import PlcSupervisor
from tests.support.paths import ROOT
from tests.support.waiting import HANG_S

URI = "urn:lineside:test"
BROKEN = "the line of values is broken here"


class Program:
    """A server in its own process, commanded by lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, *argv: str) -> "Program":
        program = cls(
            await asyncio.create_subprocess_exec(
                *argv,
                cwd=ROOT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        )
        assert (await program._answer()).get("ready")
        return program

    async def tell(self, **command: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        return (await self._answer())["ok"]

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(HANG_S):
            while not (line := await self._process.stdout.readline()).startswith(b"{"):
                assert line, "the server has ended"  # anything else is a log line of its own
            return json.loads(line)

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


class Programs:
    """The servers of one test."""

    def __init__(self) -> None:
        self._all: list[Program] = []

    async def plc(self, port: int, **options: Any) -> Program:
        command = (sys.executable, "-m", "tests.support.plc_process", str(port))
        return await self._keep(Program.start(*command, json.dumps(options)))

    async def node_opcua(self, folder: Path, **options: Any) -> Program:
        return await self._keep(Program.start("node", str(folder / "server.mjs"), json.dumps(options)))

    async def _keep(self, starting: Any) -> Program:
        self._all.append(await starting)
        return self._all[-1]

    async def end(self) -> None:
        await asyncio.gather(*(program.end() for program in self._all))


@pytest.fixture
async def programs() -> AsyncIterator[Programs]:
    started = Programs()
    yield started
    await started.end()


class Recorder:
    """In a station's place: writes down all that it is told, by role."""

    def __init__(self, settings: TriggerSettings) -> None:
        self.settings = settings
        self.name = settings.name
        self.bindings: list[bool] = []
        self.lines: dict[str, list[Any]] = defaultdict(list)
        self.settled_s = 0.0
        self._binding: Binding | None = None

    def attach(self, binding: Binding, *, continuous: bool) -> None:
        self._binding = binding
        self.bindings.append(continuous)
        if not continuous:
            self._break(None)

    def detach(self) -> None:
        self._binding = None

    def set_notification_delay(self, seconds: float) -> None:
        self.settled_s = seconds

    def receive(self, binding: Binding, role: str, sample: Sample) -> None:
        assert binding is self._binding, "a value of a session that is gone"
        if sample.overflow:
            self._break(role)
        self.lines[role].append(sample)

    def mark_gap(self, role: str | None) -> None:
        self._break(role)

    def _break(self, role: str | None) -> None:
        for each in [role] if role else list(self.lines):
            self.lines[each].append(BROKEN)

    def values(self, role: str) -> list[Any]:
        return [entry.value for entry in self.lines[role] if isinstance(entry, Sample)]

    def account(self, role: str) -> tuple[int, int, int]:
        """Return how many values arrived, were reported as lost, and are missing without a report."""
        received = reported = silent = 0
        last, broken = -1, False
        for entry in self.lines[role]:
            if entry is BROKEN:
                broken = True
            elif entry.value == last and broken:
                broken = False  # read again after an outage
            else:
                missing = entry.value - last - 1
                assert missing >= 0, f"{entry.value} came after {last}"
                reported += missing if broken else 0
                silent += 0 if broken else missing
                received, last, broken = received + 1, entry.value, False
        return received, reported, silent


class Link:
    """The bridge's side of the PLC, with recorders for stations."""

    def __init__(self, endpoint: str, *triggers: dict[str, Any], **changes: Any) -> None:
        self.settings = OpcuaBridgeSettings.model_validate(
            {
                "endpoint": endpoint,
                "security": {"policy": "none"},
                "publishing_interval_ms": 10,
                "keepalive_ms": 500,
                "request_timeout_ms": 5000,
                "triggers": triggers,
            }
            | changes
        )
        self.registry = CollectorRegistry()
        self.task: asyncio.Task[None] | None = None
        self.failed: list[str] = []
        self.link = Connection("opcua", endpoint)
        self.stations = [Recorder(trigger) for trigger in self.settings.triggers]
        self.links = [Connection(station.name, "", first_s=0.1) for station in self.stations]
        self.plc = PlcSupervisor(
            self.settings,
            "test",
            self.link,
            list(zip(self.stations, self.links, strict=True)),  # type: ignore[arg-type]
            metrics=LinkMetrics(self.registry),
            fail=self.failed.append,
        )

    @property
    def is_online(self) -> bool:
        assert not (self.task and self.task.done()), self.task.exception()
        return all(link.is_online for link in [self.link, *self.links])

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"lineside_opcua_bridge_{name}", labels) or 0.0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Link"]:
        self.task = asyncio.create_task(self.plc.run())
        try:
            yield self
        finally:
            assert not self.task.done(), self.task.exception()
            self.task.cancel()
            await asyncio.wait([self.task])


def window(name: str, first: int, count: int, *, uri: str = URI, rate_hz: float = 10) -> dict[str, Any]:
    """A trigger that watches `count` counters."""
    tags = {f"c{number}": f"nsu={uri};s=C{number}" for number in range(first, first + count)}
    return {
        "name": name,
        "when": {"kind": "period", "every_ms": 3_600_000},
        "station": name,
        "model": "wear",
        "source": {"kind": "window", "input": "x", "tags": tags, "rate_hz": rate_hz, "samples": 8},
    }


def all_at(station: Recorder, number: int) -> Callable[[], bool]:
    roles = [role for role in station.settings.tags() if role.startswith("window.")]
    return lambda: all(station.lines[role] and station.values(role)[-1:] == [number] for role in roles)


async def test_5000_tags_arrive_whole_in_subscriptions_of_bearable_size(
    programs: Any, port: int, wait_until: Any
) -> None:
    server = await programs.plc(port, counters=5000)
    triggers = [window(f"window-{number}", 250 * number, 250) for number in range(20)]
    async with Link(f"opc.tcp://127.0.0.1:{port}", *triggers).running() as link:
        await wait_until(lambda: link.is_online, within=60)
        assert link.metric("monitored_items") == 5000
        assert link.metric("subscriptions") == 6
        last = await server.tell(count=6, every_ms=250)
        for station in link.stations:
            await wait_until(all_at(station, last), within=60)
            for role, line in station.lines.items():
                assert BROKEN not in line
                assert station.values(role) == list(range(last + 1))
        assert link.metric("lost_messages_total") == 0
        assert link.metric("short_queues") == 0


async def test_what_a_short_queue_drops_is_reported_where_it_is_missing(
    programs: Any, port: int, wait_until: Any
) -> None:
    server = await programs.plc(port, counters=3)
    async with Link(f"opc.tcp://127.0.0.1:{port}", window("window", 0, 3)).running() as link:
        await wait_until(lambda: link.is_online)
        (station,) = link.stations
        last = await server.tell(count=2000)  # far more than the queue holds in a publishing interval
        await wait_until(all_at(station, last))
        for role in station.settings.tags():
            received, reported, silent = station.account(role)
            assert reported > 0
            assert silent == 0
            assert received + reported == last + 1
        assert link.metric("server_overflow_total", trigger="window") >= 3


async def cut(link: Link, proxy: Any, server: Program, wait_until: Any, *, count: int, every_ms: float) -> int:
    """Cut the link while the tags go on, and mend it; return the last number that was counted."""
    (station,) = link.stations
    await wait_until(lambda: link.is_online)
    counting = asyncio.create_task(server.tell(count=count, every_ms=every_ms))
    await wait_until(lambda: len(station.lines["window.c0"]) > 2)
    await proxy.down()
    await wait_until(lambda: not link.link.is_online)
    last = await counting
    await proxy.up()
    await wait_until(lambda: link.is_online, within=30)
    last = await server.tell(count=3, every_ms=50)
    await wait_until(all_at(station, last), within=30)
    return int(last)


async def test_a_short_cut_loses_nothing_and_breaks_no_line(
    programs: Any, port: int, proxy_to: Any, wait_until: Any
) -> None:
    server = await programs.plc(port, counters=20)
    proxy = await proxy_to(port)
    async with Link(proxy.endpoint, window("window", 0, 20)).running() as link:
        last = await cut(link, proxy, server, wait_until, count=20, every_ms=30)
        (station,) = link.stations
        assert link.metric("sessions_total", how="resumed") >= 1
        assert link.metric("sessions_total", how="new") == 1
        assert link.metric("messages_total", kind="repeated") >= 1
        assert station.bindings == [False] + [True] * (len(station.bindings) - 1)
        for role in station.settings.tags():
            assert BROKEN not in station.lines[role]
            assert station.values(role) == list(range(last + 1))


async def test_a_secured_link_goes_on_after_a_short_cut_and_not_with_a_certificate_that_is_trusted_no_more(
    programs: Any, port: int, proxy_to: Any, wait_until: Any, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "plc.pem", tmp_path / "plc.der"
    await setup_self_signed_certificate(
        key, certificate, "urn:test:plc", "127.0.0.1", [ExtendedKeyUsageOID.SERVER_AUTH], {}
    )
    server = await programs.plc(port, counters=5, certificate=str(certificate), key=str(key))
    store = CertificateStore(tmp_path / "pki")
    store.prepare()
    trusted = x509.load_der_x509_certificate(certificate.read_bytes())
    store.add("trusted", trusted)
    proxy = await proxy_to(port)
    security = {"pki_dir": str(tmp_path / "pki")}
    async with Link(proxy.endpoint, window("window", 0, 5), security=security).running() as link:
        last = await cut(link, proxy, server, wait_until, count=20, every_ms=30)
        (station,) = link.stations
        assert link.metric("sessions_total", how="new") == 1
        assert link.metric("sessions_total", how="resumed") >= 1
        for role in station.settings.tags():
            assert station.account(role) == (last + 1, 0, 0)
        await proxy.down()
        for file in (tmp_path / "pki" / "trusted").rglob("*.der"):
            file.unlink()
        await proxy.up()
        await wait_until(lambda: "not accepted" in link.link.detail)
        assert not link.is_online
        store.add("trusted", trusted)
        await wait_until(lambda: link.is_online, within=30)
        last = await server.tell(count=2, every_ms=20)
        await wait_until(all_at(station, last), within=30)
        for role in station.settings.tags():
            assert station.account(role)[2] == 0


async def test_without_republish_the_same_cut_loses_values_and_says_so(
    programs: Any, port: int, proxy_to: Any, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_session: Session, _subscription: int, _number: int) -> Any:
        raise CallFailed("republishing: not here", reason="BadMessageNotAvailable")

    monkeypatch.setattr(Session, "republish", refuse)
    server = await programs.plc(port, counters=20)
    proxy = await proxy_to(port)
    async with Link(proxy.endpoint, window("window", 0, 20)).running() as link:
        last = await cut(link, proxy, server, wait_until, count=20, every_ms=30)
        (station,) = link.stations
        for role in station.settings.tags():
            received, reported, silent = station.account(role)
            assert reported > 0
            assert silent == 0
            assert received + reported == last + 1
        assert link.metric("lost_messages_total") >= 1


async def test_a_cut_longer_than_the_subscription_lives_is_reported_and_all_begins_anew(
    programs: Any, port: int, proxy_to: Any, wait_until: Any
) -> None:
    server = await programs.plc(port, counters=5)
    proxy = await proxy_to(port)
    async with Link(proxy.endpoint, window("window", 0, 5), lifetime_s=1, keepalive_ms=200).running() as link:
        last = await cut(link, proxy, server, wait_until, count=80, every_ms=50)
        (station,) = link.stations
        assert link.metric("sessions_total", how="new") == 2
        assert station.bindings[-1] is False
        for role in station.settings.tags():
            received, reported, silent = station.account(role)
            assert reported > 0
            assert silent == 0
            assert received + reported == last + 1


async def test_a_restarted_server_with_other_namespace_indices_is_found_again(
    programs: Any, port: int, wait_until: Any
) -> None:
    server = await programs.plc(port, counters=20)
    async with Link(f"opc.tcp://127.0.0.1:{port}", window("window", 0, 20)).running() as link:
        (station,) = link.stations
        await wait_until(lambda: link.is_online)
        counting = asyncio.create_task(server.tell(count=1000, every_ms=10))
        await wait_until(lambda: len(station.lines["window.c0"]) > 3)
        await server.end()
        counting.cancel()
        await wait_until(lambda: not link.is_online)
        before = {role: len(line) for role, line in station.lines.items()}
        server = await programs.plc(port, counters=20, namespaces=["urn:other:1", "urn:other:2"])
        await wait_until(lambda: link.is_online, within=30)
        last = await server.tell(count=5, every_ms=30)
        await wait_until(all_at(station, last))
        assert station.bindings == [False, False]
        for role, line in station.lines.items():
            first, *rest = line[before[role] :]
            assert first is BROKEN
            assert [entry.value for entry in rest] == list(range(last + 1))


async def test_namespaces_that_change_at_run_time_have_everything_found_again(
    programs: Any, port: int, wait_until: Any
) -> None:
    server = await programs.plc(port, counters=2)
    async with Link(f"opc.tcp://127.0.0.1:{port}", window("window", 0, 2)).running() as link:
        (station,) = link.stations
        await wait_until(lambda: link.is_online)
        await server.tell(register="urn:more")
        await wait_until(lambda: station.bindings == [False, False] and link.is_online)
        last = await server.tell(count=2, every_ms=20)
        await wait_until(all_at(station, last))


async def test_a_clock_that_steps_loses_nothing(programs: Any, port: int, wait_until: Any) -> None:
    server = await programs.plc(port, counters=2)
    async with Link(f"opc.tcp://127.0.0.1:{port}", window("window", 0, 2)).running() as link:
        (station,) = link.stations
        await wait_until(lambda: link.is_online)
        for step_s in (0, 3600, -3600, 0):
            last = await server.tell(count=5, every_ms=10, step_s=step_s)
        await wait_until(all_at(station, last))
        now = datetime.now(UTC)
        for role in station.settings.tags():
            assert station.values(role) == list(range(last + 1))
            assert BROKEN not in station.lines[role]
            ahead = [entry.source - now > timedelta(minutes=30) for entry in station.lines[role][1:]]
            behind = [now - entry.source > timedelta(minutes=30) for entry in station.lines[role][1:]]
            assert ahead == [False] * 5 + [True] * 5 + [False] * 10
            assert behind == [False] * 10 + [True] * 5 + [False] * 5


async def test_events_arrive_with_their_fields_and_only_the_severe_ones(
    programs: Any, port: int, wait_until: Any
) -> None:
    server = await programs.plc(port)
    trigger = {
        "name": "event",
        "when": {"kind": "event", "min_severity": 400, "fields": {"text": "Message"}},
        "station": "event",
        "model": "wear",
        "source": {"kind": "camera", "camera": "c"},
    }
    async with Link(f"opc.tcp://127.0.0.1:{port}", trigger).running() as link:
        (station,) = link.stations
        await wait_until(lambda: link.is_online)
        await server.tell(event=3, severity=300)
        await server.tell(event=12, severity=500)
        await wait_until(lambda: len(station.lines["trigger"]) == 12)
        assert [value["text"] for value in station.values("trigger")] == [f"event {n + 1}" for n in range(12)]
        first = station.lines["trigger"][0]
        assert first.value["Severity"] == 500
        assert first.source is not None


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"verdict": "/Objects/Station1/Verdict", "done": f"nsu={URI};s=Station1.Busy"}, "two purposes"),
        ({"verdict": f"nsu={URI};s=Station1.Note", "done": "/Objects/Station1/PartPresent"}, "ask again"),
    ],
)
async def test_a_node_with_two_purposes_stops_the_start_however_it_is_spelled(
    programs: Any, port: int, wait_until: Any, tags: dict[str, str], said: str
) -> None:
    await programs.plc(port)
    common = {"model": "wear", "source": {"kind": "camera", "camera": "c"}}
    node = f"nsu={URI};s=Station1"
    edge = {"kind": "edge", "node": f"{node}.PartPresent"}
    first = {"name": "one", "station": "one", "when": edge, **common}
    first["write_back"] = {"verdict": f"{node}.Verdict", "done": f"{node}.Done"}
    second = {"name": "two", "station": "two", "when": {"kind": "period", "every_ms": 3_600_000}, **common}
    second["write_back"] = tags
    async with Link(f"opc.tcp://127.0.0.1:{port}", first, second).running() as link:
        await wait_until(lambda: link.failed)
        assert "'two'" in link.failed[0]
        assert said in link.failed[0]


async def test_nodes_that_are_missing_stop_the_start_and_all_are_named(
    programs: Any, port: int, wait_until: Any
) -> None:
    await programs.plc(port, counters=2)
    triggers = [window("good", 0, 2), window("one", 7, 1), window("two", 8, 1)]
    async with Link(f"opc.tcp://127.0.0.1:{port}", *triggers).running() as link:
        await wait_until(lambda: link.failed)
        assert "C7" in link.failed[0]
        assert "C8" in link.failed[0]


async def test_a_server_that_is_not_asyncua_goes_on_after_a_short_cut(
    programs: Any, port: int, node_opcua: Path, proxy_to: Any, wait_until: Any
) -> None:
    server = await programs.node_opcua(node_opcua, port=port, nodes=50)
    proxy = await proxy_to(port)
    trigger = window("window", 0, 50, uri="urn:lineside:node", rate_hz=50)
    async with Link(proxy.endpoint, trigger).running() as link:
        (station,) = link.stations
        await wait_until(lambda: link.is_online, within=30)
        await server.tell(rate=10)
        await wait_until(lambda: len(station.lines["window.c0"]) > 3)
        await proxy.down()
        await wait_until(lambda: not link.link.is_online)
        await proxy.up()
        await wait_until(lambda: link.is_online, within=30)
        seen = len(station.lines["window.c0"])
        await wait_until(lambda: len(station.lines["window.c0"]) > seen + 5, within=30)
        await server.tell(rate=0)
        last = int(await server.tell(get="C0"))
        await wait_until(all_at(station, last), within=30)
        # It lets go of a session whose connection breaks, and hands its subscriptions to the next one.
        assert link.metric("sessions_total", how="new") == 1
        assert link.metric("sessions_total", how="transferred") >= 1
        for role in station.settings.tags():
            assert station.account(role) == (last + 1, 0, 0)


async def test_a_server_that_is_not_asyncua_marks_what_its_queue_drops(
    programs: Any, port: int, node_opcua: Path, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "_MAX_QUEUE", 2)
    monkeypatch.setattr(subscriptions, "fits", lambda _granted: math.inf)  # nor is it asked to publish more often
    server = await programs.node_opcua(node_opcua, port=port, nodes=3)
    trigger = window("window", 0, 3, uri="urn:lineside:node", rate_hz=20)
    endpoint = f"opc.tcp://127.0.0.1:{port}"
    async with Link(endpoint, trigger, publishing_interval_ms=1000).running() as link:
        (station,) = link.stations
        await wait_until(lambda: link.is_online, within=30)
        assert link.metric("short_queues") == 3
        await server.tell(rate=10)
        await wait_until(lambda: (station.values("window.c0") or [0])[-1] > 15, within=30)
        await server.tell(rate=0)
        last = int(await server.tell(get="C0"))
        await wait_until(all_at(station, last), within=30)
        for role in station.settings.tags():
            received, reported, silent = station.account(role)
            assert reported > 0
            assert silent == 0
            assert received + reported == last + 1


async def test_a_server_that_keeps_too_few_values_is_asked_to_publish_more_often(
    programs: Any, port: int, node_opcua: Path, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "_MAX_QUEUE", 5)
    server = await programs.node_opcua(node_opcua, port=port, nodes=3)
    trigger = window("window", 0, 3, uri="urn:lineside:node", rate_hz=20)
    endpoint = f"opc.tcp://127.0.0.1:{port}"
    async with Link(endpoint, trigger, publishing_interval_ms=1000).running() as link:
        (station,) = link.stations
        await wait_until(lambda: link.is_online, within=30)
        assert link.metric("short_queues") == 0
        await server.tell(rate=10)
        await wait_until(lambda: (station.values("window.c0") or [0])[-1] > 15, within=30)
        await server.tell(rate=0)
        last = int(await server.tell(get="C0"))
        await wait_until(all_at(station, last), within=30)
        for role in station.settings.tags():
            assert station.account(role) == (last + 1, 0, 0)
