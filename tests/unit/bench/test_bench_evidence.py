import json
import os
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from lineside.contract import Context, Result, Times
from lineside_bench.reporting.evidence import EvidenceAccount, EvidenceFiles, account, reported, settled
from lineside_bench.reporting.records import Exchange, SeenResult
from lineside_bench.reporting.report import RunFacts, has_faults, render, summarise

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def exchange(name: str, verdict: str = "fail", *, status: str = "ok", kept: bool = True) -> Exchange:
    result = Result(
        id=f"result-{name}",
        request_id=name,
        status=status,
        verdict=verdict,
        reason="made for the test",
        evidence_id=name if kept else None,
        context=Context(),
        time=Times(),
    )
    return Exchange(None, [SeenResult(NOW, result)])


def exchanges(*made: Exchange) -> dict[str, Exchange]:
    return {each.results[0].result.request_id: each for each in made}


def write(folder: Path, name: str, *events: str, reference: str | None = None) -> None:
    lines = []
    for event in events:
        item = {"name": "image", "data-ref": reference} if reference else {"name": "image", "data": ""}
        lines.append(json.dumps({"deviceFleetAuxiliaryInputs": [item], "eventMetadata": {"eventId": event}}))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{line}\n" for line in lines))


def test_all_that_was_kept_is_in_the_files() -> None:
    seen = exchanges(exchange("a"), exchange("b"), exchange("c", "pass", kept=False))
    assert account(seen, {"a": 1, "b": 1}) == EvidenceAccount(captured=2, delivered=2)


def test_what_was_reported_as_kept_and_is_in_no_file_is_lost() -> None:
    found = account(exchanges(exchange("a"), exchange("b", "pass")), {"a": 1})
    assert (found.captured, found.delivered, found.lost) == (2, 1, ("b",))


@pytest.mark.parametrize(
    ("status", "verdict"), [("ok", "fail"), ("ok", "unknown"), ("failed", "unknown"), ("expired", "unknown")]
)
def test_what_the_policy_wants_and_nobody_kept_is_missed(status: str, verdict: str) -> None:
    found = account(exchanges(exchange("a", verdict, status=status, kept=False)), {})
    assert (found.missed, found.lost) == (("a",), ())


@pytest.mark.parametrize("status", ["rejected", "disabled"])
def test_what_was_not_judged_is_no_evidence(status: str) -> None:
    assert account(exchanges(exchange("a", "unknown", status=status, kept=False)), {}) == EvidenceAccount()


def test_what_came_later_than_the_answer_is_not_missed() -> None:
    assert account(exchanges(exchange("a", kept=False)), {"a": 1}) == EvidenceAccount(captured=1, delivered=1)


def test_evidence_that_is_there_twice_is_counted() -> None:
    assert account(exchanges(exchange("a")), {"a": 3}).repeated == 2


def test_only_results_with_an_evidence_id_are_reported_as_kept() -> None:
    assert reported(exchanges(exchange("a"), exchange("b", kept=False))) == {"a"}


def test_files_are_found_in_every_folder_and_read_once(tmp_path: Path) -> None:
    files = EvidenceFiles(tmp_path)
    write(tmp_path / "line" / "2026", "one.jsonl", "a", "b")
    files.read()
    write(tmp_path / "line" / "2027", "two.jsonl", "b", "c")
    (tmp_path / "line" / "2027" / ".three.jsonl.part").write_text("half a li")
    files.read()
    files.read()
    assert files.events == {"a": 1, "b": 2, "c": 1}


def test_a_record_whose_object_is_not_there_does_not_count(tmp_path: Path) -> None:
    image = tmp_path / "an image.jpg"
    image.write_bytes(b"jpeg")
    write(tmp_path, "one.jsonl", "whole", reference=image.as_uri())
    write(tmp_path, "two.jsonl", "half", reference=(tmp_path / "gone.jpg").as_uri())
    files = EvidenceFiles(tmp_path)
    files.read()
    assert set(files.events) == {"whole"}


def shown(evidence: EvidenceAccount, seen: dict[str, Exchange]) -> tuple[dict, str]:
    summary = summarise([], seen, RunFacts(rate=1, seed=7, stations=1, ready_s=1.0, evidence=evidence))
    text = StringIO()
    Console(file=text, width=120).print(render(summary))
    return summary, text.getvalue()


def test_the_report_has_a_line_about_evidence() -> None:
    summary, text = shown(EvidenceAccount(captured=12, delivered=12), {})
    assert not has_faults(summary)
    assert summary["evidence"] == {"captured": 12, "delivered": 12, "repeated": 0, "lost": 0, "missed": 0}
    assert "captured 12, delivered 12, lost 0\n" in "\n".join(line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize(
    "evidence", [EvidenceAccount(captured=1, lost=("a",)), EvidenceAccount(captured=1, delivered=1, repeated=1)]
)
def test_lost_or_repeated_evidence_is_a_fault(evidence: EvidenceAccount) -> None:
    summary, _text = shown(evidence, exchanges(exchange("a")))
    assert has_faults(summary)


def test_lost_evidence_is_named_among_the_problems() -> None:
    summary, text = shown(EvidenceAccount(captured=1, lost=("a",)), exchanges(exchange("a")))
    assert [problem["what"] for problem in summary["problems"]] == [
        "its evidence, a, was reported as kept and is in no file"
    ]
    assert "lost 1" in text


def test_missed_evidence_is_said_and_a_fault() -> None:
    summary, text = shown(EvidenceAccount(missed=("a",)), exchanges(exchange("a", kept=False)))
    assert has_faults(summary)
    assert "missed 1" in text


async def test_of_a_run_only_its_own_requests_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", "mine", "of-a-part-before")
    mine = exchanges(exchange("mine"))
    assert (await settled(EvidenceFiles(tmp_path), lambda: mine, only_seen=True)).delivered == 1
    assert (await settled(EvidenceFiles(tmp_path), lambda: mine)).delivered == 2


def test_files_from_before_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path, "old.jsonl", "old")
    os.utime(tmp_path / "old.jsonl", (100, 100))
    write(tmp_path, "new.jsonl", "new")
    files = EvidenceFiles(tmp_path, since=200)
    files.read()
    assert list(files.events) == ["new"]
