"""CloudWatch's answers as observations; percentiles, which the simulated CloudWatch has none of, come by a stand-in."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from lineside_fleet.gate.deciding import evaluate
from lineside_fleet.gate.observations import SLICES, Quantiles, Window
from lineside_fleet.gate.settings import GateSettings
from lineside_fleet.gate.sources.cloudwatch import WITHIN, CloudWatch
from lineside_fleet.gate.sources.errors import NotObserved

WINDOW = Window(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 2, 12, tzinfo=UTC))
PAIRS = [(f"box-{number}", station) for number in range(8) for station in ("a", "b")]


class Stand:
    """Answers as CloudWatch's client does: the figures that a test gives, of every thing and station."""

    def __init__(self, figures: dict[tuple[str, str], float] | Exception, slower: float = 1.0) -> None:
        self.figures = figures
        self.slower = slower

    def get_paginator(self, operation: str) -> Any:
        if isinstance(self.figures, Exception):
            raise self.figures
        stand = self

        class Pages:
            def paginate(self, **asked: Any) -> Iterator[Any]:
                yield from stand.metrics() if operation == "list_metrics" else stand.data(asked)

        return Pages()

    def metrics(self) -> Iterator[Any]:
        for thing, station in PAIRS:
            of = {"Thing": thing, "Station": station, "Model": "surface"}
            yield {"Metrics": [{"Dimensions": [{"Name": name, "Value": value} for name, value in of.items()]}]}

    def data(self, asked: Any) -> Iterator[Any]:
        assert isinstance(self.figures, dict)
        for query in asked["MetricDataQueries"]:
            stat = query["MetricStat"]
            thing = stat["Metric"]["Dimensions"][0]["Value"]
            value = self.figures.get((stat["Metric"]["MetricName"], stat["Stat"]))
            periods = [] if value is None else range(int(WINDOW.seconds // stat["Period"]))
            noise = 1 + int(re.sub(r"\D", "", thing)) / 1000
            factor = noise * self.slower if stat["Stat"].startswith("p") else 1
            yield {
                "MetricDataResults": [
                    {
                        "Id": query["Id"],
                        "StatusCode": "Complete",
                        "Timestamps": [WINDOW.start + timedelta(seconds=stat["Period"] * at) for at in periods],
                        "Values": [(value or 0) * factor * (1 + at % 3 * 0.0) for at in periods],
                    }
                ]
            }


FIGURES = {
    ("Unknown", "SampleCount"): 500.0,
    ("Unknown", "Sum"): 5.0,
    ("Error", "SampleCount"): 495.0,
    ("Error", "Sum"): 1.0,
    ("Defect", "Sum"): 10.0,
    ("Latency", "SampleCount"): 6000.0,
    ("Latency", "p95"): 40.0,
    ("Confidence", "SampleCount"): 6000.0,
    ("Confidence", "p10"): 0.6,
    ("Confidence", "p50"): 0.9,
}


def observing(monkeypatch: pytest.MonkeyPatch, stand: Stand) -> Any:
    monkeypatch.setattr(CloudWatch, "_client", lambda _self: stand)
    return CloudWatch().observe(WINDOW, model="surface", version="3")


def test_counts_add_up_over_stations_and_percentiles_are_of_the_whole_window(monkeypatch: pytest.MonkeyPatch) -> None:
    side = observing(monkeypatch, Stand(FIGURES))
    assert side.parts == 16 * SLICES * 500
    assert {(cell.parts, cell.unknowns, cell.fails, cell.errors) for cell in side.cells} == {(1000, 10, 20, 2)}
    latency = side.whole["box-2"].latency
    assert isinstance(latency, Quantiles)
    assert latency.values[0.95] == pytest.approx(40 * 1.002)
    assert (latency.count, latency.within) == (12_000, WITHIN)


@pytest.mark.parametrize("counted", [None, 200.0])
def test_exporters_that_count_no_errors_hold_by_name_and_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, counted: float | None
) -> None:
    older = {key: value for key, value in FIGURES.items() if key[0] != "Error"}
    older |= {} if counted is None else {("Error", "SampleCount"): counted, ("Error", "Sum"): 0.0}
    before, after = (observing(monkeypatch, Stand(older, slower=slower)) for slower in (1.0, 1.2))
    found = evaluate(GateSettings(looks=1), before, after, 1)
    of = {metric.name: metric for metric in found.metrics}
    assert of["error_rate"].code == "no-data"
    assert "The share of errors: the baseline side has no parts of which it is known" in of["error_rate"].sentence
    assert any("sent Error" in remark and "errors: null" in remark for remark in before.remarks)
    assert found.verdict != "promote"


def test_counts_that_never_vary_are_judged_and_percentiles_that_never_do_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, after = (observing(monkeypatch, Stand(FIGURES, slower=slower)) for slower in (1.0, 1.2))
    found = evaluate(GateSettings(looks=1), before, after, 1)
    of = {metric.name: metric.code for metric in found.metrics}
    assert of["error_rate"] is None
    assert not any("sent Error" in remark for remark in before.remarks)
    # The stand-in's devices all change by one factor: nothing that chance made.
    assert of["latency_p95"] == "constant"
    assert found.verdict != "promote"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListMetrics"), "AccessDenied: no"),
        (NoCredentialsError(), "cannot be asked"),
        (EndpointConnectionError(endpoint_url="https://monitoring.test"), "cannot be asked"),
    ],
)
def test_errors_are_named(monkeypatch: pytest.MonkeyPatch, error: Exception, says: str) -> None:
    with pytest.raises(NotObserved, match=says):
        observing(monkeypatch, Stand(error))


def test_nothing_of_the_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(FIGURES)
    monkeypatch.setattr(stand, "metrics", lambda: iter(()))
    with pytest.raises(NotObserved, match="nothing of model surface"):
        observing(monkeypatch, stand)


@pytest.mark.parametrize("hours", [0.1, 24 * 15])
def test_a_window_that_cloudwatch_has_no_minutes_of_is_refused(hours: float) -> None:
    with pytest.raises(NotObserved, match="keeps minutes"):
        CloudWatch().observe(Window(WINDOW.start, WINDOW.start + timedelta(hours=hours)), model="surface")
