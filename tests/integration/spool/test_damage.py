"""A flipped bit anywhere in a spool: it is noticed, set aside and reported, and all the rest is delivered.

`TESTS_FAULTS=long` flips a bit of every 13th byte, at other places of each page: about a quarter of an hour.
"""

import contextlib
import hashlib
import random
import shutil
import sqlite3
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lineside.spool import Blob, Entry, Spool, SpoolDamaged, SpoolError, SpoolSettings, SpoolUnusable
from lineside.spool.repair.verify import verify
from lineside.spool.store import quarantine
from lineside.spool.store.schema import PAGE, PROGRESS, RECORDS
from lineside.spool.store.wal import FRAME, HEADER
from tests.support.variables import LONG
from tests.support.waiting import HANG_S

DESTINATIONS = ("disk", "s3")
MANY = 10**9
TRIES = 6
STRIDE = 13
SIZES = (100, 250, 700, 1500, 3000, 3900, 4200, 6000, 9000)


@dataclass
class Delivered:
    """What one destination was given: bodies by key, how often, and which blobs came damaged."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    damaged_blobs: int = 0
    blobs: int = 0


@dataclass
class Template:
    """A spool to damage: its folder, with its logs still there or not, the truth, and who has what already."""

    folder: Path
    truth: dict[str, bytes]
    has: dict[str, set[str]]


def body(number: int) -> bytes:
    return random.Random(number).randbytes(SIZES[number % len(SIZES)] // 2).hex().encode()  # noqa: S311 - the same every time


def entry(number: int) -> Entry:
    blobs = (Blob(f"raw-data/{number}.bin", random.Random(-number).randbytes(5000)),) if number % 20 == 7 else ()  # noqa: S311 - the same every time
    stream = f"model-{number % 2}"
    return Entry(f"key-{number}", stream, f"lineside/{stream}/2026/11/22/02", body(number), blobs=blobs)


def settings_of(folder: Path) -> SpoolSettings:
    return SpoolSettings(folder=folder)


def fill(folder: Path) -> Iterator[dict[str, set[str]]]:
    """Fill a spool, partly delivered; yields once while it is open, when all is in its logs."""
    has: dict[str, set[str]] = {name: set() for name in DESTINATIONS}
    with Spool.open(settings_of(folder), producer="inference") as spool:
        spool.register(DESTINATIONS)
        for number in range(40):
            spool.put(entry(number))
        for run in spool.unsealed():
            for _ in range(4):
                spool.seal(run, 5, MANY)
        for name, count in (("disk", 3), ("s3", 2)):
            for _ in range(count):
                deliver_one(spool, name, has)
        for number in range(40, 48):
            spool.put(entry(number))
        for name in (RECORDS, PROGRESS):
            with closing(sqlite3.connect(folder / name)) as link:
                assert link.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        deliver_one(spool, "s3", has)
        for number in range(48, 60):
            spool.put(entry(number))
        yield has


def deliver_one(spool: Spool, name: str, has: dict[str, set[str]]) -> None:
    lease = spool.lease(name)
    has[name].update(one.key for one in spool.read(lease.batch))
    spool.confirm(lease)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A spool that was closed: all is in its files."""
    folder = tmp_path_factory.mktemp("closed") / "spool"
    (has,) = list(fill(folder))
    return Template(folder, {f"key-{number}": body(number) for number in range(60)}, has)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A spool as a kill leaves it: much of it is only in the logs."""
    work = tmp_path_factory.mktemp("killed")
    for given in fill(work / "open"):
        has = given
        shutil.copytree(work / "open", work / "spool", ignore=shutil.ignore_patterns("*-shm", "locks"))
    return Template(work / "spool", {f"key-{number}": body(number) for number in range(60)}, has)


def drain(folder: Path, to: dict[str, Delivered]) -> dict[str, int]:
    """Open, deliver all that is there, and close, again after errors that say so; returns the counts of damage."""
    errors: list[SpoolError] = []
    while len(errors) < TRIES:
        try:
            with Spool.open(settings_of(folder), producer="inference") as spool:
                return drain_open(spool, to)
        except SpoolError as error:
            errors.append(error)
    pytest.fail(f"the spool is not mended after {TRIES} tries: {errors}")


def drain_open(spool: Spool, to: dict[str, Delivered]) -> dict[str, int]:
    spool.register(DESTINATIONS)
    while runs := spool.unsealed():
        for run in runs:
            spool.seal(run, 10, MANY)
    for name, delivered in to.items():
        while lease := spool.lease(name):
            for record in spool.read(lease.batch):
                delivered.bodies[record.key] = record.body
                delivered.times[record.key] += 1
                for blob in record.blobs:
                    try:
                        with spool.open_blob(blob) as file:
                            assert hashlib.sha256(file.read()).digest() == blob.digest
                            delivered.blobs += 1
                    except SpoolDamaged:
                        delivered.damaged_blobs += 1
            spool.confirm(lease)
    status = spool.status()
    assert status.records == status.unsealed == status.bytes == 0
    assert all(one.waiting_records == 0 for one in status.destinations)
    return status.quarantined


@pytest.fixture
def work() -> Iterator[Path]:
    """A folder in memory where there is one: nothing here is about what a sync of the disk does."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def flipped(template: Template, work: Path, name: str, at: int, *, reboot: bool) -> Path:
    """Return a copy of a template with one bit of one of its files turned over."""
    folder = work / "spool"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template.folder, folder)
    if reboot:
        (folder / "checked").unlink()
    with (folder / name).open("r+b") as file:
        file.seek(at)
        (old,) = file.read(1)
        file.seek(at)
        file.write(bytes([old ^ 1 << random.Random(at).randrange(8)]))  # noqa: S311 - the same every time
    return folder


def positions(size: int, unit: int, first: int, *, seed: str) -> list[int]:
    """Return where to flip: in each page its header, its cell pointers, its content; in each frame its head too."""
    draw = random.Random(seed)  # noqa: S311 - the same every time
    if LONG:
        return list(range(draw.randrange(STRIDE), size, STRIDE))
    found = [] if unit == PAGE else [0, 12, 20]
    for begin in range(first, size, unit):
        head = unit - PAGE
        found += [begin + at for at in (draw.randrange(24),)] if head else []
        page = begin + head
        found += [page + draw.choice((draw.randrange(8), 8 + draw.randrange(30))), page + draw.randrange(PAGE)]
    return [at for at in found if at < size]


def leaf(template: Template) -> int:
    """Return where the last page begins that holds rows."""
    data = (template.folder / RECORDS).read_bytes()
    return max(at for at in range(0, len(data), PAGE) if data[at] == 0x0D)


def check(template: Template, folder: Path, *, exactly: bool, where: object) -> int:
    """Drain a damaged spool and judge it; returns how many records were lost at some destination."""
    to = {name: Delivered() for name in DESTINATIONS}
    quarantined = drain(folder, to)
    lost: set[str] = set()
    for name, delivered in to.items():
        wrong = [key for key, value in delivered.bodies.items() if template.truth.get(key) != value]
        assert not wrong, (where, name, wrong)
        missing = template.truth.keys() - template.has[name] - delivered.bodies.keys()
        lost |= missing
        if exactly:
            twice = [key for key, times in delivered.times.items() if times > 1 or key in template.has[name]]
            assert not twice, (where, name, twice)
        assert delivered.damaged_blobs == 0
    if lost:
        assert sum(quarantined.values()) >= len(lost), (where, lost, quarantined)
    with Spool.open(settings_of(folder), recover=False) as spool:
        report = verify(spool.folder)
    if not report.is_well:  # what nothing met and harmed nothing is seen by verify, and mended at the next boot
        (folder / "checked").unlink()
        with Spool.open(settings_of(folder)) as spool:
            assert verify(spool.folder).is_well, (where, report)
    return len(lost)


@pytest.mark.parametrize("reboot", [True, False], ids=["after a boot", "while it runs"])
def test_every_page_of_the_records(closed: Template, work: Path, *, reboot: bool) -> None:
    size = (closed.folder / RECORDS).stat().st_size
    assert size > 40 * PAGE
    lost = 0
    for at in positions(size, PAGE, 0, seed=f"records {reboot}"):
        folder = flipped(closed, work, RECORDS, at, reboot=reboot)
        here = check(closed, folder, exactly=True, where=(RECORDS, divmod(at, PAGE)))
        assert here <= 1, divmod(at, PAGE)
        lost += here
    assert lost > 10  # the flips do hit


@pytest.mark.parametrize("reboot", [True, False], ids=["after a boot", "while it runs"])
def test_every_page_of_the_progress(closed: Template, work: Path, *, reboot: bool) -> None:
    for at in positions((closed.folder / PROGRESS).stat().st_size, PAGE, 0, seed=f"progress {reboot}"):
        folder = flipped(closed, work, PROGRESS, at, reboot=reboot)
        assert check(closed, folder, exactly=False, where=(PROGRESS, divmod(at, PAGE))) == 0


def test_every_frame_of_the_records_log(killed: Template, work: Path) -> None:
    name = f"{RECORDS}-wal"
    for at in positions((killed.folder / name).stat().st_size, FRAME, HEADER, seed=name):
        folder = flipped(killed, work, name, at, reboot=False)
        assert check(killed, folder, exactly=True, where=(name, divmod(at - HEADER, FRAME))) <= 1


def test_every_frame_of_the_progress_log(killed: Template, work: Path) -> None:
    name = f"{PROGRESS}-wal"
    for at in positions((killed.folder / name).stat().st_size, FRAME, HEADER, seed=name):
        folder = flipped(killed, work, name, at, reboot=False)
        assert check(killed, folder, exactly=False, where=(name, divmod(at - HEADER, FRAME))) == 0


def test_every_blob(closed: Template, work: Path) -> None:
    blobs = sorted(path.relative_to(closed.folder) for path in closed.folder.glob("blobs/*/*.blob"))
    assert len(blobs) == 3
    for blob in blobs:
        for at in (0, 2500, 4999):
            folder = flipped(closed, work, str(blob), at, reboot=False)
            with Spool.open(settings_of(folder), recover=False) as spool:
                assert [(one.about, one.which) for one in verify(spool.folder).problems] == [("blob", str(blob))]
            to = {name: Delivered() for name in DESTINATIONS}
            assert drain(folder, to)["blob"] >= 1
            for name, delivered in to.items():
                assert delivered.bodies.keys() == closed.truth.keys() - closed.has[name]
                assert delivered.damaged_blobs == 1
                assert delivered.blobs == 2
            assert len(list((folder / "quarantine").iterdir())) == 1


def test_services_that_have_it_open_mend_it_without_a_restart(closed: Template, work: Path) -> None:
    folder = flipped(closed, work, RECORDS, leaf(closed), reboot=False)
    to = {name: Delivered() for name in DESTINATIONS}
    stop = threading.Event()
    with (
        Spool.open(settings_of(folder), producer="forwarder") as forwarder,
        Spool.open(settings_of(folder), producer="inference") as inference,
    ):

        def look() -> None:
            while not stop.wait(0.01):
                with contextlib.suppress(SpoolUnusable):
                    inference.status()

        looking = threading.Thread(target=look)
        looking.start()
        try:
            quarantine.request_repair(folder, "a test says so")
            drain_open(forwarder, to)
        finally:
            stop.set()
            looking.join(HANG_S)
        assert not quarantine.is_repair_requested(folder)
        assert forwarder.status().quarantined["page"] == 1
        assert inference.put(entry(100)).is_new
        assert [one.numbers for one in forwarder.unsealed()] == [(61,)]
    for name, delivered in to.items():
        assert delivered.bodies.keys() == closed.truth.keys() - closed.has[name]


def test_what_is_asked_for_waits_while_another_still_has_it_open(closed: Template, work: Path) -> None:
    folder = work / "spool"
    shutil.copytree(closed.folder, folder)
    with Spool.open(settings_of(folder)) as one:
        with Spool.open(settings_of(folder)) as other:
            quarantine.request_repair(folder, "a test says so")
            with pytest.raises(SpoolUnusable, match="another service still has it open"):
                one.status()
            other.close()
            assert one.status().records > 0
        assert not quarantine.is_repair_requested(folder)


def test_a_mending_that_is_cut_off_is_done_by_the_next(closed: Template, work: Path) -> None:
    """Killed before the new file takes the place of the damaged one, with that moved away already or not."""
    for moved in (False, True):
        folder = flipped(closed, work, RECORDS, leaf(closed), reboot=True)
        shutil.copy(closed.folder / RECORDS, folder / f"{RECORDS}.new")
        (folder / f"{PROGRESS}.building").write_bytes(b"half a file")
        if moved:
            (folder / RECORDS).rename(folder / "quarantine" / RECORDS)
        assert check(closed, folder, exactly=True, where=moved) == 0
        assert not list(folder.glob("*.new")) + list(folder.glob("*.building"))


class Anything:
    """A checksum that is like every other."""

    def __call__(self, _row: object) -> "Anything":
        return self

    def __eq__(self, _other: object) -> bool:
        return True

    __hash__ = None


def test_negative_control(closed: Template, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the comparison of checksums the harness sees that something else was delivered."""
    data = (closed.folder / RECORDS).read_bytes()
    at = data.index(body(57)[:40]) + 10
    folder = flipped(closed, work, RECORDS, at, reboot=False)
    assert check(closed, folder, exactly=True, where="with") == 1
    monkeypatch.setattr("lineside.spool.store.reading.checksum", Anything())
    folder = flipped(closed, work, RECORDS, at, reboot=False)
    with pytest.raises(AssertionError, match="key-57"):
        check(closed, folder, exactly=True, where="without")
