"""Which results and error reports are taken for the answer to a request that waits."""

import hashlib
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from lineside.bus.memory import MemoryMessage, MemorySubscription
from lineside.contract import CameraSource, Context, ErrorReport, ModelRef, Request, Result, to_json, uuid7
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.results import ResultRouter
from lineside_opcua_bridge.station.parts import Answer, Part
from lineside_opcua_bridge.station.pending import PendingRequest, PendingRequests


class Bench:
    """A request of station `s` for part `P-1` that waits, and what its station was told."""

    def __init__(self, **asked: Any) -> None:
        self.registry = CollectorRegistry()
        self.pending = PendingRequests()
        self.results = ResultRouter(self.pending, {"s"}, Metrics(self.registry))
        self.told: list[tuple[str, Answer]] = []
        context = Context(station="s", part_id="P-1")
        self.request = Request.new(model="m", source=CameraSource(camera="c"), context=context, **asked)
        self.payload = to_json(self.request)
        self.pending.open[self.request.id] = PendingRequest(self, self.request, self.payload)

    def take_answer(self, request_id: str, answer: Answer) -> None:
        self.told.append((request_id, answer))

    def close(self) -> None:
        part = Part.arrived(self.request.id, seen=0, deadline_s=1, margin_s=0, part_id="P-1", risen=None)
        self.pending.close(part.answered(self.told[0][1]))

    def result(self, **fields: Any) -> None:
        made = Result.model_validate(
            {
                "id": uuid7(),
                "request_id": self.request.id,
                "status": "ok",
                "verdict": "pass",
                "reason": "good",
                "model": ModelRef(name="m", version="1"),
                "context": self.request.context,
            }
            | fields
        )
        self.results.take(MemoryMessage("results", to_json(made), MemorySubscription()))

    def error(self, **fields: Any) -> None:
        made = ErrorReport.model_validate(
            {"id": uuid7(), "request_id": self.request.id, "code": "x", "reason": "?", "topic": "t", "excerpt": ""}
            | fields
        )
        self.results.take_error(MemoryMessage("errors", to_json(made), MemorySubscription()))

    def counted(self, kind: str) -> float:
        return self.registry.get_sample_value("lineside_opcua_bridge_results_total", {"kind": kind}) or 0.0


@pytest.mark.parametrize(
    "forged",
    [
        {"model": {"name": "other"}},
        {"context": {"station": "t", "part_id": "P-1"}},
        {"context": {"station": "s", "part_id": "P-2"}},
        {"context": {"station": "s"}},
        {"context": {}},
    ],
)
def test_a_result_of_another_model_station_or_part_is_refused_and_the_part_goes_on_waiting(forged: Any) -> None:
    bench = Bench()
    bench.result(verdict="fail", **forged)
    assert bench.told == []
    assert bench.counted("mismatched") == 1
    bench.result()
    assert [(request_id, answer.verdict) for request_id, answer in bench.told] == [(bench.request.id, "pass")]


def test_a_result_of_another_version_than_asked_for_is_refused() -> None:
    bench = Bench(model_version="2")
    bench.result()
    assert (bench.told, bench.counted("mismatched")) == ([], 1)
    bench.result(model={"name": "m", "version": "2"})
    assert len(bench.told) == 1


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"model": None},
        {"context": {"station": "s", "part_id": "P-1", "tags": {"speed": 3}, "recovered": True}},
        {"status": "failed", "verdict": "unknown", "code": "camera-stale", "model": None},
    ],
)
def test_a_result_that_belongs_to_its_request_counts(own: Any) -> None:
    bench = Bench()
    bench.result(**own)
    assert len(bench.told) == 1


@pytest.mark.parametrize("closed", [False, True])
def test_a_second_result_with_another_verdict_is_refused_and_counted_apart(closed: bool) -> None:
    bench = Bench()
    bench.result(verdict="fail")
    if closed:
        bench.close()
    bench.result(verdict="pass")
    assert [answer.verdict for _, answer in bench.told] == ["fail"]
    assert bench.counted("contradicting") == 1


@pytest.mark.parametrize("second", [{"verdict": "pass"}, {"status": "expired", "verdict": "unknown"}])
def test_an_answer_that_comes_again_contradicts_nothing(second: Any) -> None:
    bench = Bench()
    bench.result(verdict="pass")
    bench.close()
    bench.result(**second)
    assert (bench.counted("contradicting"), bench.counted("duplicate")) == (0, 1)


@pytest.mark.parametrize("about", [{"excerpt": "{"}, {"digest": "0" * 64}, {}])
def test_an_error_report_about_another_message_leaves_the_part_waiting(about: Any) -> None:
    bench = Bench()
    bench.error(**about)
    assert bench.told == []
    assert bench.counted("foreign_error") == 1


def test_an_error_report_about_our_own_message_answers_the_part() -> None:
    for about in ("digest", "excerpt"):
        bench = Bench()
        said = hashlib.sha256(bench.payload).hexdigest() if about == "digest" else bench.payload[:256].decode()
        bench.error(**{about: said})
        assert [(answer.verdict, answer.code) for _, answer in bench.told] == [("unknown", "x")]
        assert bench.counted("error") == 1
