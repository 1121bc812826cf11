"""The clock an hour back and a year ahead, in the middle of everything: nothing lost, twice, late or out of order.

Once with real processes, whose wall clock libfaketime sets while they run, and with clocks that a test sets.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from lineside.spool import Spool, SpoolSettings
from lineside.spool.store.clock import Clock as SpoolClock
from lineside_bench.processes.process import clean_environment
from lineside_forwarder.errors import DestinationAway
from lineside_inference.capture.capture_request import CaptureUnreadable, parse
from tests.support import forwarding as forwarding_scene
from tests.support.forwarding import Scripted, Simulated, forwarding
from tests.support.ports import free_port
from tests.support.spooling import HOUR_MS, Box, drain, entry, fill, seal_all, take
from tests.support.waiting import HANG_S, block_until, until

PRODUCER = str(Path(__file__).with_name("spool_clock.py"))
LIBRARY = next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
YEAR_MS = 365 * 24 * HOUR_MS
JUMPS = {"back": -HOUR_MS, "ahead": YEAR_MS}
TRUSTING = """
from lineside.spool.store.clock import Clock
Clock.is_trusted = lambda self: True
from lineside_forwarder.__main__ import main
main()
"""


class Line:
    """A producer and a forwarder, real processes, under a clock that is set from outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[bytes]] = []
        self.stop = folder / "stop"
        self.set("+0")
        self.out = folder / "out"
        self.out.mkdir()
        port = free_port()
        settings = {
            "thing": "box",
            "spool": {"folder": str(folder / "spool")},
            "edge_manager": {"CaptureDataPushPeriodSeconds": 1, "CaptureDataBatchSize": 20},
            "forwarder": {
                "http": {"port": port},
                "destinations": [{"kind": "disk", "name": "out", "path": str(self.out)}],
            },
        }
        (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
        self.spool = Spool.open(SpoolSettings(folder=folder / "spool"))

    def set(self, clock: str) -> None:
        """Set the clock of all processes, at once; another file by one rename, so that none reads half of it."""
        new = self.folder / "clock.new"
        new.write_text(f"{clock}\n")
        new.rename(self.folder / "clock")

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        environment = clean_environment() | {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self.folder / "clock"),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen([sys.executable, *command], env=environment, stdout=log, stderr=log)
        self.running.append(process)
        return process

    def produce(self) -> subprocess.Popen[bytes]:
        return self.start(PRODUCER, str(self.folder), str(self.stop))

    def forward(self, *, trusting: bool = False) -> subprocess.Popen[bytes]:
        how = ("-c", TRUSTING) if trusting else ("-m", "lineside_forwarder")
        return self.start(*how, str(self.folder / "settings.yaml"))

    def acknowledged(self) -> list[list[str]]:
        """Return key and hour of each record."""
        acks = self.folder / "acks"
        return [line.split() for line in acks.read_text().splitlines()] if acks.exists() else []

    def arrived(self) -> list[list[str]]:
        """Return key and hour of each record, in the order in which the files came; the hour by the folder."""
        files = sorted(self.out.rglob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
        return [
            [json.loads(line)["eventMetadata"]["eventId"], "{}-{}-{}T{}".format(*path.parent.parts[-4:])]
            for path in files
            for line in path.read_text().splitlines()
        ]

    def until(self, true: Callable[[], object]) -> None:
        """Wait until something is true; fails at once where a process has ended by itself."""

        def log() -> str:
            return (self.folder / "log").read_text()[-3000:]

        def is_true() -> object:
            dead = [process.args for process in self.running if process.poll() not in {None, 0, -signal.SIGKILL}]
            assert not dead, log()
            return true()

        block_until(is_true, log, within=HANG_S)

    def goes_on(self) -> None:
        """Wait until what is put from now on arrives."""
        after = len(self.acknowledged()) + 5
        self.until(lambda: len(self.arrived()) > after)

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait(HANG_S)
            for left in Path("/dev/shm").glob(f"*faketime_*_{process.pid}"):
                left.unlink(missing_ok=True)
        self.spool.close()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    if LIBRARY is None:
        pytest.skip("faketime is not installed")
    made = Line(tmp_path)
    yield made
    made.close()


def test_real_processes_whose_clock_jumps(line: Line) -> None:
    line.produce()
    line.until(lambda: len(line.acknowledged()) >= 60)
    for clock in ("-1h", "+1y"):
        line.set(clock)
        more = len(line.acknowledged()) + 20
        line.until(lambda more=more: len(line.acknowledged()) >= more)
    forwarder = line.forward()  # which sweeps at once, while most of it seems a year old
    line.goes_on()
    for clock in ("-1h", "+1y", "+0"):
        line.set(clock)
        line.goes_on()
        if clock == "+1y":
            forwarder.kill()
            forwarder.wait(HANG_S)
            forwarder = line.forward()
            line.goes_on()
    line.stop.touch()
    line.until(lambda: line.spool.status().records == 0)
    forwarder.terminate()
    assert forwarder.wait(HANG_S) == 0
    assert line.arrived() == line.acknowledged(), "each once, in order, in the folder of the hour that the clock showed"
    years = {hour[:4] for _key, hour in line.arrived()}
    assert len(years) == 2, "the clock of the processes was set"
    assert line.spool.status().dropped == {}


def test_the_harness_sees_an_age_sweep_that_trusts_the_clock_of_real_processes(line: Line) -> None:
    producer = line.produce()
    line.until(lambda: len(line.acknowledged()) >= 60)
    line.stop.touch()
    assert producer.wait(HANG_S) == 0
    line.set("+1y")
    line.forward(trusting=True)
    line.until(lambda: line.spool.status().records == 0)
    assert line.arrived() != line.acknowledged()
    assert line.spool.status().dropped["age"] > 0


class Trusting(SpoolClock):
    """Believes the wall clock, whatever it does."""

    def is_trusted(self) -> bool:
        return True


def swept(folder: Path, clock: SpoolClock, box: Box, jump_ms: int) -> tuple[list[str], list[str], dict[str, int]]:
    """Put, seal and lease while the clock jumps, and sweep for hours; return what was put, what came, what was dropped.

    An hour goes by before, so that the clock is trusted, and three after.
    """
    settings = SpoolSettings.model_validate({"folder": folder, "max_age_h": 24 * 90})
    with Spool.open(settings, producer="test", clock=clock) as spool, Spool.open(settings, clock=clock) as other:
        spool.register(["out"])
        for _ in range(61):
            box.passes(60_000)
            spool.sweep()
        put = fill(spool, 10, kept="sampled", hour="02")
        seal_all(spool, max_records=5)
        lease = take(spool, "out")
        box.wall += jump_ms
        put += fill(spool, 10, kept="sampled", start=10, hour="01" if jump_ms < 0 else "23")
        assert other.lease("out") is None, "a lease is a living process's, whatever the clock says"
        arrived = [record.key for record in spool.read(lease.batch)]
        spool.confirm(lease)
        for _ in range(180):
            box.passes(60_000)
            spool.sweep()
        put += fill(spool, 3, kept="sampled", start=20, hour="00")
        seal_all(spool)
        arrived += drain(other, "out")
        return put, arrived, spool.status().dropped


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_changes_nothing_in_the_spool(tmp_path: Path, jump: str) -> None:
    box = Box()
    put, arrived, dropped = swept(tmp_path / "spool", box.clock(), box, JUMPS[jump])
    assert arrived == put
    assert dropped == {}


def test_the_harness_sees_an_age_sweep_that_trusts_the_clock(tmp_path: Path) -> None:
    box = Box()
    clock = Trusting(lambda: box.wall, lambda: box.boot)
    put, arrived, dropped = swept(tmp_path / "spool", clock, box, YEAR_MS)
    assert arrived == [*put[:5], *put[10:]], "all that waited is lost; what was put by the new clock is not"
    assert dropped == {"age": 5}


class Jumping(Simulated):
    """Simulated time whose wall clock jumps."""

    jump = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.jump


@pytest.mark.parametrize("jump", JUMPS)
async def test_waits_go_on_in_real_time(tmp_path: Path, jump: str) -> None:
    """The push period and the waits after a failure are by the clock that never jumps."""

    async def delivered(ms: int) -> tuple[list[str], list[float]]:
        clock = Jumping()
        tries = iter(range(100))

        def answer(_upload: Any) -> None:
            clock.jump = timedelta(milliseconds=ms) * (next(tries) % 2)
            if next(tries) < 6:
                raise DestinationAway("away")

        destination = Scripted(answer=answer, clock=clock)
        folder = tmp_path / f"spool{ms}"
        with forwarding_scene.opened(folder) as spool:
            for number in range(25):
                spool.put(forwarding_scene.entry(f"k-{number:03}"))
            async with forwarding(folder, destination, clock=clock, push_period_s=4):
                await until(lambda: spool.status().records == 0)
        return destination.captures(), destination.begun_at

    arrived, begun_at = await delivered(JUMPS[jump])
    assert arrived == [f"k-{number:03}" for number in range(25)]
    assert len(begun_at) > 3, "it failed first"
    assert max(begun_at) < HOUR_MS / 1000, "of simulated time"


def test_a_capture_is_judged_by_the_boxs_clock_alone() -> None:
    """A client's time is refused where it is later than the box's; one without a time never is, whatever the clock."""
    now = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
    body = {"capture_id": "a", "model": "m"}
    stamped = json.dumps(body | {"inference_timestamp": now.isoformat()}).encode()
    for jump in JUMPS.values():
        parse(json.dumps(body).encode(), now + timedelta(milliseconds=jump))
    parse(stamped, now + timedelta(milliseconds=JUMPS["ahead"]))
    with pytest.raises(CaptureUnreadable) as refused:
        parse(stamped, now + timedelta(milliseconds=JUMPS["back"]))
    assert refused.value.code == "capture-in-future"


def test_evidence_of_any_time_is_kept_in_order(tmp_path: Path) -> None:
    """A folder of a year ahead between those of today stays one batch for itself, in its place."""
    with Spool.open(SpoolSettings(folder=tmp_path / "spool"), producer="test") as spool:
        spool.register(["out"])
        hours = ["02", "01", "23", "02", "02", "01"]
        put = [f"k{number}" for number in range(len(hours))]
        for key, hour in zip(put, hours, strict=True):
            spool.put(entry(key, hour=hour))
        assert seal_all(spool) == 5
        assert drain(spool, "out") == put
