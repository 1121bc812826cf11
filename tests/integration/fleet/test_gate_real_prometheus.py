"""The gate on a real Prometheus, whose past promtool wrote: series of a fleet as its exporters are scraped."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from lineside_fleet.gate.deciding import evaluate
from lineside_fleet.gate.observations import Bins, Window
from lineside_fleet.gate.settings import GateSettings, SlowSettings
from lineside_fleet.gate.sources.prometheus import Prometheus
from tests.support.prometheus_server import openmetrics, prometheus_with

BEGAN = (datetime.now(UTC) - timedelta(hours=6)).replace(minute=0, second=0, microsecond=0)
BEFORE = Window(BEGAN, BEGAN + timedelta(hours=1))
AFTER = Window(BEGAN + timedelta(hours=2), BEGAN + timedelta(hours=3))
DEVICES, A_SCRAPE = 8, 8
EDGES = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1)
SLOW = GateSettings.model_validate(
    {
        **dict.fromkeys(("latency", "throughput", "errors", "unknowns", "defects", "confidence")),
        "hours": "any",
        "looks": 1,
        "slow": {"ms": 15},
    }
)
SETTINGS = GateSettings.model_validate({"hours": "any", "looks": 1, "confidence": None, "throughput": {"less": 0.3}})


def history() -> str:
    """Return the past in OpenMetrics: parts every 15 s, twice as slow and with many unknowns in the second window."""
    random = np.random.default_rng(1)
    lines: dict[str, list[tuple[str, float, float]]] = {"requests": [], "verdicts": [], "stage_seconds": []}
    for device in range(DEVICES):
        requests, verdicts = {"ok": 0, "failed": 0}, {"pass": 0, "fail": 0, "unknown": 0}
        buckets = np.zeros(len(EDGES) + 1)
        for scrape in range(int(3.2 * 240)):
            moment = BEGAN.timestamp() + 15 * scrape
            late = moment >= AFTER.start.timestamp()
            if scrape == 100 and device == 3:  # the service began anew: its counters are at zero
                requests, verdicts = dict.fromkeys(requests, 0), dict.fromkeys(verdicts, 0)
                buckets[:] = 0
            labels = f'thing="box-{device}"'
            of_model = f'{labels},model="surface"'
            parts = int(random.poisson(A_SCRAPE))
            failed = int(random.binomial(parts, 0.002))
            unknown = int(random.binomial(parts - failed, 0.06 if late else 0.008))
            fail = int(random.binomial(parts - failed - unknown, 0.02))
            requests["ok"] += parts - failed
            requests["failed"] += failed
            for verdict, count in (
                ("pass", parts - failed - unknown - fail),
                ("fail", fail),
                ("unknown", unknown + failed),
            ):
                verdicts[verdict] += count
            seconds = 0.012 * (2 if late else 1) * np.exp(0.2 * random.standard_normal(parts - failed))
            buckets += [(seconds <= edge).sum() for edge in EDGES] + [seconds.size]
            for status, count in requests.items():
                lines["requests"].append(
                    (f'lineside_inference_requests_total{{{of_model},status="{status}"}}', count, moment)
                )
            for verdict, count in verdicts.items():
                lines["verdicts"].append(
                    (f'lineside_inference_verdicts_total{{{of_model},verdict="{verdict}"}}', count, moment)
                )
            for edge, count in zip((*map(str, EDGES), "+Inf"), buckets, strict=True):
                lines["stage_seconds"].append(
                    (f'lineside_inference_stage_seconds_bucket{{{labels},stage="total",le="{edge}"}}', count, moment)
                )
    kinds = {"requests": "counter", "verdicts": "counter", "stage_seconds": "histogram"}
    return openmetrics({f"lineside_inference_{name}": (kinds[name], each) for name, each in lines.items()})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus on loopback with that past."""
    with prometheus_with(history(), tmp_path_factory.mktemp("prometheus")) as url:
        yield Prometheus(url)


def test_the_counts_are_those_that_were_scraped(source: Prometheus) -> None:
    side = source.observe(BEFORE, model="surface", version="3")
    assert len(side.devices) == DEVICES
    assert side.parts == pytest.approx(DEVICES * A_SCRAPE * 240, rel=0.03)
    unknowns = sum(cell.unknowns or 0 for cell in side.cells)
    assert unknowns / side.parts == pytest.approx(0.01, abs=0.004)
    assert all(isinstance(cell.latency, Bins) for cell in side.cells)


def test_a_service_that_began_anew_loses_a_scrape_and_no_more(source: Prometheus) -> None:
    side = source.observe(BEFORE, model="surface", devices=["box-3"])
    assert list(side.devices) == ["box-3"]
    assert side.parts == pytest.approx(A_SCRAPE * 240, rel=0.06)


def test_much_slower_and_more_unknowns_are_stopped(source: Prometheus) -> None:
    before, after = (source.observe(window, model="surface") for window in (BEFORE, AFTER))
    found = evaluate(SETTINGS, before, after, 1)
    assert found.verdict == "stop"
    assert {metric.name for metric in found.of("stop")} >= {"unknown_rate"}


def test_the_same_is_never_promoted_on_latency_for_its_buckets_are_too_wide(source: Prometheus) -> None:
    half = BEFORE.start + timedelta(minutes=30)
    first, second = Window(BEFORE.start, half), Window(half, BEFORE.end)
    found = evaluate(SETTINGS, *(source.observe(window, model="surface") for window in (first, second)), 1)
    latency = next(metric for metric in found.metrics if metric.name == "latency_p95")
    assert (latency.verdict, latency.code) == ("hold", "resolution")
    assert "ask for the share of parts over one of its edges" in latency.sentence
    assert next(metric for metric in found.metrics if metric.name == "unknown_rate").verdict != "stop"


def test_the_share_over_an_edge_of_its_buckets_shows_both(source: Prometheus) -> None:
    half = BEFORE.start + timedelta(minutes=30)
    first, second, after = (
        source.observe(window, model="surface")
        for window in (Window(BEFORE.start, half), Window(half, BEFORE.end), AFTER)
    )
    found = evaluate(SLOW, first, second, 1)
    assert found.verdict == "promote", found.metrics[0].sentence
    assert found.metrics[0].baseline == pytest.approx(0.132, abs=0.02)
    assert evaluate(SLOW, first, after, 1).verdict == "stop"


def test_a_limit_that_is_no_edge_holds_with_the_next_edges(source: Prometheus) -> None:
    before, after = (source.observe(window, model="surface") for window in (BEFORE, AFTER))
    asked = SLOW.model_copy(update={"slow": SlowSettings(ms=18)})
    found = evaluate(asked, before, after, 1)
    assert (found.verdict, found.metrics[0].code) == ("hold", "no-edge")
    assert "the next are 15 and 20" in found.metrics[0].sentence
