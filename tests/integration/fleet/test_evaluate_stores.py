"""`lineside fleet evaluate` over stores of metrics: a real Prometheus, a simulated CloudWatch that the exporter fed.

A stage of eight devices was deployed two hours ago. Of each group of devices the stores know the hours since, and the
same hours of the day before.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import boto3
import numpy as np
import pytest

from lineside_bench.cloud.sample import NEW_MODEL
from lineside_exporter.cloudwatch.aggregation import Aggregator
from lineside_exporter.cloudwatch.put_metric_data import data_of
from lineside_fleet.rollout.running import Runner
from tests.support import rollouts
from tests.support.approvals import command
from tests.support.ports import free_port
from tests.support.prometheus_server import openmetrics, prometheus_with
from tests.support.result_messages import result
from tests.support.rollouts import MODEL
from tests.support.stand_in_cloud import serving

NOW = datetime.now(UTC)
DEPLOYED = timedelta(hours=2)
"""Before now."""
GROUPS = {
    "good": [f"core-{number:04}" for number in range(1, 9)],
    "worse": [f"core-{number:04}" for number in range(9, 17)],
    "partial": [f"core-{number:04}" for number in range(17, 25)],
    "absent": [f"core-{number:04}" for number in range(25, 31)],
}
"""Devices: whose new version is as good, worse; of which a metric is missing, of which nothing is known."""
EDGES = (0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05)
WIDE = {
    "throughput": {"less": 0.3},
    "errors": {"ratio": 2, "allowance": 0.01},
    "unknowns": {"ratio": 2, "allowance": 0.02},
    "defects": {"ratio": 2, "allowance": 0.04},
    "latency": None,
    "confidence": None,
    "looks": 2,
}


def spans() -> Iterator[tuple[bool, datetime]]:
    """Yield whether it is since the stage, and the begin of that time; each lasts for 2.7 hours, beyond this test."""
    yield False, NOW - DEPLOYED - timedelta(hours=24)
    yield True, NOW - DEPLOYED


def past() -> str:
    """Return what Prometheus knows: a scrape each minute."""
    random = np.random.default_rng(3)
    found: dict[str, list[tuple[str, float, float]]] = {
        f"lineside_inference_{name}": [] for name in ("requests", "verdicts", "stage_seconds", "confidence_ratio")
    }
    for name, things in GROUPS.items():
        for thing in things if name != "absent" else ():
            counters: dict[str, float] = {}
            for is_staged, began in spans():
                worse = is_staged and name == "worse"
                for scrape in range(162):
                    moment = began.timestamp() + 60 * scrape
                    for series, count in scraped(random, thing, worse=worse, is_partial=name == "partial"):
                        counters[series] = counters.get(series, 0.0) + count
                    for series, value in counters.items():
                        family = next(each for each in found if series.startswith(each))
                        found[family].append((series, value, moment))
    for samples in found.values():
        samples.sort(key=lambda sample: sample[0])  # each series in the order of time
    kinds = {"requests": "counter", "verdicts": "counter"}
    return openmetrics(
        {
            name: (kinds.get(name.rpartition("lineside_inference_")[2], "histogram"), each)
            for name, each in found.items()
        }
    )


def scraped(random: np.random.Generator, thing: str, *, worse: bool, is_partial: bool) -> Iterator[tuple[str, float]]:
    """Yield by how much each counter of a device rises until the next scrape."""
    parts = int(random.poisson(40))
    failed = int(random.binomial(parts, 0.004))
    unknown = int(random.binomial(parts - failed, 0.01))
    fail = int(random.binomial(parts - failed - unknown, 0.03))
    model = f'thing="{thing}",model="surface"'
    for status, count in (("ok", parts - failed), ("failed", failed)):
        yield f'lineside_inference_requests_total{{{model},status="{status}"}}', count
    verdicts = {"pass": parts - failed - unknown - fail, "fail": fail, "unknown": unknown + failed}
    for verdict, count in verdicts.items():
        yield f'lineside_inference_verdicts_total{{{model},verdict="{verdict}"}}', count
    sure = random.beta(8, 1, parts - failed)
    for edge in (0.5, 0.8, 0.9, 1.0):
        label = f'{model},label="scratch",le="{edge}"'
        yield f"lineside_inference_confidence_ratio_bucket{{{label}}}", float((sure <= edge).sum())
    yield f'lineside_inference_confidence_ratio_bucket{{{model},label="scratch",le="+Inf"}}', float(sure.size)
    if not is_partial:
        seconds = 0.012 * (1.4 if worse else 1.0) * np.exp(0.3 * random.standard_normal(parts - failed))
        labels = f'thing="{thing}",stage="total"'
        for edge in EDGES:
            series = f'lineside_inference_stage_seconds_bucket{{{labels},le="{edge}"}}'
            yield series, float((seconds <= edge).sum())
        yield f'lineside_inference_stage_seconds_bucket{{{labels},le="+Inf"}}', float(seconds.size)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    with prometheus_with(past(), tmp_path_factory.mktemp("prometheus")) as url:
        yield url


@pytest.fixture(scope="module")
def cloudwatch(moto_server):
    """Put into the simulated CloudWatch what exporters send: a period every ten minutes, and return its address."""
    client = boto3.session.Session().client(
        "cloudwatch",
        endpoint_url=moto_server.url,
        region_name="eu-central-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106 - any word does
    )
    random = np.random.default_rng(4)
    for name, things in GROUPS.items():
        for thing in things[:4] if name != "absent" else ():
            for is_staged, began in spans():
                for period in range(16):
                    at = began + timedelta(minutes=10 * period)
                    data = sent(random, thing, at, failing=0.3 if is_staged and name == "worse" else 0.002)
                    wanted = {"Unknown", "Defect"} if name == "partial" else {"Unknown", "Defect", "Error"}
                    told = [each for each in data if each["MetricName"] in wanted]
                    client.put_metric_data(Namespace="Lineside", MetricData=told)
    return moto_server.url


def sent(random, thing, at, failing):
    """Return the data of a period, as the exporter makes them of results."""
    aggregator = Aggregator(1)
    for _ in range(8):  # the simulated CloudWatch looks at each value for each question
        failed, unknown, fail = random.random(3) < (failing, 0.01, 0.03)
        verdict = "unknown" if failed or unknown else "fail" if fail else "pass"
        aggregator.add(result(verdict, model="surface", status="failed" if failed else "ok"))
    (block,) = aggregator.close(0.0)
    return data_of(block, thing, at)


@pytest.fixture
def plant(monkeypatch, aws_environment):
    """The stand-in for Greengrass, whose clock is two hours late: what is deployed now was deployed then."""
    del aws_environment
    with serving(devices=30, away_every=0) as running:
        world = running.cloud.world
        world.start = datetime.now(UTC) - DEPLOYED - timedelta(minutes=world.now)
        rollouts.at(running, monkeypatch)
        yield running


@pytest.fixture
def staged(plant, tmp_path):
    """Return what stages a rollout on a group of devices, with a gate beside the wide one, until it is done."""

    def stage(group, things=8, **gate):
        stages = [{"name": group, "names": GROUPS[group][:things]}]
        path = rollouts.write(tmp_path, stages=stages, gate={**WIDE, **gate}, window_minutes=60)
        runner: Runner = rollouts.runner(path, plant)
        runner.start()
        plant.cloud.world.tick(20)
        return path

    return stage


def with_it(plant):
    return [name for name, each in plant.cloud.world.devices.items() if each.installed().get(MODEL) == NEW_MODEL]


def looks(path, plant):
    state, _ = rollouts.runner(path, plant).status()
    return [look.number for look in state.current.looks]


SHARES = {"slow": {"ms": 15}, "unsure": {"upto": 0.8, "allowance": 0.05}}


def test_a_good_version_goes_on_by_prometheus(plant, staged, prometheus, tmp_path):
    path = staged("good", **SHARES)
    asked = ("evaluate", path, "--prometheus", prometheus, "--model", "surface", "--out", tmp_path / "report")
    status, text = command(*asked)
    assert (status, text.splitlines()[0]) == (0, "promote"), text
    assert "promote: The share over 15 ms" in text
    assert (tmp_path / "report" / "gate.html").is_file()
    assert sorted(with_it(plant)) == GROUPS["good"]
    assert command("promote", path)[0] == 0
    plant.cloud.world.tick(60)
    assert len(with_it(plant)) == 30


def test_a_slower_version_is_stopped_by_prometheus(plant, staged, prometheus):
    path = staged("worse", **SHARES)
    status, text = command("evaluate", path, "--prometheus", prometheus, "--model", "surface")
    assert (status, text.splitlines()[0]) == (1, "stop"), text
    assert "stop: The share over 15 ms" in text
    status, text = command("promote", path)
    assert (status, "the gate says stop" in text) == (2, True)
    assert sorted(with_it(plant)) == GROUPS["worse"]


def test_a_metric_that_prometheus_has_not_holds_by_its_name(plant, staged, prometheus):
    path = staged("partial", **SHARES)
    status, text = command("evaluate", path, "--prometheus", prometheus, "--model", "surface")
    assert (status, text.splitlines()[0]) == (3, "hold"), text
    assert "nothing shown yet of share over 15 ms" in text
    assert "hold: The share over 15 ms: the baseline side has no parts of which it is known" in text
    assert "promote: The share of unknowns" in text  # the others were judged
    assert looks(path, plant) == [1]


@pytest.mark.parametrize(("group", "model"), [("absent", "surface"), ("good", "weld")])
def test_where_prometheus_has_nothing_it_holds_and_no_look_is_spent(plant, staged, prometheus, group, model):
    path = staged(group, **SHARES)
    for _ in range(3):  # more than the looks that are planned
        status, text = command("evaluate", path, "--prometheus", prometheus, "--model", model)
        assert (status, text.splitlines()[0]) == (3, "hold"), text
        assert f"no series lineside_inference_requests_total of model {model} in the window" in text
    assert looks(path, plant) == [0, 0, 0]


def test_a_prometheus_that_does_not_answer_is_no_verdict(plant, staged):
    path = staged("good")
    status, text = command("evaluate", path, "--prometheus", f"http://127.0.0.1:{free_port()}", "--model", "surface")
    assert status == 2
    assert "see that Prometheus runs there" in text
    assert looks(path, plant) == []


@pytest.fixture
def metrics(cloudwatch, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", cloudwatch)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")


FEW = {
    "things": 4,
    "devices": 4,
    "parts": 200,
    "looks": 1,
    "errors": {"ratio": 2, "allowance": 0.06},
    "unknowns": {"ratio": 2, "allowance": 0.08},
    "defects": {"ratio": 2, "allowance": 0.08},
}
"""The simulated CloudWatch is slow, so the margins are as wide as few parts need."""


@pytest.mark.usefixtures("metrics")
def test_a_good_version_goes_on_by_cloudwatch(plant, staged):
    path = staged("good", **FEW)
    status, text = command("evaluate", path, "--cloudwatch", "Lineside", "--model", "surface")
    assert (status, text.splitlines()[0]) == (0, "promote"), text
    assert "promote: The share of errors" in text
    assert command("promote", path)[0] == 0
    plant.cloud.world.tick(60)
    assert len(with_it(plant)) == 30


@pytest.mark.usefixtures("metrics")
def test_a_version_with_more_errors_is_stopped_by_cloudwatch(plant, staged):
    path = staged("worse", **FEW)
    status, text = command("evaluate", path, "--cloudwatch", "Lineside", "--model", "surface")
    assert (status, text.splitlines()[0]) == (1, "stop"), text
    assert "stop: The share of errors" in text
    assert sorted(with_it(plant)) == GROUPS["worse"][:4]


@pytest.mark.usefixtures("metrics")
def test_exporters_that_send_no_errors_hold_by_name_and_go_on_without(plant, staged):
    path = staged("partial", **FEW)
    status, text = command("evaluate", path, "--cloudwatch", "Lineside", "--model", "surface")
    assert (status, text.splitlines()[0]) == (3, "hold"), text
    assert "hold: The share of errors: the baseline side has no parts of which it is known" in text
    assert "note: not every exporter sent Error at all times: update the exporters" in text
    assert looks(path, plant) == [1]


@pytest.mark.usefixtures("metrics")
def test_a_share_over_a_limit_is_no_question_for_cloudwatch(staged):
    path = staged("good", **FEW, slow={"ms": 15})
    status, text = command("evaluate", path, "--cloudwatch", "Lineside", "--model", "surface")
    assert (status, text.splitlines()[0]) == (3, "hold"), text
    assert "hold: The share over 15 ms: the baseline side has no parts of which it is known; evidence and" in text


@pytest.mark.usefixtures("metrics")
@pytest.mark.parametrize(("group", "model"), [("absent", "surface"), ("good", "weld")])
def test_where_cloudwatch_has_nothing_it_holds_and_no_look_is_spent(plant, staged, group, model):
    path = staged(group, **FEW)
    status, text = command("evaluate", path, "--cloudwatch", "Lineside", "--model", model)
    assert (status, text.splitlines()[0]) == (3, "hold"), text
    assert f"nothing of model {model}" in text
    assert looks(path, plant) == [0]
