import io

import pytest
from rich.console import Console

from lineside.contract import utc_now
from lineside_bench.reporting import progress
from lineside_bench.reporting.records import PartRecord, WriteBack
from lineside_bench.reporting.tally import Tally
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
