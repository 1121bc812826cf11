"""The spool against the bare SQLite insert loop at the same durability: records/s, draining, latency, memory.

A record has 1 KiB, and in a second table an image of 200 KB. `loop` is as many threads as there are writers, each with
a connection and a commit a record; `group` is one connection that commits as many records at once as there are writers.
Both are on the disk when they count (WAL, synchronous=FULL); with the image the file is written, synced and its folder
synced before the row. Sides take turns; a ratio is the median of the rounds', against the harder of the two.
In `group` nobody waits for anybody. `waited`, which no ratio counts, is the same rows for as many threads as there are
writers, each of which waits for its own: what remains is what waiting threads cost in Python.
"""

import contextlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from report import arguments, percentiles, table, write

from lineside.spool import Blob, Entry, Spool, SpoolSettings
from lineside.spool.store.group_commit import Call, GroupCommit

ROOT = Path(__file__).parents[1]
WORKER = Path(__file__).with_name("spool_worker.py")
BODY = os.urandom(1024)
IMAGE = os.urandom(200_000)
WRITERS = (1, 4, 16)
FEW = 1000
FILLERS = 64
DRAINED = 60_000
FOLDER = "lineside/surface-defect/2026/11/22/02"

Insert = Callable[[], None]
"""Makes one record durable; with `group`, as many as there are writers."""


def settings(folder: Path) -> SpoolSettings:
    return SpoolSettings(folder=folder, max_bytes=1 << 40)


def entry(key: str, *, image: bool = False) -> Entry:
    blobs = (Blob(f"raw-data/auxiliary-inputs/{key}-image.jpg", IMAGE),) if image else ()
    return Entry(key=key, stream="surface-defect", folder=FOLDER, body=BODY, blobs=blobs)


def table_of(path: Path) -> sqlite3.Connection:
    # Made here and used in one thread only, another one.
    link = sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False)
    link.execute("PRAGMA journal_mode = WAL")
    link.execute("PRAGMA synchronous = FULL")
    link.execute("CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    return link


def image_file(folder: Path, name: str) -> None:
    """Write an image so that it survives a power cut."""
    with (folder / name).open("wb") as file:
        file.write(IMAGE)
        file.flush()
        os.fsync(file.fileno())
    opened = os.open(folder, os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)


@contextlib.contextmanager
def loop(folder: Path, writers: int, *, image: bool) -> Iterator[tuple[list[Insert], int]]:
    """Each writer with a connection and a commit of its own."""
    links = [table_of(folder / "bare.db") for _ in range(writers)]
    numbers = count()

    def insert(link: sqlite3.Connection) -> None:
        if image:
            image_file(folder, f"{next(numbers)}.jpg")
        link.execute("INSERT INTO records (body) VALUES (?)", (BODY,))

    try:
        yield [lambda link=link: insert(link) for link in links], 1
    finally:
        for link in links:
            link.close()


@contextlib.contextmanager
def group(folder: Path, writers: int, *, image: bool) -> Iterator[tuple[list[Insert], int]]:
    """One connection that commits as many records at once as there are writers."""
    link = table_of(folder / "bare.db")
    numbers = count()

    def insert() -> None:
        if image:
            for _ in range(writers):
                image_file(folder, f"{next(numbers)}.jpg")
        link.execute("BEGIN")
        for _ in range(writers):
            link.execute("INSERT INTO records (body) VALUES (?)", (BODY,))
        link.execute("COMMIT")

    try:
        yield [insert], writers
    finally:
        link.close()


@contextlib.contextmanager
def waited(folder: Path, writers: int, *, image: bool) -> Iterator[tuple[list[Insert], int]]:
    """One connection that commits for as many threads, each of which waits."""
    link = table_of(folder / "bare.db")
    numbers = count()

    def commit(calls: list[Call]) -> None:
        link.execute("BEGIN")
        for call in calls:
            link.execute("INSERT INTO records (body) VALUES (?)", (BODY,))
            call.is_answered = True
        link.execute("COMMIT")

    together = GroupCommit(commit)

    def insert() -> None:
        if image:
            image_file(folder, f"{next(numbers)}.jpg")
        together.join(Call())

    try:
        yield [insert] * writers, 1
    finally:
        link.close()


@contextlib.contextmanager
def spooled(folder: Path, writers: int, *, image: bool) -> Iterator[tuple[list[Insert], int]]:
    """The spool, put into by as many threads."""
    numbers = count()
    with Spool.open(settings(folder / "spool"), producer="benchmark") as spool:
        yield [lambda: put(spool, numbers, image=image)] * writers, 1


def put(spool: Spool, numbers: Iterator[int], *, image: bool = False) -> None:
    spool.put(entry(f"0198c0de-{next(numbers):012d}", image=image))


def rate(side: Callable, writers: int, seconds: float, *, image: bool) -> float:
    """Return durable records a second over that time."""
    with scratch() as folder, side(folder, writers, image=image) as (inserts, at_once):
        done, took = run(inserts, seconds)
    return done * at_once / took


def run(inserts: list[Insert], seconds: float, latencies: list[float] | None = None) -> tuple[int, float]:
    """Call each in a thread of its own until the time is over; return how often in all, in how many seconds."""
    counts = [0] * len(inserts)
    barrier = threading.Barrier(len(inserts) + 1)
    end = [0.0]

    def work(place: int, insert: Insert) -> None:
        barrier.wait()
        while (start := time.perf_counter()) < end[0]:
            insert()
            counts[place] += 1
            if latencies is not None:
                latencies.append((time.perf_counter() - start) * 1000)

    threads = [threading.Thread(target=work, args=each) for each in enumerate(inserts)]
    for thread in threads:
        thread.start()
    start = time.perf_counter()
    end[0] = start + seconds
    barrier.wait()
    for thread in threads:
        thread.join()
    return sum(counts), time.perf_counter() - start


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the checkout's own disk: what stands in memory would cost nothing to sync."""
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".benchmark-spool-") as name:
        yield Path(name)


def fill(folder: Path, records: int) -> None:
    """Put so many records, as fast as many threads can."""
    numbers = iter(range(records))
    lock = threading.Lock()

    def work(spool: Spool) -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            spool.put(entry(f"0198f111-{number:012d}"))

    with Spool.open(settings(folder), producer="benchmark") as spool:
        threads = [threading.Thread(target=work, args=(spool,)) for _ in range(FILLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def worker(mode: str, folder: Path) -> dict[str, float]:
    """Return what another process found on the spool."""
    done = subprocess.run([sys.executable, str(WORKER), mode, str(folder)], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def intake(rounds: int, seconds: float, *, image: bool) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Return records a second of each side by writers, and the ratios against the harder bare side."""
    sides = {"spool": spooled, "loop": loop, "group": group, "waited": waited}
    found: dict[str, dict[int, list[float]]] = {name: {writers: [] for writers in WRITERS} for name in sides}
    for _ in range(rounds):
        for writers in WRITERS:
            for name, side in sides.items():
                found[name][writers].append(rate(side, writers, seconds, image=image))
    ratios = {}
    for writers in WRITERS:
        harder = max(("loop", "group"), key=lambda name: statistics.median(found[name][writers]))
        pairs = zip(found["spool"][writers], found[harder][writers], strict=True)
        ratios[f"vs_sqlite_{writers}"] = statistics.median(ours / bare for ours, bare in pairs)
    rows = {
        name: {f"{writers} wr": statistics.median(values) for writers, values in by.items()}
        for name, by in found.items()
    }
    return rows, ratios


def draining(records: int) -> float:
    """Return records a second from waiting to confirmed, as one destination takes them in batches of 1,000."""
    with scratch() as folder:
        fill(folder / "spool", records)
        found = worker("drain", folder / "spool")
    if found["records"] != records:
        raise SystemExit(f"of {records} records {found['records']} came out of the spool")
    return found["records"] / found["seconds"]


def latency(seconds: float, records: int) -> dict[str, dict[str, float]]:
    """Return the milliseconds of a put by four writers: alone, and while another process drains a backlog."""
    rows = {}
    for name in ("alone", "draining"):
        with scratch() as folder:
            fill(folder / "spool", records)
            with contextlib.ExitStack() as life:
                spool = life.enter_context(Spool.open(settings(folder / "spool"), producer="benchmark"))
                if name == "draining":
                    life.enter_context(drainer(folder / "spool"))
                latencies: list[float] = []
                numbers = count()
                run([lambda n=numbers, s=spool: put(s, n)] * 4, seconds, latencies)
        rows[name] = percentiles(latencies)
    return rows


@contextlib.contextmanager
def drainer(folder: Path) -> Iterator[None]:
    """Another process that drains until it is told to stop."""
    process = subprocess.Popen(
        [sys.executable, str(WORKER), "drain-on", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdout.readline() != "ready\n":
            raise SystemExit("the draining process did not start")
        yield
    finally:
        process.communicate("\n")


def memory(records: int) -> dict[str, float]:
    """Return the peak MiB of a process that puts and drains with few records waiting, and with many."""
    peaks = {}
    for many in (FEW, records):
        with scratch() as folder:
            fill(folder / "spool", many)
            peaks[f"{many:,}"] = worker("memory", folder / "spool")["peak_mib"]
    return peaks


def main() -> None:
    given = arguments(__doc__.splitlines()[0])
    rounds, seconds, many = (1, 0.5, 100_000) if given.quick else (5, 2.0, 1_000_000)
    small, ratios = intake(rounds, seconds, image=False)
    print(f"\ndurable records of 1 KiB, {rounds} rounds of {seconds:g} s")
    table(small, unit="records a second")
    images, image_ratios = intake(1 if given.quick else 3, seconds, image=True)
    print("\nwith an image of 200 KB each")
    table(images, unit="records a second")
    drained = statistics.median(
        draining(DRAINED // 3 if given.quick else DRAINED) for _ in range(1 if given.quick else 3)
    )
    highest = max(small["spool"].values())
    print(f"\ndrained: {drained:,.0f} records/s; highest intake {highest:,.0f} records/s")
    put_ms = latency(seconds * 2, DRAINED * 2)
    print("\na put by one of four writers")
    table(put_ms, unit="milliseconds")
    peaks = memory(many)
    growth = peaks[f"{many:,}"] - peaks[f"{FEW:,}"]
    shown = ", ".join(f"{number} waiting {peak:.0f} MiB" for number, peak in peaks.items())
    print(f"\npeak memory: {shown}")
    figures = {
        "records_s": small,
        "image_records_s": images,
        "image_vs_sqlite": {name.removeprefix("vs_sqlite_"): round(value, 3) for name, value in image_ratios.items()},
        "drain_records_s": drained,
        "put_ms": put_ms,
        "rss_mib": peaks,
        "rss_growth_1m": round(growth, 1),
    }
    write(given.json, figures=figures, ratios={**ratios, "drain_vs_intake": drained / highest})


if __name__ == "__main__":
    main()
