"""Kill a producer and a forwarder of one spool with SIGKILL, again and again, at random moments; then let them finish.

    spool_rig.py FOLDER --kills 300 --records 20000 [--seed 1] [--broken ack-early|confirm-early|new-names]

It imports all it needs once and forks, so that a life begins within milliseconds. What was acknowledged stands in
FOLDER/acks/<stream>, a key a line, written after `put` returned. `--broken` breaks the promise on purpose, so that a
test can show that the harness sees it. Prints a summary as JSON.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from prometheus_client import CollectorRegistry

from lineside import telemetry
from lineside.capture import Event, Item, compose
from lineside.connections import Connection
from lineside.contract import utc_now, uuid7
from lineside.spool import Spool, SpoolSettings, Status
from lineside_forwarder.clock import Clock
from lineside_forwarder.delivering import DeliveryPolicy
from lineside_forwarder.destination import BatchUpload, BlobSource
from lineside_forwarder.disk import DiskDestination
from lineside_forwarder.forwarder import Forwarder, Route
from lineside_forwarder.metrics import Metrics, SpoolCollector
from lineside_forwarder.rate_limiter import RateLimiter

THREADS = 4
BATCH = 50
BLOB_EVERY = 5
LONGEST_S, LONGEST_WAIT_S = 0.05, 0.5
PATIENCE_S = 1800.0


class Rig:
    """The folders, and what a child does with them."""

    def __init__(self, folder: Path, records: int, broken: str) -> None:
        self.folder = folder
        self.each = records // THREADS
        self.broken = broken
        self.begun = lambda: None
        self.settings = SpoolSettings(folder=folder / "spool", reserve_bytes=256 * 1024)
        (folder / "acks").mkdir(parents=True, exist_ok=True)
        (folder / "out").mkdir(exist_ok=True)

    def acknowledged(self, stream: str) -> int:
        """Return how many puts of a stream were acknowledged."""
        try:
            return (self.folder / "acks" / stream).read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0

    def is_written(self) -> bool:
        return all(self.acknowledged(f"t{number}") >= self.each for number in range(THREADS))

    def write(self) -> None:
        """Go on where the acknowledgements end, one thread a stream, until all is written."""
        with Spool.open(self.settings, producer="rig") as spool:
            threads = [threading.Thread(target=self._stream, args=(spool, f"t{n}")) for n in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _stream(self, spool: Spool, stream: str) -> None:
        number = self.acknowledged(stream)
        log = os.open(self.folder / "acks" / stream, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        while number < self.each:
            key = f"{stream}-{number:09d}"
            if self.broken == "ack-early":
                os.write(log, f"{key}\n".encode())
            event = Event(key, "fleet", "rig", stream, "1", utc_now(), {})
            data = key.encode() * (400 if number % BLOB_EVERY == 0 else 20)
            spool.put(compose(event, [Item("inputs", "x", "Tensor[UINT8; 1]", data)], embed_limit=3072))
            if self.broken != "ack-early":
                os.write(log, f"{key}\n".encode())
            self.begun()
            number += 1

    def begin(self) -> None:
        self.begun()

    def forward(self, *, until_empty: bool = False) -> None:
        """Deliver as the forwarder does."""
        asyncio.run(self._forward(until_empty=until_empty))

    async def _forward(self, *, until_empty: bool) -> None:
        empty = asyncio.Event()
        figures = Figures(empty if until_empty else asyncio.Event())
        policy = DeliveryPolicy(device="rig", root="sme-capture", limiter=RateLimiter(None, Clock()))
        destination = BREAKS.get(self.broken, Watched)("disk", self.folder / "out", self.begin)
        route = Route(destination, Connection("disk", ""), policy)
        forwarder = Forwarder(
            self.settings,
            [route],
            Connection("spool", ""),
            batch_size=BATCH,
            push_period_s=0.02,
            metrics=Metrics(CollectorRegistry()),
            figures=figures,
        )
        running = asyncio.create_task(forwarder.run())
        async with asyncio.timeout(PATIENCE_S):
            await empty.wait()
        await forwarder.drain(PATIENCE_S)
        await running


class Figures(SpoolCollector):
    """Sees what the forwarder shows, and says when nothing is left."""

    def __init__(self, empty: asyncio.Event) -> None:
        super().__init__(lambda: 0)
        self.empty = empty

    def put(self, status: Status) -> None:
        if status.records == 0:
            self.empty.set()
        super().put(status)


class Watched(DiskDestination):
    """Says when a delivery begins."""

    def __init__(self, name: str, path: Path, begun: Callable[[], None]) -> None:
        super().__init__(name, path)
        self.begun = begun

    async def deliver(self, upload: BatchUpload, blobs: BlobSource, limiter: RateLimiter) -> None:
        self.begun()
        await super().deliver(upload, blobs, limiter)


class Early(Watched):
    """Says that a batch has arrived, and writes it when its process was killed as likely as not."""

    async def deliver(self, upload: BatchUpload, blobs: BlobSource, limiter: RateLimiter) -> None:
        task = asyncio.create_task(self._late(upload, blobs, limiter))
        self.late = {task, *getattr(self, "late", ())}

    async def _late(self, upload: BatchUpload, blobs: BlobSource, limiter: RateLimiter) -> None:
        await asyncio.sleep(LONGEST_S)  # what was said is believed by then
        self.begun()
        await asyncio.sleep(LONGEST_S)
        await DiskDestination.deliver(self, upload, blobs, limiter)


class NewNames(Watched):
    """Gives a batch another name at each delivery, and takes as long to say that it has arrived as a kill may take."""

    async def deliver(self, upload: BatchUpload, blobs: BlobSource, limiter: RateLimiter) -> None:
        renamed = replace(upload, batch=replace(upload.batch, name=uuid7()))
        await DiskDestination.deliver(self, renamed, blobs, limiter)
        self.begun()  # not before: a slow machine would be killed while it writes
        await asyncio.sleep(LONGEST_S)


BREAKS = {"confirm-early": Early, "new-names": NewNames}


class Life:
    """One child after the other; each dies by SIGKILL when its time has come.

    One half dies soon after its birth, the other soon after it began to do its work.
    """

    def __init__(self, rig: Rig, work: Callable[[], None], chance: random.Random) -> None:
        self.rig = rig
        self.work = work
        self.chance = chance
        self.pid = 0
        self.kills = 0
        self.finished = False
        self._pipe, self._end = os.pipe()
        os.set_blocking(self._pipe, False)
        self._dies_at = 0.0
        self._waits = False

    def begin(self) -> None:
        self._has_begun()  # what the one before said
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                self.rig.begun = self._tell
                self.work()
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        self._waits = self.chance.random() < 0.5
        longest = LONGEST_WAIT_S * max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))  # as busy as it is
        self._dies_at = time.monotonic() + (longest if self._waits else self.chance.uniform(0, LONGEST_S))

    def tend(self) -> None:
        """Begin a life where there is none, end it when its time has come; its own end is looked at."""
        if not self.pid:
            self.begin()
            return
        if self._waits and self._has_begun():
            self._waits = False
            self._dies_at = time.monotonic() + self.chance.uniform(0, LONGEST_S)
        if time.monotonic() >= self._dies_at:
            os.kill(self.pid, signal.SIGKILL)
            _pid, status = os.waitpid(self.pid, 0)
        else:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if not pid:
                return
        self.pid = 0
        if os.WIFSIGNALED(status):
            self.kills += 1
        elif os.WEXITSTATUS(status):
            raise SystemExit(f"a child failed by itself with status {os.WEXITSTATUS(status)}")
        else:
            self.finished = True

    def stop(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _tell(self) -> None:
        self.rig.begun = lambda: None
        os.write(self._end, b".")

    def _has_begun(self) -> bool:
        try:
            return bool(os.read(self._pipe, 65536))
        except BlockingIOError:
            return False


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--broken", default="")
    given = parser.parse_args()
    telemetry.configure("rig", level="warning")
    rig = Rig(given.folder, given.records, given.broken)
    chance = random.Random(given.seed)  # noqa: S311 - chance, not a secret
    writer, forwarder = Life(rig, rig.write, chance), Life(rig, rig.forward, chance)
    while writer.kills + forwarder.kills < given.kills:
        if writer.pid or (not writer.finished and writer.kills <= forwarder.kills):
            writer.tend()
        forwarder.tend()
        time.sleep(0.0005)
    writer.stop()
    forwarder.stop()
    rig.write()
    rig.forward(until_empty=True)
    sys.stdout.write(json.dumps({"kills": {"writer": writer.kills, "forwarder": forwarder.kills}}) + "\n")


if __name__ == "__main__":
    main()
