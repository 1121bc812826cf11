"""What the PLC got is what is shown, counted and kept of a part, in whichever order it and the Result come."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from lineside.contract import CameraSource, Capture, Outcome, Request, Result, to_json, uuid7
from lineside.edge_manager.settings import EdgeManagerSettings
from lineside_inference.capture.decide import Counts, Decision, decide, decide_outcome
from lineside_inference.capture.record_builder import RecordBuilder, Seen
from lineside_inference.dataplane.judged import Judged
from lineside_inference.imaging.decode import decode_all
from lineside_inference.imaging.encode import encode
from lineside_inference.live.live_feed import LiveFeed
from lineside_inference.settings import PageSettings
from tests.support.image_files import plain_jpeg
from tests.support.page_events import read_events

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Line:
    """A feed, its clock, and who asks and tells it."""

    def __init__(self, **bounds: int) -> None:
        self.now = NOON
        self.feed = LiveFeed(PageSettings.model_validate(bounds), CollectorRegistry(), now=lambda: self.now)

    def ask(self, part_id: str = "P-1", station: str = "s1") -> Request:
        source, context = CameraSource(camera="c"), {"station": station, "part_id": part_id}
        return Request.new(model="m", source=source, context=context)

    def judge(self, request: Request, verdict: str = "pass", status: str = "ok", image: bytes | None = None) -> Result:
        fields = {"status": status, "verdict": verdict, "reason": "because", "context": request.context}
        result = Result.model_validate({"id": uuid7(), "request_id": request.id, "timing_ms": {"total": 5.0}} | fields)
        self.feed.offer(Judged(request, result, image=image), to_json(result))
        return result

    def shown(self) -> list[tuple[str, str | None, str | None]]:
        """Return verdict, what was judged, and what the PLC got of each part, newest first."""
        parts = [json.loads(part.body) for part in self.feed.parts(limit=100)[0]]
        return [
            (it["verdict"], it["result"] and it["result"]["verdict"], it["outcome"] and it["outcome"]["verdict"])
            for it in parts
        ]

    def counts(self) -> dict[str, int]:
        return {name: n for name, n in self.feed.counts.since(None).items() if n}


def told(request_id: str = "r-1", verdict: str | None = "pass", **more: Any) -> Outcome:
    fields = {"trigger": "t", "model": "m", "station": "s1", "part_id": "P-1", "origin": "judged", "cause": "ok"}
    document = fields | {"reason": "good"} | more | {"request_id": request_id, "verdict": verdict}
    return Outcome.model_validate(document | {"schema": "lineside/outcome/1"})


LATE = {"origin": "deadline", "cause": "deadline", "reason": "no verdict 20 ms before the deadline"}


def test_the_plcs_verdict_counts_and_the_judged_one_stays_beside_it() -> None:
    line = Line()
    request = line.ask()
    line.judge(request, "pass")
    assert (line.shown(), line.counts()) == ([("pass", "pass", None)], {"passed": 1})
    assert line.feed.conclude(told(request.id, "unknown", **LATE))
    assert (line.shown(), line.counts()) == ([("unknown", "pass", "unknown")], {"unknown": 1})


def test_a_verdict_that_arrived_changes_nothing_but_that_it_is_known() -> None:
    line = Line()
    request = line.ask()
    line.judge(request, "fail")
    line.feed.conclude(told(request.id, "fail"))
    assert (line.shown(), line.counts()) == ([("fail", "fail", "fail")], {"failed": 1})


def test_a_result_that_comes_after_the_plc_was_answered_does_not_change_what_it_got() -> None:
    line = Line()
    request = line.ask()
    line.feed.conclude(told(request.id, "unknown", **LATE))
    line.judge(request, "pass")
    assert (line.shown(), line.counts()) == ([("unknown", "pass", "unknown")], {"unknown": 1})


def test_parts_that_nobody_was_asked_about_appear_and_count() -> None:
    line = Line()
    line.feed.conclude(told("r-1", "unknown", asked=False, origin="disabled", cause="paused", reason="paused"))
    line.feed.conclude(told("r-2", None, origin="refused", cause="superseded", write_error="a newer part came"))
    assert line.shown() == [("unknown", None, None), ("unknown", None, "unknown")]
    assert line.counts() == {"disabled": 1, "unknown": 1}


@pytest.mark.parametrize("cause", ["not_owner", "answered_elsewhere"])
def test_what_another_bridge_answers_counts_by_that_ones_word_alone(cause: str) -> None:
    line = Line()
    ours, theirs = line.ask("P-1"), line.ask("P-1")
    for request in (ours, theirs):
        line.judge(request, "pass")
    spare = told(ours.id, None, origin="refused", cause=cause, write_error="another bridge has this station")
    line.feed.conclude(spare)
    line.feed.conclude(told(theirs.id, "pass"))
    assert line.counts() == {"passed": 1, "disabled": 1}
    assert decide_outcome(Capture(), spare) is None


def test_an_outcome_told_again_changes_nothing() -> None:
    line = Line()
    for verdict in ("pass", "pass", "fail"):
        line.feed.conclude(told("r-1", verdict))
    assert (line.shown(), line.counts()) == ([("pass", None, "pass")], {"passed": 1})


def test_a_part_is_counted_as_what_the_plc_got_in_the_minute_in_which_it_was_judged() -> None:
    line = Line()
    request = line.ask()
    line.judge(request, "pass")
    line.now += timedelta(minutes=2)
    line.feed.conclude(told(request.id, "unknown", **LATE))
    assert line.feed.counts.since(line.now) == {"passed": 0, "failed": 0, "unknown": 0, "disabled": 0}
    assert line.counts() == {"unknown": 1}


def test_an_id_used_again_for_something_else_touches_no_part() -> None:
    line = Line()
    request = line.ask()
    line.judge(request, "pass")
    line.judge(request, "unknown", status="rejected")
    line.feed.conclude(told(request.id, "pass"))
    assert line.shown() == [("unknown", "unknown", None), ("pass", "pass", "pass")]


def test_outcomes_are_bounded_as_parts_are() -> None:
    line = Line(parts=5)
    for number in range(50):
        line.feed.conclude(told(f"r-{number}"))
    assert len(line.shown()) == 5
    assert len(line.feed._by_request) == 5
    assert line.feed.outcome_of("r-0") is None


async def test_a_page_is_told_of_the_change_and_of_the_one_that_it_missed() -> None:
    line = Line()
    first, second = line.ask("P-1"), line.ask("P-2")
    with line.feed.watch("me") as watcher:
        await read_events(watcher)
        line.judge(first, "pass")
        line.judge(second, "pass")
        _, (_, last, _) = await read_events(watcher)
        line.feed.conclude(told(first.id, "unknown", **LATE))
        ((event, _, part),) = await read_events(watcher)
    assert (event, part["number"], part["verdict"], part["outcome"]["cause"]) == ("part", 1, "unknown", "deadline")
    with line.feed.watch("me", after=last) as watcher:
        greeting, (_, _, again) = await read_events(watcher)
    assert greeting[2]["resumed"] is True
    assert (again["number"], again["verdict"]) == (1, "unknown")


@pytest.mark.parametrize("name", ["request", "result", "part"])
def test_a_part_is_found_by_each_of_its_names(name: str) -> None:
    line = Line()
    request = line.ask("P-7")
    result = line.judge(request, image=plain_jpeg())
    line.judge(line.ask("P-8"))
    asked = {"request": request.id, "result": result.id, "part": "P-7"}[name]
    found, image = line.feed.find(asked), line.feed.image(asked)
    assert found is not None
    assert json.loads(found.body)["id"] == request.id
    assert image is not None
    assert [part.request_id for part in line.feed.parts(limit=9, part_id="P-7")[0]] == [request.id]
    assert line.feed.parts(limit=9, station="other")[0] == []


@pytest.mark.parametrize(
    ("outcome", "always", "expected"),
    [
        (told(verdict="pass"), ("fail", "unknown"), None),
        (told(verdict="unknown"), ("fail", "unknown"), None),  # the inference service's own, which keeps it
        (told(verdict="unknown", **LATE), ("fail", "unknown"), ("always", "the PLC got unknown (deadline)")),
        (told(verdict=None, cause="gone"), ("fail", "unknown"), ("always", "the PLC got no verdict (gone)")),
        (
            told(verdict="unknown", origin="refused", cause="window"),
            ("unknown",),
            ("always", "the PLC got unknown (window)"),
        ),
        (
            told(verdict="unknown", origin="disabled", cause="paused"),
            ("unknown",),
            ("sampled", "the PLC got unknown (paused)"),
        ),
        (told(verdict="unknown", **LATE), ("fail",), None),
    ],
)
def test_what_the_bridge_decided_is_kept(
    outcome: Outcome, always: tuple[Any, ...], expected: tuple[Any, str] | None
) -> None:
    decision = decide_outcome(Capture(always=always), outcome)
    assert decision == (Decision(*expected) if expected else None)


def test_a_pass_that_came_too_late_is_kept_with_its_picture() -> None:
    line = Line()
    request = line.ask()
    result = line.judge(request, "pass")
    late = told(request.id, "unknown", **LATE)
    assert decide(Capture(), request, result, Counts(1, 0)) is None
    assert decide(Capture(), request, result, Counts(1, 0), told(request.id, "pass")) is None
    decision = decide(Capture(), request, result, Counts(1, 0), late)
    assert decision == Decision("always", "the PLC got unknown (deadline)")


def test_the_record_of_an_outcome_has_the_picture_masked_and_stands_beside_the_requests() -> None:
    builder = RecordBuilder(
        "box", EdgeManagerSettings(CaptureDataBase64EmbedLimit=1), {"c": ((0.0, 0.0, 1.0, 1.0),)}, max_pixels=10**6
    )
    outcome = told("r-1", "unknown", written_at=NOON, **LATE)
    image = encode(decode_all(plain_jpeg(), max_pixels=10**6), "png")
    seen = Seen(verdict="pass", model_version="3", camera="c", image=image)
    entry = builder.outcome(outcome, seen, Decision("always", "why"), 0.25)
    assert entry.key == "r-1-outcome"
    record = json.loads(entry.body)
    names = ("requestId", "verdict", "origin", "judged", "modelVersion", "fairShare")
    assert {name: record["eventMetadata"][name] for name in names} == {
        "fairShare": 0.25,
        "requestId": "r-1",
        "verdict": "unknown",
        "origin": "deadline",
        "judged": "pass",
        "modelVersion": "3",
    }
    picture = next(blob for blob in entry.blobs if blob.name.endswith(".png"))
    assert decode_all(picture.data, max_pixels=10**6).max() == 0
    assert builder.outcome(told("x" * 128, None), Seen(), Decision("always", "why"), 0.25).key == "x" * 120 + "-outcome"
