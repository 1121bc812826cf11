"""What a Prometheus says, read into observations; and what it says instead."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from lineside_fleet.gate.observations import Bins, Window
from lineside_fleet.gate.sources import prometheus
from lineside_fleet.gate.sources.errors import NotObserved
from lineside_fleet.gate.sources.prometheus import Prometheus

WINDOW = Window(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 2, 1, tzinfo=UTC))


def answering(answer: httpx.Response | Exception, asked: list[str] | None = None) -> Prometheus:
    def respond(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(httpx.QueryParams(request.content.decode())["query"])
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Prometheus("http://prometheus.test:9090", transport=httpx.MockTransport(respond))


def success(*series: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={"status": "success", "data": {"resultType": "matrix", "result": list(series)}})


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.Response(200, text="<html>login"), "no answer of Prometheus"),
        (httpx.Response(502, text=""), "502"),
        (httpx.Response(200, json=[1]), "no answer of Prometheus"),
        (httpx.Response(400, json={"status": "error", "error": "parse error: unexpected"}), "parse error"),
        (httpx.ConnectError("refused"), "ConnectError"),
        (httpx.ReadTimeout("slow"), "ReadTimeout"),
        (success(), "no series lineside_inference_requests_total of model surface"),
    ],
)
def test_what_is_no_answer_is_named(answer: httpx.Response | Exception, says: str) -> None:
    with pytest.raises(NotObserved, match=says):
        answering(answer).observe(WINDOW, model="surface")


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "MAX_BYTES", 100)
    with pytest.raises(NotObserved, match="more than 100 bytes"):
        answering(success({"metric": {"thing": "x" * 200}, "values": []})).observe(WINDOW, model="surface")
    monkeypatch.undo()
    monkeypatch.setattr(prometheus, "MAX_SERIES", 0)
    with pytest.raises(NotObserved, match="1 series, of 0 at most"):
        answering(success({"metric": {}, "values": []})).observe(WINDOW, model="surface")


def test_a_window_of_too_few_scrapes_is_refused() -> None:
    short = Window(WINDOW.start, WINDOW.start + timedelta(minutes=5))
    with pytest.raises(NotObserved, match="too few scrapes"):
        answering(success()).observe(short, model="surface")


def test_names_are_quoted_into_the_query() -> None:
    asked: list[str] = []
    with pytest.raises(NotObserved):
        answering(success(), asked).observe(WINDOW, model='a"} or x{b="', devices=["box.1", "box|2"])
    assert 'model="a\\"} or x{b=\\""' in asked[0]
    assert 'thing=~"box\\\\.1|box\\\\|2"' in asked[0]


def test_buckets_become_bins_and_what_is_no_number_is_left_out() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        query = httpx.QueryParams(request.content.decode())["query"]
        end = WINDOW.start.timestamp() + 300

        def one(label: str, name: str, value: str) -> dict[str, Any]:
            return {"metric": {"thing": "box", label: name}, "values": [[end, value], [end + 300, "NaN"]]}

        if "requests" in query:
            return success(one("status", "ok", "98.2"), one("status", "failed", "2"), one("status", "rejected", "50"))
        if "verdicts" in query:
            return success(one("verdict", "pass", "95"), one("verdict", "fail", "2.9"), one("verdict", "unknown", "2"))
        bounds = (("0.01", "50"), ("0.02", "97.9"), ("+Inf", "98"))
        return success(*(one("le", bound, count) for bound, count in bounds)) if "stage" in query else success()

    source = Prometheus("http://prometheus.test:9090", transport=httpx.MockTransport(respond))
    side = source.observe(WINDOW, model="surface", version="3")
    [cell] = side.cells
    assert (cell.device, cell.slice, cell.parts, cell.errors, cell.unknowns, cell.fails) == ("box", 0, 100, 2, 2, 3)
    assert isinstance(cell.latency, Bins)
    assert cell.latency.edges.tolist() == [0, 10, 20, float("inf")]
    assert cell.latency.counts.tolist() == pytest.approx([50, 47.9, 0.1])
    assert cell.confidence is None
    assert json.dumps(side.remarks)
