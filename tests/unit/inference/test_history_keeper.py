"""The queue of the history: what is told is on the disk before it is answered, and no disk holds up the line."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from lineside.connections import State
from lineside.contract import TRY_STATION, Outcome, Result, uuid7
from lineside.service import Service
from lineside_inference.dataplane.judged import Judged
from lineside_inference.history import folder as folders
from lineside_inference.history import keeper as keeping
from lineside_inference.history.keeper import HistoryKeeper
from lineside_inference.history.query import HistoryQuery
from lineside_inference.history.reader import HistoryReader
from lineside_inference.history.store import Store
from lineside_inference.settings import HistorySettings
from tests.support.waiting import until
from tests.unit.inference.test_history_store import ask


def told(request_id: str, verdict: str = "pass", **more: Any) -> Outcome:
    fields = {"trigger": "t", "model": "m", "station": "s1", "origin": "judged", "cause": "ok", "reason": "good"}
    return Outcome.model_validate(fields | more | {"request_id": request_id, "verdict": verdict})


@asynccontextmanager
async def kept(folder: Path | None, **settings: Any) -> AsyncIterator[HistoryKeeper]:
    keeper = HistoryKeeper(HistorySettings(folder=folder, **settings), Service("inference"))
    await keeper.start()
    try:
        yield keeper
    finally:
        await keeper.close()


def page(folder: Path) -> list[dict[str, Any]]:
    reader = HistoryReader(folder, query_s=10)
    try:
        return reader.page(HistoryQuery(limit=1000)).parts
    finally:
        reader.close()


def count(keeper: HistoryKeeper, kind: str) -> float:
    assert keeper.metrics is not None
    return keeper.metrics._parts.labels(kind)._value.get()


def state(keeper: HistoryKeeper) -> tuple[State, str]:
    assert keeper.link is not None
    return keeper.link.state, keeper.link.detail


async def test_what_the_plc_got_is_on_the_disk_when_it_is_answered(tmp_path: Path) -> None:
    async with kept(tmp_path) as keeper:
        await asyncio.gather(*(keeper.conclude(told(f"r-{number}")) for number in range(50)))
        assert {part["request_id"] for part in page(tmp_path)} == {f"r-{number}" for number in range(50)}
        assert (count(keeper, "written"), count(keeper, "unwaited")) == (50, 0)


async def test_what_was_judged_and_what_the_plc_got_become_one_row(tmp_path: Path) -> None:
    async with kept(tmp_path) as keeper:
        request = ask()
        result = Result(
            id=uuid7(), request_id=request.id, status="ok", verdict="fail", reason="r", scores={"good": 0.1}
        )
        keeper.judged(Judged(request, result), None)
        await keeper.conclude(told(request.id, "fail"))
        (part,) = page(tmp_path)
        assert (part["judged"], part["written"], part["scores"]) == ("fail", "fail", {"good": 0.1})


async def test_what_nobody_tells_the_outcome_of_is_written_too_and_a_trial_is_not(tmp_path: Path) -> None:
    async with kept(tmp_path) as keeper:
        for station in ("s1", TRY_STATION):
            request = ask(context={"station": station, "part_id": "P"})
            result = Result(id=uuid7(), request_id=request.id, status="ok", verdict="pass", reason="r")
            keeper.judged(Judged(request, result), None)
        await until(lambda: bool(page(tmp_path)), "the part")
        (part,) = page(tmp_path)
        assert (part["station"], part["verdict"], part["told"], part["written"]) == ("s1", "pass", False, None)


async def test_a_second_outcome_is_counted_and_the_same_again_too(tmp_path: Path) -> None:
    async with kept(tmp_path) as keeper:
        await asyncio.gather(*(keeper.conclude(told("r-1", verdict)) for verdict in ("pass", "pass", "fail")))
        await keeper.conclude(told("r-1", "fail"))
        assert [part["written"] for part in page(tmp_path)] == ["pass"]
        assert (count(keeper, "repeated"), count(keeper, "conflicting")) == (1, 2)


async def test_without_a_folder_there_is_none(tmp_path: Path) -> None:
    async with kept(None) as keeper:
        await keeper.conclude(told("r-1"))
        assert not keeper.is_on
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240 - a test


async def test_what_waits_at_the_stop_is_written(tmp_path: Path) -> None:
    async with kept(tmp_path) as keeper:
        waiting = asyncio.create_task(keeper.conclude(told("r-1")))
        await asyncio.sleep(0)
    await waiting
    assert len(page(tmp_path)) == 1


async def test_a_folder_that_cannot_be_used_is_said_and_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "history"
    folder.write_text("a file")
    async with kept(folder) as keeper:
        await keeper.conclude(told("r-1"))  # it is answered: the line goes on
        assert state(keeper)[0] in {State.BACKOFF, State.CONNECTING}
        assert count(keeper, "unwaited") == 1
        folder.unlink()
        await until(lambda: state(keeper)[0] is State.ONLINE, "the history is back")
        await until(lambda: bool(page(folder)), "what waited is written")


async def test_a_locked_database_holds_up_nobody_and_nothing_is_lost(tmp_path: Path) -> None:
    async with kept(tmp_path) as keeper:
        await keeper.conclude(told("r-0"))
        (file,) = folders.files(tmp_path)
        link = sqlite3.connect(file.path, isolation_level=None)
        link.execute("BEGIN IMMEDIATE")
        await asyncio.gather(*(keeper.conclude(told(f"r-{number}")) for number in range(1, 20)))
        await until(lambda: state(keeper)[0] is State.BACKOFF, "it is said")
        assert "locked" in state(keeper)[1]
        link.execute("ROLLBACK")
        link.close()
        await until(lambda: len(page(tmp_path)) == 20, "all are written")
        await keeper.conclude(told("r-20"))
        assert count(keeper, "written") == 21


async def test_a_slow_disk_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "WAIT_S", 0.05)
    async with kept(tmp_path) as keeper:
        assert keeper._store is not None
        hangs, real = asyncio.Event(), keeper._store.write
        loop = asyncio.get_running_loop()

        def slow(*given: Any) -> Any:
            asyncio.run_coroutine_threadsafe(hangs.wait(), loop).result()
            return real(*given)

        monkeypatch.setattr(keeper._store, "write", slow)
        for number in range(5):
            await keeper.conclude(told(f"r-{number}"))
        assert count(keeper, "unwaited") == 5
        assert not keeper._is_waited_for
        monkeypatch.setattr(keeping, "WAIT_S", 30.0)
        hangs.set()
        await until(lambda: count(keeper, "written") == 5, "all are written")
        await keeper.conclude(told("r-5"))
        assert count(keeper, "unwaited") == 5  # it is waited for again


async def test_what_does_not_fit_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_given: Any) -> Any:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Store, "write", full)
    async with kept(tmp_path, queue=16) as keeper:
        for number in range(20):
            await keeper.conclude(told(f"r-{number}"))
        assert count(keeper, "queue_full") == 4
        await until(lambda: "disk is full" in state(keeper)[1], lambda: state(keeper))
        monkeypatch.undo()
        await until(lambda: len(page(tmp_path)) == 16, "what waited is written")


async def test_one_part_that_cannot_be_written_costs_no_other(tmp_path: Path) -> None:
    async with kept(tmp_path) as keeper:
        strange = told("r-1", deadline_ms=1.0)
        keeper._put("r-2", None, {**keeping.told_half(strange), "deadline_ms": 2**70}, None)
        await keeper.conclude(strange)
        await until(lambda: count(keeper, "unwritable") == 1, "it is counted")
        assert [part["request_id"] for part in page(tmp_path)] == ["r-1"]


async def test_a_damaged_file_is_set_aside_and_said_everywhere(tmp_path: Path) -> None:
    async with kept(tmp_path) as keeper:
        await keeper.conclude(told("r-0"))
    (file,) = folders.files(tmp_path)
    file.path.write_bytes(b"no SQLite" * 3000)
    async with kept(tmp_path) as keeper:
        await keeper.conclude(told("r-1"))
        assert [part["request_id"] for part in page(tmp_path)] == ["r-1"]
        assert state(keeper)[0] is State.ONLINE
        assert f"{file.path.name}.damaged" in state(keeper)[1]
        assert keeper.metrics is not None
        assert keeper.metrics.damaged._value.get() == 1


async def test_damage_that_a_reader_finds_is_set_aside_by_the_writer(tmp_path: Path) -> None:
    async with kept(tmp_path) as keeper:
        await keeper.conclude(told("r-0"))
        (file,) = folders.files(tmp_path)
        older = folders.path_of(tmp_path, 0)
        shutil.copy(file.path, older)
        older.write_bytes(b"\xff" * 9000)
        reader = HistoryReader(tmp_path, query_s=10, on_damage=keeper.report_damage)
        assert len(reader.page(HistoryQuery()).parts) == 1
        reader.close()
        await until(lambda: not older.exists(), "it is set aside")
        assert [path.name for path in folders.damaged(tmp_path)] == [f"{older.name}.damaged"]


async def test_a_kill_before_the_commit_lets_the_outcome_come_again(tmp_path: Path) -> None:
    """Who tells an outcome hears nothing before it is written: with a disk that hangs there is no answer yet."""
    async with kept(tmp_path) as keeper:
        told_task = asyncio.create_task(keeper.conclude(told("r-1")))
        await asyncio.sleep(0)
        assert not told_task.done()
        with suppress(TimeoutError):
            await told_task
        assert page(tmp_path)
