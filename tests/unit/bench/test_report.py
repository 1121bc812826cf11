from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import count

import pytest
from rich.console import Console

from lineside.contract import CameraSource, Request, Result
from lineside_bench.reporting.records import Exchange, Outage, PartRecord, SeenResult, WriteBack
from lineside_bench.reporting.report import RunFacts, has_faults, percentile, render, summarise

START = datetime(2026, 1, 1, tzinfo=UTC)
FACTS = RunFacts(rate=10, seed=7, stations=4, ready_s=5.0, engine={"server": "triton", "version": "2.51.0"})


def after(milliseconds: float) -> datetime:
    return START + timedelta(milliseconds=milliseconds)


class Run:
    """Parts that were all judged well, until a test spoils something."""

    def __init__(self) -> None:
        self.records: list[PartRecord] = []
        self.exchanges: dict[str, Exchange] = {}
        self._numbers = count()

    def part(self, truth: str = "good", verdict: str = "pass", *, latency_ms: float = 80) -> PartRecord:
        index = next(self._numbers)
        record = PartRecord(index, f"P-{index:06d}", truth, "station-1", 400, START)
        request = Request.new(
            model="surface-defect",
            source=CameraSource(camera="station-1"),
            context={"station": record.station, "part_id": record.part_id},
            time={"published": after(10)},
        )
        result = Result(
            id=f"r-{index}",
            request_id=request.id,
            status="ok",
            verdict=verdict,
            reason="made for the test",
            timing_ms={"queued": 1, "source": 2, "decode": 3, "infer": 4, "interpret": 5, "total": 20},
            context=request.context,
            time={"received": after(25)},
        )
        record.write_backs.append(WriteBack(after(latency_ms), verdict, 0.9, request.id, record.part_id))
        self.records.append(record)
        self.exchanges[request.id] = Exchange(request, [SeenResult(after(60), result)])
        return record

    def summary(self, facts: RunFacts = FACTS) -> dict:
        return summarise(self.records, self.exchanges, facts)


@pytest.fixture
def run() -> Run:
    run = Run()
    for _ in range(3):
        run.part()
    return run


def test_a_good_run_has_no_faults(run: Run) -> None:
    run.part("scratch", "fail")
    summary = run.summary()
    assert not has_faults(summary)
    assert (summary["parts"], summary["missing"], summary["duplicates"], summary["late"]) == (4, 0, 0, 0)
    assert summary["verdicts"] == {"pass": 3, "fail": 1, "unknown": 0}
    assert summary["accuracy"] == 1.0
    assert summary["latency_ms"] == {"p50": 80, "p95": 80, "p99": 80, "max": 80}
    assert summary["engine"]["server"] == "triton"
    assert summary["problems"] == []


def test_the_stages_tile_the_way_of_the_part(run: Run) -> None:
    p50 = {stage: quantiles["p50"] for stage, quantiles in run.summary()["stages_ms"].items()}
    assert p50 == {
        "trigger": 10,
        "queue": 16,
        "source": 2,
        "decode": 3,
        "infer": 4,
        "interpret": 5,
        "publish": 15,
        "write_back": 20,
    }


def test_a_part_without_verdict_is_missing_and_a_fault(run: Run) -> None:
    run.part().write_backs.clear()
    summary = run.summary()
    assert has_faults(summary)
    assert summary["missing"] == 1
    assert summary["accuracy"] == 0.75
    assert summary["problems"] == [{"part_id": "P-000003", "station": "station-1", "what": "no verdict"}]


def test_a_part_judged_twice_is_a_fault_even_with_the_same_verdict(run: Run) -> None:
    record = run.part()
    record.write_backs.append(record.write_backs[0])
    summary = run.summary()
    assert has_faults(summary)
    assert (summary["duplicates"], summary["wrong_write_backs"]) == (1, 0)


def spoil(record: PartRecord, **fields: object) -> None:
    written = record.write_backs[0]
    values = {name: getattr(written, name) for name in ("at", "verdict", "confidence", "request_id", "part_id")}
    record.write_backs[0] = WriteBack(**values | fields)


@pytest.mark.parametrize("verdict", ["pass", "unknown"])
def test_the_id_of_another_part_beside_a_verdict_is_wrong(run: Run, verdict: str) -> None:
    spoil(run.part(), part_id="P-000041", verdict=verdict)
    summary = run.summary()
    assert has_faults(summary)
    assert (summary["wrong_write_backs"], summary["duplicates"], summary["missing"]) == (1, 0, 0)
    assert summary["problems"][0]["what"] == "wrote the verdict of part 'P-000041'"


def test_another_verdict_than_the_published_one_is_wrong(run: Run) -> None:
    spoil(run.part("scratch", "fail"), verdict="pass")
    summary = run.summary()
    assert has_faults(summary)
    assert summary["wrong_write_backs"] == 1
    assert "wrote 'pass'; published: fail" in summary["problems"][0]["what"]


def test_the_verdict_of_another_part_is_wrong(run: Run) -> None:
    spoil(run.part(), request_id=run.records[0].write_backs[0].request_id)
    assert run.summary()["wrong_write_backs"] == 1


@pytest.mark.parametrize("verdict", ["pass", "fail"])
def test_a_verdict_that_nobody_published_is_wrong(run: Run, verdict: str) -> None:
    spoil(run.part(), request_id="unheard-of", verdict=verdict)
    assert run.summary()["wrong_write_backs"] == 1


@pytest.mark.parametrize("verdict", ["", "PASS", "maybe"])
def test_a_word_that_is_no_verdict_is_wrong(run: Run, verdict: str) -> None:
    spoil(run.part(), verdict=verdict)
    assert has_faults(run.summary())


def test_a_verdict_before_any_part_is_a_fault(run: Run) -> None:
    assert has_faults(run.summary(RunFacts(rate=10, seed=7, stations=4, ready_s=5, strays=1)))


def test_unknown_is_the_fail_safe_and_counts_against_accuracy_only(run: Run) -> None:
    spoil(run.part(), verdict="unknown")
    summary = run.summary()
    assert not has_faults(summary)
    assert summary["verdicts"]["unknown"] == 1
    assert summary["accuracy"] == 0.75


def test_what_went_unseen_while_the_broker_was_away_is_unverified_and_not_wrong(run: Run) -> None:
    record = run.part()
    run.exchanges.clear()
    summary = run.summary(RunFacts(rate=10, seed=7, stations=4, ready_s=5, outages=[Outage(after(50), after(70))]))
    assert (summary["wrong_write_backs"], summary["unverified"]) == (0, 4)
    assert record.verdict == "pass"


def test_an_outage_long_before_or_after_excuses_nothing(run: Run) -> None:
    run.exchanges.clear()
    outages = [Outage(after(-9000), after(-5000)), Outage(after(5000))]
    summary = run.summary(RunFacts(rate=10, seed=7, stations=4, ready_s=5, outages=outages))
    assert (summary["wrong_write_backs"], summary["unverified"]) == (3, 0)


@pytest.mark.parametrize(("latency_ms", "late"), [(400, 0), (401, 1)])
def test_a_verdict_after_the_deadline_is_late_named_and_a_fault(run: Run, latency_ms: float, late: int) -> None:
    run.part(latency_ms=latency_ms)
    summary = run.summary()
    assert summary["late"] == late
    assert [problem["what"][:22] for problem in summary["problems"]] == ["verdict after 401.0 ms"] * late
    assert has_faults(summary) == bool(late)


def test_an_error_report_is_shown_in_words(run: Run) -> None:
    run.part()
    facts = RunFacts(rate=10, seed=7, stations=4, ready_s=5, errors={"not-json": 1}, error_reports=["not-json: why"])
    console = Console(width=120, record=True, file=StringIO())
    console.print(render(run.summary(facts)))
    assert "error report not-json: why" in console.export_text()


def test_windows_of_samples_are_counted_for_themselves(run: Run) -> None:
    facts = RunFacts(rate=10, seed=7, stations=4, ready_s=5, windows_of="spindle")
    before = run.summary(facts)
    assert before["windows"] == {
        "asked": 0,
        "verdicts": {"pass": 0, "fail": 0, "unknown": 0},
        "unknown_because": {},
        "unanswered": 0,
    }
    for status, code, verdict in (("ok", None, "pass"), ("expired", "deadline-passed", "unknown"), (None, None, None)):
        request = Request.new(model="m", source=CameraSource(camera="c"), context={"station": "spindle"})
        results = []
        if status:
            result = Result(id="r", request_id=request.id, status=status, verdict=verdict, code=code, reason="x")
            results.append(SeenResult(after(1), result))
        run.exchanges[request.id] = Exchange(request, results)
    summary = run.summary(facts)
    assert summary["windows"] == {
        "asked": 3,
        "verdicts": {"pass": 1, "fail": 0, "unknown": 1},
        "unknown_because": {"deadline-passed": 1},
        "unanswered": 1,
    }
    assert {**summary, "windows": None} == {**before, "windows": None}
    console = Console(width=120)
    with console.capture() as shown:
        console.print(render(summary))
    assert "3 windows: pass 1, fail 0, unknown 1, unanswered 1" in shown.get()


def test_no_parts_give_no_figures_rather_than_zeroes() -> None:
    summary = summarise([], {}, FACTS)
    assert summary["accuracy"] is None
    assert summary["latency_ms"]["p99"] is None


@pytest.mark.parametrize(
    ("values", "share", "expected"), [([], 0.5, None), ([3], 0.99, 3), ([1, 2, 3, 4], 0.5, 2.5), ([4, 1], 1.0, 4)]
)
def test_percentile(values: list[float], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected


def test_the_table_names_the_faults(run: Run) -> None:
    run.part().write_backs.clear()
    console = Console(width=120, record=True, quiet=True)
    console.quiet = False
    with console.capture() as shown:
        console.print(render(run.summary()))
    assert "P-000003 at station-1: no verdict" in shown.get()
    assert "write-back" in shown.get()
    assert "below the goal" in shown.get()


def test_a_part_that_its_camera_did_not_show_is_a_fault(run: Run) -> None:
    run.part(verdict="unknown").not_shown = "nobody there"
    summary = run.summary()
    assert summary["not_shown"] == 1
    assert has_faults(summary)
    assert summary["problems"][0]["what"] == "its camera did not show it: nobody there"
    assert "not shown" in shown(summary)
    assert "not shown" not in shown(Run().summary())


def test_what_nobody_looked_at_is_said_and_no_fault(run: Run) -> None:
    summary = run.summary(RunFacts(rate=10, seed=7, stations=4, ready_s=None, evidence=None))
    assert (summary["evidence"], summary["ready_s"], summary["engine"]) == (None, None, {})
    assert not has_faults(summary)
    text = shown(summary)
    assert "not looked at" in text
    assert "ready after" not in text
    assert "did not say" in text


def shown(summary: dict) -> str:
    console = Console(width=120, file=StringIO())
    console.print(render(summary))
    return console.file.getvalue()
