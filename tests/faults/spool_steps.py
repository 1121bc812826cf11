"""A short life of a spool, the same at every run, for a fault to be injected at one of its system calls.

    spool_steps.py FOLDER run|ack-early|no-sync          one life in FOLDER
    spool_steps.py FOLDER lives CALL WHEN FIRST STEP [MODE]   lives in FOLDER/FIRST.., each a forked child, up to WHEN
    spool_steps.py FOLDER drain                           deliver what is left in FOLDER, or in every folder of it

A life puts records with and without blobs, seals, delivers and confirms. Every call that fails is told in FOLDER/told
and made again, as a client would. What was acknowledged stands in FOLDER/acks, what was delivered in FOLDER/delivered,
a batch and a key a line. `ack-early` and `no-sync` break the promise on purpose.

strace injects a fault at the call number WHEN of every process that it follows. So the life k of `lives` makes
WHEN - k such calls that do nothing before it begins: its own call k is the one that fails. How each ended stands in
FOLDER/ends, written at once so that this process makes few calls itself.
"""

import contextlib
import json
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lineside.errors import LinesideError
from lineside.spool import Blob, Entry, Spool, SpoolSettings
from lineside.spool.store import database

T = TypeVar("T")
RECORDS = 3
SPARE = os.cpu_count() or 1
"""Lives side by side."""


def unsynced(connect: Callable[..., sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
    """Return a way to open the spool's files that syncs nothing."""

    def opened(*given: object) -> sqlite3.Connection:
        link = connect(*given)
        link.execute("PRAGMA synchronous = OFF")
        return link

    return opened


def entry(number: int) -> Entry:
    """Return the record of a number; every third has a blob."""
    key = f"k{number}"
    blobs = (Blob(f"raw-data/{key}.bin", key.encode() * 3000),) if number % 3 == 0 else ()
    reference = '"data-ref":"spool:0"' if blobs else '"data":""'
    return Entry(
        key=key, stream=f"s{number % 2}", folder="f", body=f'{{"id":"{key}",{reference}}}'.encode(), blobs=blobs
    )


class Steps:
    """The calls, each made again once where it fails."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.mode = mode
        self.acks = os.open(folder / "acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.told = os.open(folder / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.delivered = os.open(folder / "delivered", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.settings = SpoolSettings(folder=folder / "spool", reserve_bytes=256 * 1024)

    def tell(self, **what: str) -> None:
        os.writev(self.told, [json.dumps(what).encode() + b"\n"])

    def again(self, what: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except LinesideError as error:
            self.tell(failed=what, code=error.code, why=str(error))
        try:
            return call()
        except LinesideError as error:
            self.tell(gave_up=what, code=error.code, why=str(error))
            raise SystemExit(3) from None

    def put(self, spool: Spool, number: int) -> None:
        key = f"k{number}"
        if self.mode == "ack-early":
            os.writev(self.acks, [f"{key}\n".encode()])
        self.again(f"put {key}", lambda: spool.put(entry(number)))
        if self.mode != "ack-early":
            os.writev(self.acks, [f"{key}\n".encode()])

    def deliver(self, spool: Spool) -> None:
        """Seal all that waits, and deliver it."""
        for run in self.again("unsealed", spool.unsealed):
            self.again("seal", lambda run=run: spool.seal(run, 2, 1 << 20))
        while (lease := self.again("lease", lambda: spool.lease("out"))) is not None:
            for record in self.again("read", lambda lease=lease: spool.read(lease.batch)):
                for blob in record.blobs:
                    spool.open_blob(blob).close()
                os.writev(self.delivered, [f"{lease.batch.name} {record.key}\n".encode()])
            self.again("confirm", lambda lease=lease: spool.confirm(lease))

    def run(self) -> None:
        with self.again("open", lambda: Spool.open(self.settings, producer="steps")) as spool:
            self.again("register", lambda: spool.register(["out"]))
            for number in range(RECORDS):
                self.put(spool, number)
                if number % 3 == 2:
                    self.deliver(spool)
            self.again("sweep", spool.sweep)
        with self.again("open", lambda: Spool.open(self.settings, producer="steps")) as spool:
            self.put(spool, RECORDS)
            self.put(spool, 0)  # a key that was delivered

    def drain(self) -> None:
        with Spool.open(self.settings, producer="steps") as spool:
            spool.register(["out"])
            self.deliver(spool)


def live(folder: Path, mode: str) -> None:
    folder.mkdir(exist_ok=True)
    if mode == "no-sync":
        database.connect = unsynced(database.connect)
    steps = Steps(folder, mode)
    if mode == "drain":
        steps.drain()
    else:
        steps.run()


def pad(call: str, count: int) -> None:
    """Make calls that do nothing."""
    null = os.open(os.devnull, os.O_WRONLY)
    for _ in range(count):
        if call == "write":
            os.write(null, b".")
        elif call == "pwrite64":
            os.pwrite(null, b".", 0)
        else:
            with contextlib.suppress(OSError):  # there is nothing to sync
                (os.fsync if call == "fsync" else os.fdatasync)(null)
    os.close(null)


def lives(folder: Path, call: str, when: int, numbers: range, mode: str) -> None:
    """Live a life for each number, some side by side."""
    running: dict[int, int] = {}
    ends: dict[int, int] = {}
    for number in numbers:
        place = folder / str(number)
        place.mkdir()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                pad(call, when - number)
                live(place, mode)
                status = 0
            except SystemExit as left:
                status = left.code
            finally:
                os._exit(status)
        running[pid] = number
        while len(running) >= SPARE or (running and number == numbers[-1]):
            pid, status = os.wait()
            ends[running.pop(pid)] = os.waitstatus_to_exitcode(status)
    (folder / "ends").write_text(json.dumps(ends))


def main() -> None:
    folder, mode = Path(sys.argv[1]), sys.argv[2]
    if mode == "lives":
        when, first, step = (int(given) for given in sys.argv[4:7])
        lives(folder, sys.argv[3], when, range(first, when + 1, step), sys.argv[7] if len(sys.argv) > 7 else "run")
    elif mode == "drain" and not (folder / "spool").is_dir():
        for place in sorted(folder.glob("*/")):
            live(place, "drain")
    else:
        live(folder, mode)


if __name__ == "__main__":
    main()
