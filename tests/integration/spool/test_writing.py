import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lineside.spool import Blob, Receipt, Spool, SpoolFull, SpoolSettings, SpoolUnusable
from lineside.spool.store.database import Database
from lineside.spool.store.schema import RECORDS
from tests.support.spooling import drain, entry, fill, seal_all
from tests.support.waiting import HANG_S

PUTTER = """
import sys
from pathlib import Path
from lineside.spool import Entry, Spool, SpoolSettings
folder, name, count = sys.argv[1:]
with Spool.open(SpoolSettings(folder=Path(folder)), producer=name) as spool:
    for number in range(int(count)):
        spool.put(Entry(f"{name}-{number:04}", name, "f/2026/11/22/02", b"{}"))
        print(spool.put(Entry(f"shared-{number:04}", "shared", "f/2026/11/22/02", b"{}")).is_new)
"""


def test_a_record_comes_out_as_it_went_in(spool: Spool):
    body = '{"part":"Größe ⌀ 5"}'.encode()
    given = entry(
        "one", body=body, kept="sampled", blobs=(Blob("raw/a.jpg", b"\0" * 70_000, "image/jpeg"), Blob("b", b""))
    )
    assert spool.put(given) == Receipt(1, is_new=True)
    (record,) = spool.iterate()
    assert (record.key, record.stream, record.folder, record.kept) == ("one", "model", given.folder, "sampled")
    assert (record.body, record.producer, record.sequence, record.size) == (body, "test", 1, len(body) + 70_000)
    assert [(blob.name, blob.content_type) for blob in record.blobs] == [
        ("raw/a.jpg", "image/jpeg"),
        ("b", "application/octet-stream"),
    ]
    for stored, blob in zip(record.blobs, given.blobs, strict=True):
        with spool.open_blob(stored) as file:
            assert file.read() == blob.data


def test_numbers_and_sequences_have_no_gap_and_never_come_again(open_spool: Callable[..., Spool]):
    one, two = open_spool(producer="one"), open_spool(producer="two")
    one.register(["disk"])
    for number in range(3):
        one.put(entry(f"a{number}"))
        two.put(entry(f"b{number}"))
    rows = [(record.number, record.producer, record.sequence) for record in one.iterate()]
    assert rows == [(1, "one", 1), (2, "two", 1), (3, "one", 2), (4, "two", 2), (5, "one", 3), (6, "two", 3)]
    seal_all(one)
    drain(one, "disk")
    one.close()
    two.close()
    again = open_spool(producer="one")
    assert again.put(entry("c")) == Receipt(7, is_new=True)
    (record,) = again.iterate()
    assert record.sequence == 4


def test_a_known_key_keeps_nothing(spool: Spool, tmp_path: Path):
    first = spool.put(entry("same", blobs=(Blob("a", b"1" * 5000),)))
    assert spool.put(entry("same", blobs=(Blob("a", b"2" * 5000),))) == Receipt(first.number, is_new=False)
    assert spool.put(entry("same")) == Receipt(first.number, is_new=False)
    assert spool.status().records == 1
    assert len(list((tmp_path / "spool" / "blobs").glob("??/*"))) == 1


def test_a_delivered_key_is_known_too(spool: Spool):
    spool.register(["disk"])
    spool.put(entry("same"))
    seal_all(spool)
    drain(spool, "disk")
    assert spool.find("same") == "delivered"
    assert spool.put(entry("same")) == Receipt(0, is_new=False)
    assert spool.status().records == 0


def test_many_threads_put_at_once(spool: Spool):
    answers: dict[str, list[Receipt]] = {}
    guard = threading.Lock()

    def work(worker: int) -> None:
        for number in range(40):
            for key in (f"{worker}-{number}", f"shared-{number}"):
                blobs = (Blob("x", b"x" * 4000),) if number % 10 == 0 else ()
                receipt = spool.put(entry(key, blobs=blobs))
                with guard:
                    answers.setdefault(key, []).append(receipt)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = list(spool.iterate())
    assert {record.key: record.number for record in records} == {key: found[0].number for key, found in answers.items()}
    assert all([receipt.is_new for receipt in found].count(True) == 1 for found in answers.values())
    assert [record.number for record in records] == list(range(1, 9 * 40 + 1))
    assert [record.sequence for record in records] == list(range(1, 9 * 40 + 1))
    status = spool.status()
    assert (status.records, status.bytes) == (len(records), sum(record.size for record in records))
    assert len(list((spool.folder / "blobs").glob("??/*"))) == 9 * 4


def test_many_processes_put_at_once(spool: Spool):
    names = ["a", "b", "c"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PUTTER, str(spool.folder), name, "60"], stdout=subprocess.PIPE, text=True
        )
        for name in names
    ]
    said = [process.communicate(timeout=HANG_S)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    for number in range(60):
        assert sorted(answers[number] for answers in said) == ["False", "False", "True"]
    records = list(spool.iterate())
    assert [record.number for record in records] == list(range(1, 4 * 60 + 1))
    for name in names:
        own = [record for record in records if record.producer == name]
        assert [record.sequence for record in own] == list(range(1, len(own) + 1))
        assert [record.key for record in own if record.stream == name] == [
            f"{name}-{number:04}" for number in range(60)
        ]


def test_at_the_bound_a_put_is_refused_with_the_figures(open_spool: Callable[..., Spool]):
    spool = open_spool(max_bytes=1024 * 1024, when_full="refuse")
    body = b"x" * 300_000
    for key in ("a", "b", "c"):
        spool.put(entry(key, body=body, kept="sampled"))
    with pytest.raises(SpoolFull, match=r"878 KiB of 1024 KiB evidence wait, 292 KiB more do not fit") as refused:
        spool.put(entry("d", body=body))
    assert "spool.max_bytes" in refused.value.remedy
    assert refused.value.transient
    with pytest.raises(SpoolFull):
        spool.put(entry("e", blobs=(Blob("x", body),)))
    assert not list((spool.folder / "blobs").glob("??/*"))
    assert spool.put(entry("small", body=b"x")).is_new
    assert spool.find("d") is None
    assert spool.status().dropped == {}


def test_one_that_does_not_fit_does_not_hold_up_its_group(open_spool: Callable[..., Spool]):
    spool = open_spool(max_bytes=1024 * 1024, when_full="refuse")
    results: dict[str, bool] = {}
    start = threading.Barrier(6)

    def work(key: str, size: int) -> None:
        start.wait()
        try:
            spool.put(entry(key, body=b"x" * size))
            results[key] = True
        except SpoolFull:
            results[key] = False

    sizes = {"huge": 2 * 1024 * 1024, **{f"small-{number}": 1000 for number in range(5)}}
    threads = [threading.Thread(target=work, args=item) for item in sizes.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {key: key != "huge" for key in sizes}
    assert {record.key for record in spool.iterate()} == set(sizes) - {"huge"}


def test_the_disks_reserve_is_not_used(open_spool: Callable[..., Spool]):
    free = open_spool().status().free_bytes
    spool = open_spool(reserve_bytes=free * 2)
    with pytest.raises(SpoolFull, match=r"the disk has \d+ MiB left, of which \d+ MiB are kept free"):
        spool.put(entry("a"))
    with pytest.raises(SpoolFull):
        spool.put(entry("b", blobs=(Blob("x", b"x" * 5000),)))
    assert not list((spool.folder / "blobs").glob("??/*"))


class Failing:
    """A connection whose next commits fail after they were written, as where the sync of the log fails."""

    def __init__(self, link: sqlite3.Connection) -> None:
        self._link = link

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    def execute(self, text: str, *values: Any) -> Any:
        done = self._link.execute(text, *values)
        if text == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return done


def test_a_commit_that_fails_is_taken_back(spool: Spool):
    fill(spool, 3)
    spool._records._writer = Failing(spool._records._writer)  # type: ignore[assignment]
    with pytest.raises(SpoolUnusable, match="disk I/O error") as failed:
        spool.put(entry("lost", blobs=(Blob("x", b"x" * 5000),)))
    assert failed.value.transient
    assert not list((spool.folder / "blobs").glob("??/*"))
    assert spool.find("lost") is None
    assert (spool.status().records, spool.status().bytes) == (3, 21)
    assert spool.put(entry("lost")).is_new
    assert spool.status().records == 4


def test_what_cannot_be_taken_back_at_once_is_with_the_next_put(spool: Spool, monkeypatch: pytest.MonkeyPatch):
    real = Database._connect
    spool.put(entry("first"))
    spool._records._writer = Failing(spool._records._writer)  # type: ignore[assignment]
    monkeypatch.setattr(Database, "_connect", lambda self: Failing(real(self)))
    for key in ("lost", "lost too"):
        with pytest.raises(SpoolUnusable):
            spool.put(entry(key, blobs=(Blob("x", b"x" * 5000),)))
    monkeypatch.undo()
    assert spool.put(entry("next")).is_new
    assert [record.key for record in spool.iterate()] == ["first", "next"]
    assert not list((spool.folder / "blobs").glob("??/*"))


def test_files_and_folders_are_for_the_group_and_nobody_else(spool: Spool):
    spool.put(entry("a", blobs=(Blob("x", b"x" * 5000),)))
    for path in (spool.folder, *spool.folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o750 if path.is_dir() else 0o640), path


def test_a_newer_schema_is_refused(spool: Spool):
    spool.put(entry("a"))
    with spool._records.writing() as link:
        link.execute("CREATE TABLE of_a_later_version (number INTEGER)")
        link.execute("PRAGMA user_version = 99")
    spool.close()
    for recover in (True, False):
        with pytest.raises(SpoolUnusable, match="has schema 99; this version of Lineside reads up to 1"):
            Spool.open(spool.settings, recover=recover).put(entry("b"))


def test_a_creation_that_was_cut_off_is_completed(tmp_path: Path):
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / RECORDS).write_bytes(b"")
    with Spool.open(SpoolSettings(folder=tmp_path / "spool")) as spool:
        assert spool.put(entry("a")).is_new


def test_commands_open_only_what_is_a_spool(tmp_path: Path):
    with pytest.raises(SpoolUnusable, match="is no spool"):
        Spool.open(SpoolSettings(folder=tmp_path), recover=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SpoolUnusable, match=r"spool\.folder is not set"):
        Spool.open(SpoolSettings())


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolUnusable, match="file"):
        Spool.open(SpoolSettings(folder=tmp_path / "file" / "spool"))


def test_a_closed_spool_says_so(spool: Spool):
    spool.close()
    spool.close()
    with pytest.raises(SpoolUnusable, match="closed"):
        spool.put(entry("a"))


def test_blobs_of_a_put_that_was_cut_off_go_at_the_next_start(spool: Spool):
    spool.put(entry("a", blobs=(Blob("x", b"x" * 5000),)))
    (kept,) = (spool.folder / "blobs").glob("??/*")
    for name in ("0" * 32 + ".blob", "1" * 32 + ".new"):
        (kept.parent / name).write_bytes(b"cut off")
    spool.close()
    with Spool.open(spool.settings) as again:
        assert list((again.folder / "blobs").glob("??/*")) == [kept]
        (record,) = again.iterate()
        again.open_blob(record.blobs[0]).close()
