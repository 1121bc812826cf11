"""Fill a spool's disk to the last byte, again and again, and let the forwarder drain it without help.

    python -m tests.faults.spool_full_disk FOLDER cycles COUNT [no-reserve|ack-refused]
    python -m tests.faults.spool_full_disk FOLDER destination

To be run in a mount namespace of its own, as root: it mounts small disks on FOLDER/spool, and on FOLDER/out for
`destination`. A cycle: producers put until each was refused; another process takes what is left of the disk; the
producers are refused again; the forwarder starts, and the producers put once more; when all has gone the other
process frees the disk, and the space set aside must come back. In every third cycle producers and forwarder are
killed on the way. What was acknowledged stands in FOLDER/acks/<stream>; what happened is printed as JSON.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar

from lineside import telemetry
from lineside.capture import Event, Item, compose
from lineside.contract import utc_now
from lineside.spool import Entry, Spool, SpoolFull
from lineside.spool.repair.verify import verify
from lineside.spool.store.reserve import NAME, Reserve
from tests.faults import spool_rig
from tests.faults.spool_rig import Rig
from tests.support.waiting import block_until

STREAMS = ("t0", "t1")
DISK, SMALL = "10m", "1m"
BOUND_S = 300.0


until = partial(block_until, within=BOUND_S)


def mount(size: str, place: Path) -> None:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)


def entry(stream: str, number: int) -> Entry:
    """Return a record of 4 KB, every tenth with a blob of 40 KB."""
    key = f"{stream}-{number:09d}"
    event = Event(key, "fleet", "rig", stream, "1", utc_now(), {})
    data = key.encode() * (3500 if number % 10 == 0 else 240)
    return compose(event, [Item("inputs", "x", "Tensor[UINT8; 1]", data)], embed_limit=3072)


class Child:
    """A forked process that does one thing. What still runs at the end is killed: it would keep our output open."""

    running: ClassVar[list["Child"]] = []

    def __init__(self, work: Callable[[], None]) -> None:
        self.pid = os.fork()
        self.running.append(self)
        if self.pid == 0:
            status = 1
            try:
                work()
                status = 0
            except BaseException:  # noqa: BLE001 - the child ends with it
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)

    def join(self) -> None:
        status: list[int] = []

        def ended() -> bool:
            pid, found = os.waitpid(self.pid, os.WNOHANG)
            status.extend([found] if pid else [])
            return bool(pid)

        try:
            until(ended, "a process does not end")
        except AssertionError:
            self.kill()
            raise
        self.running.remove(self)
        assert not status[0], f"a process ended with {status[0]}"

    def kill(self) -> None:
        self.running.remove(self)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class Cycles:
    """The folders, and one cycle after the other."""

    def __init__(self, folder: Path, broken: str) -> None:
        self.rig = Rig(folder, 0, "")
        self.folder = folder
        self.broken = broken
        self.report: list[dict] = []

    def producers(self, more: int | None) -> list[Child]:
        """Start a process a stream; see `produce`."""
        return [Child(lambda stream=stream: self.produce(stream, more)) for stream in STREAMS]

    def produce(self, stream: str, more: int | None) -> None:
        """Put until refused, or `more` records however often they are refused."""
        while True:
            try:
                with Spool.open(self.rig.settings, producer=stream) as spool:
                    self._put(spool, stream, more)
            except SpoolFull as error:  # to open it takes some of the disk too
                self._refused(stream, error)
                if more is not None:
                    time.sleep(0.01)
                    continue
            return

    def _put(self, spool: Spool, stream: str, more: int | None) -> None:
        log = os.open(self.folder / "acks" / stream, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        number = self.rig.acknowledged(stream)
        while more is None or more > 0:
            made = entry(stream, number)
            try:
                spool.put(made)
            except SpoolFull as error:
                assert spool.find(made.key) is None, "a refused record is there"
                self._refused(stream, error)
                if self.broken != "ack-refused":
                    if more is None:
                        return
                    time.sleep(0.01)
                    continue
                more = 0
            os.write(log, f"{made.key}\n".encode())
            number += 1
            more = None if more is None else more - 1

    def _refused(self, stream: str, error: SpoolFull) -> None:
        (self.folder / f"refused-{stream}").write_text(str(error))

    def refusals(self) -> list[str]:
        """Return what the producers were told, and forget it."""
        told = []
        for path in sorted(self.folder.glob("refused-*")):
            told.append(path.read_text())
            path.unlink()
        return told

    def acknowledged(self) -> int:
        return sum(self.rig.acknowledged(stream) for stream in STREAMS)

    def arrived(self) -> int:
        return sum(1 for _path in (self.folder / "out").rglob("*.jsonl"))

    def check(self) -> None:
        """Nothing is half there: every blob has its record, every record its blobs."""
        with Spool.open(self.rig.settings, recover=False) as spool:
            found = verify(spool.folder)
        blobs = sum(1 for _path in (self.rig.settings.folder / "blobs").rglob("*.blob"))
        assert found.is_well, found.problems
        assert blobs == found.blobs, f"{blobs} blobs, {found.blobs} of records"

    def waiting(self) -> int:
        with Spool.open(self.rig.settings, recover=False) as spool:
            return spool.status().records

    def forward(self) -> None:
        asyncio.run(self._forward())

    async def _forward(self) -> None:
        await self.rig._forward(until_empty=False)

    def cycle(self, *, kills: bool) -> None:
        reserve, junk = self.rig.settings.folder / NAME, self.rig.settings.folder / "junk"
        before = self.acknowledged()
        producers = self.producers(None)
        if kills:
            until(lambda: self.acknowledged() >= before + 40, "nothing is put")
            for child in producers:
                child.kill()
            producers = self.producers(None)
        for child in producers:
            child.join()
        first = self.refusals()
        taken = self.acknowledged() - before
        Child(lambda: eat(junk)).join()
        for child in self.producers(None):
            child.join()
        second = self.refusals()
        if not kills:
            self.check()
        files = self.arrived()
        forwarder = Child(self.forward)
        producers = self.producers(3)
        try:
            if kills:
                until(lambda: self.arrived() > files + 2, "nothing arrives")
                forwarder.kill()
                forwarder = Child(self.forward)
            for child in producers:
                child.join()
            until(lambda: self.waiting() == 0, "it does not drain")
            given_up = not reserve.exists()
            junk.unlink()
            forwarder.kill()  # the sweep of a new one comes at once
            forwarder = Child(self.forward)
            until(reserve.exists, "the space set aside does not come back")
        finally:
            forwarder.kill()
        self.report.append({"refused": [*first, *second], "taken": taken, "given_up": given_up, "kills": kills})


def eat(path: Path) -> None:
    """Take what is left of a disk."""
    with path.open("wb", buffering=0) as junk, suppress(OSError):
        for size in (65536, 4096, 1):
            with suppress(OSError):
                while True:
                    junk.write(b"z" * size)


def cycles(folder: Path, count: int, broken: str) -> dict:
    mount(DISK, folder / "spool")
    if broken == "no-reserve":
        Reserve.make = lambda _self, _free: False
        Reserve.give_up = lambda _self: False
    run = Cycles(folder, broken)
    stuck = None
    try:
        for number in range(count):
            run.cycle(kills=number % 3 == 2)
    except AssertionError as error:
        stuck = str(error)
    return {"stuck": stuck, "cycles": run.report}


def destination(folder: Path) -> dict:
    """Fill the destination's disk, then give it room."""
    mount("64m", folder / "spool")
    mount(SMALL, folder / "out")
    run = Cycles(folder, "")
    for child in run.producers(200):
        child.join()
    forwarder = Child(run.forward)
    try:
        until(lambda: state(run) == "BACKOFF", "the destination does not show that it is full")
        with Spool.open(run.rig.settings, recover=False) as spool:
            detail = spool.status().destinations[0].detail
        subprocess.run(["mount", "-o", "remount,size=32m", str(folder / "out")], check=True)
        until(lambda: run.waiting() == 0, "it does not drain")
    finally:
        forwarder.kill()
    kept = folder / "kept"  # the disk goes with the namespace
    subprocess.run(["cp", "-a", str(folder / "out"), str(kept)], check=True)
    return {"detail": detail, "parts": [str(path) for path in kept.rglob(".*.part")]}


def state(run: Cycles) -> str:
    with Spool.open(run.rig.settings, recover=False) as spool:
        return next((each.state for each in spool.status().destinations), "")


def main() -> None:
    # On stderr: a process that is killed while it logs would leave half a line where the report is to stand alone.
    telemetry.configure("rig", level="warning")
    folder, what = Path(sys.argv[1]), sys.argv[2]
    spool_rig.PATIENCE_S = 2 * BOUND_S
    try:
        if what == "cycles":
            report = cycles(folder, int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "")
        else:
            report = destination(folder)
    finally:
        for child in list(Child.running):
            child.kill()
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
