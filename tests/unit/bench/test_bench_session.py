import asyncio
import io
import json
import os
import signal
from pathlib import Path

import pytest
from rich.console import Console

from lineside.contract import utc_now
from lineside_bench import exit_codes
from lineside_bench.errors import BenchError
from lineside_bench.options import Options
from lineside_bench.processes.interrupts import Interrupts
from lineside_bench.reporting import json_file, progress
from lineside_bench.reporting.records import PartRecord, WriteBack
from lineside_bench.reporting.tally import Tally
from lineside_bench.runner import run_line
from lineside_bench.runner.checks import _orphaned
from tests.support.waiting import until


def judged(verdict: str | None) -> PartRecord:
    now = utc_now()
    record = PartRecord(0, "P-000000", "good", "station-1", 400, now)
    if verdict:
        record.write_backs.append(WriteBack(now, verdict, 0.9, "r", record.part_id))
    return record


def test_the_progress_line_counts_verdicts_and_what_is_missing() -> None:
    tally = Tally()
    for verdict in ("pass", "pass", "fail", None):
        tally.take(judged(verdict))
    line = progress.as_line(tally, 10, 2.0)
    assert line.startswith("parts 4/10, rate 2.0/s, pass 2, fail 1, unknown 0, latency p50 0 ms")
    assert line.endswith("missing 1")


async def test_lines_go_on_while_a_run_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_PERIOD_S", 0.01)
    out = io.StringIO()
    tally = Tally()
    tally.take(judged("pass"))
    async with progress.shown(Console(file=out), tally, 9):
        await until(lambda: out.getvalue().count("parts 1/9") >= 3)


async def test_an_idle_endless_line_says_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "ENDLESS_LINE_PERIOD_S", 0.01)
    out = io.StringIO()
    tally = Tally()
    async with progress.shown(Console(file=out), tally, None):
        for line in ("parts 1,", "parts 2,"):
            tally.take(judged("pass"))
            await until(lambda line=line: line in out.getvalue())
    assert out.getvalue().count("parts 1,") == 1


async def test_a_signal_cancels_what_runs_and_is_remembered() -> None:
    said: list[str] = []
    interrupts = Interrupts(said.append)
    cleaned = asyncio.Event()

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    with interrupts.caught():
        assert not await interrupts.until(work())
        os.kill(os.getpid(), signal.SIGINT)  # a second one changes nothing
        await asyncio.sleep(0)
    assert cleaned.is_set()
    assert interrupts.number == signal.SIGTERM
    assert len(said) == 1


async def test_work_that_ends_by_itself_passes_its_error_on() -> None:
    async def fails() -> None:
        raise BenchError("it broke", remedy="Mend it")

    interrupts = Interrupts(lambda _text: None)
    with interrupts.caught():
        assert await interrupts.until(asyncio.sleep(0))
        with pytest.raises(BenchError, match="it broke"):
            await interrupts.until(fails())
    assert interrupts.number == 0


def test_a_file_is_written_whole_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    json_file.write_json(path, {"ready": True})
    json_file.write_json(path, {"ready": False})
    assert json.loads(path.read_text()) == {"ready": False}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["", "missing/out.json"])
def test_a_file_that_cannot_be_written_is_named_before_anything_starts(tmp_path: Path, name: str) -> None:
    with pytest.raises(BenchError, match="--json"):
        json_file.check_writable(tmp_path / name, "--json")


def test_a_run_that_cannot_start_ends_with_2_and_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_line.bench(Options(stations=99)) == exit_codes.CANNOT_START
    assert "--stations 99 is out of range. Give a number from 1 to 32." in capsys.readouterr().err


def test_only_the_shared_memory_of_dead_benches_is_orphaned() -> None:
    assert _orphaned(f"lineside_bench_{os.getpid()}_0a1b2c_region") is None
    assert _orphaned("lineside_bench_99999999_0a1b2c_region") == "lineside_bench_99999999_0a1b2c_"
    assert _orphaned("somebody-elses") is None
