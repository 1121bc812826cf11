import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineside.spool.repair.salvage import salvage, salvage_log
from lineside.spool.store import sqlite_rows, wal
from lineside.spool.store.entry import Record, StoredBlob, blobs_to_text, checksum
from lineside.spool.store.schema import PAGE, RECORDS, RECORDS_SCHEMA, connect

INSERT = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
LOCAL_MOST = PAGE - 35
AN_OVERFLOW_PAGE = PAGE - 4


def record(number: int, body: bytes, **other: object) -> Record:
    values: dict[str, object] = {
        "key": f"key-{number}",
        "stream": "surface-defect",
        "folder": "lineside/surface-defect/2026/11/22/02",
        "kept": "always",
        "producer": "inference",
        "sequence": number,
        "created_ms": 1_790_000_000_000 + number,
        "blobs": (),
    }
    return Record(number=number, body=body, **(values | other))


def row(one: Record) -> tuple[object, ...]:
    head = (one.number, one.key, one.stream, one.folder, one.kept, one.producer, one.sequence, one.created_ms)
    text = blobs_to_text(one.blobs)
    return (*head, one.size, text, checksum((*head, text, one.body)), one.body)


def written(folder: Path, records: list[Record], *, a_transaction: int = 1000) -> Path:
    """Let SQLite write records to a new file, and close it."""
    path = folder / RECORDS
    with closing(connect(path, RECORDS_SCHEMA)) as link:
        link.execute("PRAGMA synchronous = OFF")
        for begin in range(0, len(records), a_transaction):
            link.execute("BEGIN")
            link.executemany(INSERT, [row(one) for one in records[begin : begin + a_transaction]])
            link.execute("COMMIT")
    return path


def found(path: Path) -> dict[int, Record]:
    return {one.number: one for one in salvage(path)}


# Around what fits into a page, and into one, two and three overflow pages: there the formula of the local part turns.
lengths = st.one_of(
    st.integers(0, 600),
    st.builds(
        lambda pages, near: max(0, LOCAL_MOST + pages * AN_OVERFLOW_PAGE - 230 + near),
        st.integers(0, 3),
        st.integers(-40, 40),
    ),
    st.builds(lambda pages, near: pages * AN_OVERFLOW_PAGE + 489 - 230 + near, st.integers(1, 3), st.integers(-40, 40)),
)
text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)
stored = st.builds(
    StoredBlob,
    name=text,
    content_type=text,
    file=text,
    size=st.integers(0, 2**40),
    digest=st.binary(min_size=32, max_size=32),
)


@st.composite
def many_records(draw: st.DrawFn) -> list[Record]:
    numbers = draw(st.lists(st.integers(1, 2**62), min_size=1, max_size=8, unique=True))
    return [
        record(
            number,
            draw(st.randoms(use_true_random=False)).randbytes(draw(lengths)),
            key=f"{place}{draw(text)}",
            stream=draw(text),
            folder=draw(text),
            kept=draw(st.sampled_from(["always", "sampled"])),
            producer=draw(text),
            sequence=draw(st.integers(0, 2**62)),
            created_ms=draw(st.sampled_from([0, 1, 127, 128, 2**15, 2**23, 2**31, 2**47, 2**62])),
            blobs=tuple(draw(st.lists(stored, max_size=2))),
        )
        for place, number in enumerate(numbers)
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=many_records())
def test_reads_whatever_sqlite_wrote(records: list[Record], tmp_path: Path) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    assert found(written(tmp_path, records)) == {one.number: one for one in records}


def test_every_length_around_the_limits(tmp_path: Path) -> None:
    overhead = len(b"".join(str(value).encode() for value in row(record(1, b""))[1:8])) + 32 + 20
    bodies = [LOCAL_MOST - overhead + near for near in range(-30, 31)]
    bodies += [489 + AN_OVERFLOW_PAGE - overhead + near for near in range(-30, 31)]
    bodies += [LOCAL_MOST + AN_OVERFLOW_PAGE - overhead + near for near in range(-30, 31)]
    records = [record(number, b"\x0d\x00" * (size // 2) + b"x" * (size % 2)) for number, size in enumerate(bodies, 1)]
    assert found(written(tmp_path, records)) == {one.number: one for one in records}


def test_reads_what_is_only_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / RECORDS
    records = [record(number, b"b" * (number * 700)) for number in range(1, 20)]
    with closing(connect(path, RECORDS_SCHEMA)) as link:
        link.executemany(INSERT, [row(one) for one in records[:10]])
        link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        link.executemany(INSERT, [row(one) for one in records[10:]])
        assert found(path) == {one.number: one for one in records}
        log = path.with_name(f"{RECORDS}-wal")
        assert {one.number for one in salvage_log(path, log)} >= set(range(11, 20))


def test_a_page_whose_header_is_gone_still_gives_its_rows(tmp_path: Path) -> None:
    records = [record(number, b"b" * 100) for number in range(1, 200)]
    path = written(tmp_path, records)
    data = bytearray(path.read_bytes())
    for at in range(PAGE, len(data), PAGE):  # but the first page: it holds no records
        data[at : at + 8] = bytes(8)
    path.write_bytes(data)
    with closing(sqlite3.connect(path)) as link, pytest.raises(sqlite3.DatabaseError):
        link.execute("SELECT count(body) FROM records").fetchall()
    assert found(path) == {one.number: one for one in records}


def test_a_flipped_bit_costs_no_more_than_its_record(tmp_path: Path) -> None:
    records = [record(number, bytes([number]) * size) for number, size in enumerate([50, 3000, 6000, 9000, 200], 1)]
    path = written(tmp_path, records)
    data = bytearray(path.read_bytes())
    by_number = {one.number: one for one in records}
    lost = set()
    for at in range(0, len(data), 61):
        data[at] ^= 1 << at % 8
        path.write_bytes(data)
        got = found(path)
        assert got.items() <= by_number.items()
        assert len(by_number) - len(got) <= 1
        lost |= by_number.keys() - got.keys()
        data[at] ^= 1 << at % 8
    assert lost == by_number.keys()  # the harness does hit the records


@pytest.mark.parametrize("target", ["itself", "the other", "far away"])
def test_a_chain_that_bites_its_tail_ends(tmp_path: Path, target: str) -> None:
    path = written(tmp_path, [record(1, b"a" * 30_000), record(2, b"b" * 30_000)])
    data = bytearray(path.read_bytes())
    pages = [number for number in range(2, len(data) // PAGE + 1) if data[(number - 1) * PAGE] == 0]
    for place, number in enumerate(pages):
        to = {"itself": number, "the other": pages[place - 1], "far away": 2**31}[target]
        data[(number - 1) * PAGE : (number - 1) * PAGE + 4] = to.to_bytes(4, "big")
    path.write_bytes(data)
    assert found(path) == {}


@given(data=st.binary(min_size=0, max_size=300))
def test_any_bytes_are_no_record(data: bytes) -> None:
    assert list(sqlite_rows.rows(data + b"\x05\x1a\x00" + data, [lambda _number: iter(())])) == []


class TestLog:
    @staticmethod
    def made(folder: Path) -> bytes:
        """Return a log of several transactions, taken while its file is open."""
        path = folder / RECORDS
        with closing(connect(path, RECORDS_SCHEMA)) as link:
            link.execute("PRAGMA wal_checkpoint(RESTART)")
            for number in range(1, 9):
                link.execute(INSERT, row(record(number, b"x" * 3000)))
            (folder / "base").write_bytes(path.read_bytes())
            return path.with_name(f"{RECORDS}-wal").read_bytes()

    @staticmethod
    def read(folder: Path, data: bytes) -> wal.Log:
        (folder / "log").write_bytes(data)
        return wal.read(folder / "log")

    def test_a_whole_one_is_taken_to_its_end(self, tmp_path: Path) -> None:
        log = self.read(tmp_path, self.made(tmp_path))
        assert not log.is_damaged
        assert log.accepted == len(log.pages) >= 8

    def test_sqlite_and_we_accept_the_same(self, tmp_path: Path) -> None:
        data = bytearray(self.made(tmp_path))
        damaged = 0
        for at in [3, 9, 18, 25, *range(33, len(data), 997)]:
            data[at] ^= 4
            log = self.read(tmp_path, data)
            copy = tmp_path / f"copy-{at}.db"
            copy.write_bytes((tmp_path / "base").read_bytes())
            copy.with_name(f"{copy.name}-wal").write_bytes(data)
            with closing(sqlite3.connect(copy)) as link:
                (_busy, taken, _moved) = link.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            assert max(taken, 0) == log.accepted, at
            assert log.is_damaged, at
            damaged += 1
            data[at] ^= 4
        assert damaged > 20

    def test_one_cut_short_in_a_transaction_is_not_damaged(self, tmp_path: Path) -> None:
        data = self.made(tmp_path)
        whole = self.read(tmp_path, data)
        for frames in range(len(whole.pages)):
            log = self.read(tmp_path, data[: wal.HEADER + frames * wal.FRAME + 100])
            assert not log.is_damaged
            assert len(log.pages) == frames

    def test_none_and_an_empty_one_hold_nothing(self, tmp_path: Path) -> None:
        assert wal.read(tmp_path / "none") == wal.Log()
        assert self.read(tmp_path, b"") == wal.Log()
