"""What a scrape of the box looks like, byte for byte: reading the golden file's difference is the review."""

import shutil
import subprocess
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest

from lineside_exporter.exposition import Bounds, Parser, render
from lineside_exporter.reading_cache import ReadingCache
from lineside_exporter.scrape import Scrape
from lineside_exporter.sources import containers, drift, host, triton
from lineside_exporter.sources.containers import Container
from tests.support.exporter_source import Named
from tests.support.variables import missing

BOUNDS = Bounds(series=100, label_characters=100)
MODEL = {"name": "surface-defect", "version": "1", "wanted": "2", "detail": ""}
REFUSED = {"refused": {"version": "2", "reason": 'load failed: "model.onnx" is not there'}}
HEALTHY = {"Status": "running", "Health": {"Status": "healthy"}}
COMPOSE = {"Labels": {"com.docker.compose.service": "inference"}}


def service_text(name: str) -> str:
    """Return what a service of this name would serve: metrics of its own, and some that every service has."""
    registry = CollectorRegistry()
    Gauge(f"lineside_{name}_build_info", "1 for the version.", ["version"], registry=registry).labels("0.1.0").set(1)
    Gauge("python_info", "Python platform information", ["version"], registry=registry).labels("3.13.1").set(1)
    Histogram(f"lineside_{name}_seconds", "Time taken.", buckets=(0.1, 1), registry=registry).observe(0.5)
    Counter(f"lineside_{name}_parts_total", 'Parts, "good" and bad.', ["verdict"], registry=registry).labels(
        "p\\q"
    ).inc(3)
    text = generate_latest(registry).decode()
    return "".join(line for line in text.splitlines(keepends=True) if "_created" not in line)


@pytest.fixture
def scrape() -> Scrape:
    now = 100.0
    registry = CollectorRegistry()
    cache = ReadingCache(registry, now=lambda: now)
    read: dict[str, list[Metric]] = {
        "triton-models": triton.families(
            [{"name": "surface-defect", "version": "1", "state": "READY"}],
            {"model_stats": [{"name": "surface-defect", "version": "1", "inference_count": 3, "execution_count": 2}]},
        ),
        "host": host.families(0.25, (1_000_000, 4_000_000)),
        "containers": containers.families(
            [Container.model_validate({"Name": "/box-1", "State": HEALTHY, "Config": COMPOSE})]
        ),
        "models": drift.families("model", drift.models({"models": [MODEL | REFUSED]}, {})),
    }
    for name in ("inference", "forwarder", "away", *read):
        cache.add(Named(name))
    scrape = Scrape(registry, cache)
    for name in ("inference", "forwarder"):
        cache.put(name, Parser(BOUNDS, ("service", name)).parse(service_text(name)), began=99.5)
    for name, metrics in read.items():
        cache.put(name, render(metrics, Parser(BOUNDS)), began=99.75)
    return scrape


def text_of(scrape: Scrape) -> str:
    lines = scrape.text().decode().splitlines(keepends=True)
    return "".join(line for line in lines if "_series_dropped_created" not in line)


def test_a_scrape_of_the_box(scrape: Scrape, golden: Callable[[str, str], None]) -> None:
    golden("metrics/exporter.txt", text_of(scrape))


def test_promtool_has_nothing_to_say(scrape: Scrape) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("promtool", "promtool is not on PATH (Debian: apt install prometheus)")

    def check(text: str) -> tuple[int, str]:
        done = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=60
        )
        return done.returncode, done.stdout + done.stderr

    assert check(text_of(scrape)) == (0, "")
    # It would say something: a family in two places is no exposition, a counter without _total no good name.
    status, said = check(text_of(scrape) + "# TYPE lineside_drift gauge\nlineside_drift 1\n")
    assert status != 0
    assert "lineside_drift" in said
