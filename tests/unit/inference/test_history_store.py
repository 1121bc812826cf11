"""Each part is once in the history, whatever file it is in, and the first outcome stands."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lineside.contract import CameraSource, Finding, ModelRef, Outcome, Request, Result, Times, Timing, uuid7
from lineside_inference.dataplane.judged import Judged
from lineside_inference.history import folder as folders
from lineside_inference.history.columns import judged_half, told_half
from lineside_inference.history.query import HistoryQuery
from lineside_inference.history.reader import HistoryReader
from lineside_inference.history.retention import DAY_MS, Kept, is_due, too_many, too_old
from lineside_inference.history.store import Damaged, Halves, Store
from lineside_inference.interpret.thresholds import Thresholds

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOON_MS = round(NOON.timestamp() * 1000)
MIB = 1024 * 1024
IN_FORCE = Thresholds({"scratch": 0.6}, 0.75)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "history", max_bytes=64 * MIB, days=90)


def ask(part_id: str = "P-1", **more: Any) -> Request:
    context = {"station": "s1", "part_id": part_id}
    fields = {"model": "m", "source": CameraSource(camera="c"), "context": context, "time": {"received": NOON}} | more
    return Request.new(**fields)


def judge(request: Request, verdict: str = "fail", **more: Any) -> dict[str, Any]:
    fields = {
        "id": uuid7(),
        "request_id": request.id,
        "status": "ok",
        "verdict": verdict,
        "reason": "scratch 0.93 >= 0.60",
        "model": ModelRef(name="m", version="3", digest="sha256:ab"),
        "findings": (Finding(label="scratch", confidence=0.93),) if verdict == "fail" else (),
        "scores": {"scratch": 0.93, "good": 0.07},
        "timing_ms": Timing(queued=0.4, infer=3.1, total=7.8),
        "context": request.context,
    }
    return judged_half(
        Judged(request, Result.model_validate(fields | more)), IN_FORCE, NOON + timedelta(milliseconds=9)
    )


def told(request_id: str, verdict: str | None = "fail", **more: Any) -> dict[str, Any]:
    fields = {"trigger": "t", "model": "m", "station": "s1", "part_id": "P-1", "origin": "judged", "cause": "ok"}
    fields |= {"reason": "good", "written_at": NOON + timedelta(milliseconds=40), "deadline_ms": 400.0}
    document = fields | more | {"request_id": request_id, "verdict": verdict}
    return told_half(Outcome.model_validate(document))


def read(store: Store, request_id: str) -> dict[str, Any] | None:
    reader = HistoryReader(store._folder, query_s=10)
    try:
        return reader.find(request_id)
    finally:
        reader.close()


def every(store: Store, **filters: Any) -> list[dict[str, Any]]:
    reader = HistoryReader(store._folder, query_s=10)
    try:
        return reader.page(HistoryQuery(limit=1000, **filters)).parts
    finally:
        reader.close()


def test_a_part_is_written_with_all_that_is_known_of_it(store: Store) -> None:
    request = ask()
    assert store.write([Halves(request.id, judge(request), told(request.id))], NOON_MS) == ["written"]
    assert read(store, request.id) == {
        "number": 1,
        "request_id": request.id,
        "at": "2026-03-01T12:00:00.040Z",
        "station": "s1",
        "part_id": "P-1",
        "trigger": "t",
        "verdict": "fail",
        "told": True,
        "written": "fail",
        "judged": "fail",
        "origin": "judged",
        "cause": "ok",
        "reason": None,
        "write_error": None,
        "late": False,
        "asked_at": "2026-03-01T12:00:00.000Z",
        "judged_at": "2026-03-01T12:00:00.009Z",
        "written_at": "2026-03-01T12:00:00.040Z",
        "model": "m",
        "version": "3",
        "digest": "sha256:ab",
        "confidence": 0.93,
        "labels": ["scratch"],
        "findings": [{"label": "scratch", "confidence": 0.93}],
        "scores": {"scratch": 0.93, "good": 0.07},
        "thresholds": {"scratch": 0.6, "default": 0.75},
        "timing_ms": {"queued": 0.4, "infer": 3.1, "total": 7.8},
        "trigger_to_verdict_ms": None,
        "deadline_ms": 400.0,
        "evidence_id": None,
    }


@pytest.mark.parametrize("first", ["judged", "told"])
def test_the_halves_may_come_in_either_order(store: Store, first: str) -> None:
    one, other = ask("P-1"), ask("P-1")
    store.write([Halves(one.id, judge(one), told(one.id, "unknown", cause="deadline"))], NOON_MS)
    halves = [Halves(other.id, judge(other), None), Halves(other.id, None, told(other.id, "unknown", cause="deadline"))]
    for half in halves if first == "judged" else reversed(halves):
        store.write([half], NOON_MS)
    whole, built = read(store, one.id), read(store, other.id)
    assert whole is not None
    assert built is not None
    for name in whole.keys() - {"number", "request_id"}:
        assert built[name] == whole[name], name
    assert (whole["verdict"], whole["judged"], whole["cause"]) == ("unknown", "fail", "deadline")


def test_of_two_outcomes_the_first_stands_and_the_same_again_is_no_second(store: Store) -> None:
    request = ask()
    first, other = told(request.id, "fail"), told(request.id, "pass")
    assert store.write([Halves(request.id, None, first)], NOON_MS) == ["written"]
    assert store.write([Halves(request.id, None, first)], NOON_MS) == ["repeated"]
    assert store.write([Halves(request.id, None, other)], NOON_MS) == ["conflicting"]
    assert [part["written"] for part in every(store)] == ["fail"]


def test_an_outcome_told_again_at_another_time_is_the_same() -> None:
    early, late = (told("r-1", time=Times(published=NOON + timedelta(hours=hours))) for hours in (0, 2))
    assert early["mark"] == late["mark"] != told("r-1", "pass")["mark"]


@pytest.mark.parametrize(
    "request_id",
    [uuid7(), "hand-made", "0190a1b2-not-a-uuid", uuid7().upper()],
    ids=["ours", "hand-made", "begins like ours", "in capitals"],
)
def test_a_part_is_found_and_completed_in_the_file_of_another_day(store: Store, request_id: str) -> None:
    request = ask(id=request_id)
    store.write([Halves(request_id, judge(request), None)], NOON_MS)
    store.write([Halves(uuid7(), None, told(uuid7()))], NOON_MS + DAY_MS)
    assert len(folders.files(store._folder)) == 2
    assert store.write([Halves(request_id, None, told(request_id))], NOON_MS + DAY_MS) == ["completed"]
    store.close()  # as after a restart
    assert store.write([Halves(request_id, None, told(request_id))], NOON_MS + DAY_MS) == ["repeated"]
    assert len(every(store)) == 2
    found = read(store, request_id)
    assert found is not None
    assert (found["judged"], found["written"]) == ("fail", "fail")


def test_parts_keep_the_order_in_which_they_came_whatever_the_clock_says(store: Store) -> None:
    clocks = [0, 400, 400, -3, -3, -4, 0, 0]  # days: far ahead, back again, over midnight
    ids = [uuid7() for _ in clocks]
    for request_id, days in zip(ids, clocks, strict=True):
        moment = NOON + timedelta(days=days)
        store.write([Halves(request_id, None, told(request_id, written_at=moment))], NOON_MS + days * DAY_MS)
    assert [part["request_id"] for part in every(store)] == ids[::-1]
    assert [part["number"] for part in every(store)] == list(range(len(ids), 0, -1))
    within = every(store, start=NOON_MS - 4 * DAY_MS - 1, end=NOON_MS - 2 * DAY_MS)
    assert [part["request_id"] for part in within] == ids[5:2:-1]


def test_what_another_bridge_answers_has_no_verdict(store: Store) -> None:
    store.write([Halves("r-1", None, told("r-1", None, origin="refused", cause="not_owner"))], NOON_MS)
    assert [(part["verdict"], part["written"]) for part in every(store)] == [(None, None)]


def test_what_a_scanner_sends_is_kept_as_it_is(store: Store) -> None:
    strange = ["\x1d0104\x1e\x04", "零件-7", "a'b\";--", "x\x00y", "\u202egnp", "50%_", "=1+1", "\\x1d"]
    for name in strange:
        store.write([Halves(uuid7(), None, told(uuid7(), part_id=name))], NOON_MS)
    assert [part["part_id"] for part in every(store)] == strange[::-1]
    for name in strange:
        assert [part["part_id"] for part in every(store, part_id=name)] == [name]


def test_of_a_part_that_can_not_be_stored_the_error_is_no_error_of_the_disk(store: Store) -> None:
    good = Halves("r-1", None, told("r-1"))
    bad = Halves("r-2", None, told("r-2") | {"deadline_ms": 2**70})
    with pytest.raises(OverflowError):
        store.write([good, bad], NOON_MS)
    assert store.write([good], NOON_MS) == ["written"]


# Damage.


def test_a_damaged_file_is_named_and_set_aside_and_a_new_one_is_begun(store: Store) -> None:
    store.write([Halves("r-1", None, told("r-1"))], NOON_MS)
    store.close()
    (file,) = folders.files(store._folder)
    file.path.write_bytes(b"nothing of SQLite" * 1000)
    with pytest.raises(Damaged) as caught:
        store.write([Halves("r-2", None, told("r-2"))], NOON_MS)
    assert caught.value.path == file.path
    aside = store.set_aside(caught.value.path, NOON_MS)
    assert aside.name == file.path.name + ".damaged"
    assert store.write([Halves("r-2", None, told("r-2"))], NOON_MS) == ["written"]
    (part,) = every(store)
    assert part["number"] > file.first + 10**6  # numbers of what is lost are not given again


def test_a_page_of_a_file_overwritten_is_found_when_it_is_opened(store: Store) -> None:
    store.write([Halves(f"r-{n}", None, told(f"r-{n}")) for n in range(500)], NOON_MS)
    store.close()
    (file,) = folders.files(store._folder)
    with file.path.open("r+b") as out:
        out.seek(3 * 4096)
        out.write(b"\xff" * 4096 * 3)
    with pytest.raises(Damaged):
        store.open(NOON_MS)


def test_an_older_file_that_is_damaged_costs_a_query_that_file_alone(store: Store) -> None:
    for day in range(3):
        store.write([Halves(f"r-{day}", None, told(f"r-{day}"))], NOON_MS + day * DAY_MS)
    store.close()
    path = folders.files(store._folder)[1].path
    path.write_bytes(b"")
    reported: list[Path] = []
    reader = HistoryReader(store._folder, query_s=10, on_damage=reported.append)
    page = reader.page(HistoryQuery())
    reader.close()
    assert [part["request_id"] for part in page.parts] == ["r-2", "r-0"]
    assert reported == [path]
    assert path.name in page.unreadable[0]


def test_two_processes_do_not_keep_one_history(store: Store, tmp_path: Path) -> None:
    store.open(NOON_MS)
    other = Store(tmp_path / "history", max_bytes=64 * MIB, days=90)
    with pytest.raises(folders.InUse, match=r"inference\.history\.folder"):
        other.open(NOON_MS)
    store.close()
    other.open(NOON_MS)
    other.close()


def test_a_locked_file_is_no_damage(store: Store) -> None:
    store.write([Halves("r-1", None, told("r-1"))], NOON_MS)
    (file,) = folders.files(store._folder)
    with sqlite3.connect(file.path, isolation_level=None) as link:
        link.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            store.write([Halves("r-2", None, told("r-2"))], NOON_MS)
        link.execute("ROLLBACK")
    link.close()
    assert store.write([Halves("r-2", None, told("r-2"))], NOON_MS) == ["written"]


# Bounds.


def test_the_oldest_files_go_by_bytes_and_the_newest_parts_stay(tmp_path: Path) -> None:
    store = Store(tmp_path, max_bytes=8 * MIB, days=90)
    long = "x" * 300
    for first in range(0, 12_000, 3000):
        ids = [f"r-{first + n}" for n in range(3000)]
        store.write(
            [Halves(each, None, told(each, "unknown", cause="c", reason=long, write_error=long)) for each in ids],
            NOON_MS,
        )
    gone = store.forget(NOON_MS, by_age=True)
    assert gone
    assert sum(file.bytes for file in folders.files(tmp_path)) <= 8 * MIB
    parts = every(store)
    assert parts[0]["request_id"] == "r-11999"
    store.close()


def test_what_is_too_old_goes_by_whole_files_where_the_clock_can_be_trusted(store: Store) -> None:
    for day in (0, 1, 89, 90, 91):
        moment = NOON + timedelta(days=day)
        store.write([Halves(f"r-{day}", None, told(f"r-{day}", written_at=moment))], NOON_MS + day * DAY_MS)
    now = NOON_MS + 91 * DAY_MS + 1000
    assert store.forget(now, by_age=False) == []
    assert len(store.forget(now, by_age=True)) == 2
    assert [part["request_id"] for part in every(store)] == ["r-91", "r-90", "r-89"]


def test_the_plan_of_retention() -> None:
    files = [Kept(Path(str(n)), 10, n * DAY_MS) for n in range(4)]
    assert too_old(files, now_ms=100 * DAY_MS, days=1) == [Path("0"), Path("1"), Path("2")]  # never the one in use
    assert too_old(files, now_ms=3 * DAY_MS, days=2) == [Path("0")]
    assert too_old([Kept(Path("x"), 1, None), *files], now_ms=3 * DAY_MS, days=2) == [Path("0")]
    assert too_many(files, max_bytes=40) == []
    assert too_many(files, max_bytes=25) == [Path("0"), Path("1")]
    assert too_many(files, max_bytes=0) == [Path("0"), Path("1"), Path("2")]
    assert not is_due(day=5, first_day=5, bytes_used=0, max_bytes=160)
    assert not is_due(day=4, first_day=5, bytes_used=0, max_bytes=160)
    assert is_due(day=6, first_day=5, bytes_used=0, max_bytes=160)
    assert is_due(day=5, first_day=5, bytes_used=10, max_bytes=160)
