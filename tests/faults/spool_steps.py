"""A short life of a spool, the same at every run, for a fault to be injected at one of its system calls.

    spool_steps.py FOLDER run|drain|ack-early|no-sync

It puts records with and without blobs, seals, delivers to a folder and confirms, some of them twice. Every call that
fails is told on stdout and made again, as a client would. What was acknowledged stands in FOLDER/acks, what was
delivered in FOLDER/delivered, a batch and a key a line. Exits 0 when all is done, 3 where a call failed a second time.
`drain` only delivers what is there; `ack-early` and `no-sync` break the promise on purpose.
"""

import json
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lineside.errors import LinesideError
from lineside.spool import Blob, Entry, Spool, SpoolSettings, database

T = TypeVar("T")
RECORDS = 6


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
        self.delivered = os.open(folder / "delivered", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.settings = SpoolSettings(folder=folder / "spool", reserve_bytes=256 * 1024)

    def tell(self, **what: str) -> None:
        sys.stdout.write(json.dumps(what) + "\n")

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
            os.write(self.acks, f"{key}\n".encode())
        self.again(f"put {key}", lambda: spool.put(entry(number)))
        if self.mode != "ack-early":
            os.write(self.acks, f"{key}\n".encode())

    def deliver(self, spool: Spool) -> None:
        """Seal all that waits, and deliver it."""
        for run in self.again("unsealed", spool.unsealed):
            self.again("seal", lambda run=run: spool.seal(run, 2, 1 << 20))
        while (lease := self.again("lease", lambda: spool.lease("out"))) is not None:
            for record in self.again("read", lambda lease=lease: spool.read(lease.batch)):
                for blob in record.blobs:
                    spool.open_blob(blob).close()
                os.write(self.delivered, f"{lease.batch.name} {record.key}\n".encode())
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


if __name__ == "__main__":
    steps = Steps(Path(sys.argv[1]), sys.argv[2])
    if steps.mode == "no-sync":
        database.connect = unsynced(database.connect)
    if steps.mode == "drain":
        steps.drain()
    else:
        steps.run()
