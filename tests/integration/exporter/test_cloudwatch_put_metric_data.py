"""PutMetricData over HTTP: what is sent is what moto's CloudWatch gives back, and what becomes of each refusal."""

import asyncio
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from lineside.settings import BusSettings
from lineside_exporter.cloudwatch.settings import PutMetricDataSettings
from tests.support.cloudwatch_rig import TOPIC, Rig, ask, refusal, running, statistics
from tests.support.credential_server import TOKEN, CredentialServer
from tests.support.mqtt_broker import MOSQUITTO, running_broker
from tests.support.result_messages import message
from tests.support.simulated_s3 import Store
from tests.support.store_front import Answer, Asked, Front
from tests.support.waiting import HANG_S, until

pytestmark = pytest.mark.usefixtures("aws_environment")

_NUMBERS = count(1)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusSettings]:
    kind = "mosquitto" if MOSQUITTO else "amqtt"
    folder: Path = tmp_path_factory.mktemp("broker")
    for each in running_broker(kind, folder):
        yield each.settings


@pytest.fixture
def settings(front: Front) -> PutMetricDataSettings:
    return PutMetricDataSettings(
        namespace=f"Test/{next(_NUMBERS)}", region="us-east-1", endpoint_url=front.url, timeout_s=5.0, keep_periods=3
    )


def take(rig: Rig, results: int = 1, **fields: Any) -> None:
    for _ in range(results):
        rig.reporter.take(message(**fields))


async def test_results_from_the_bus_are_figures_in_cloudwatch(
    settings: PutMetricDataSettings, moto_server: Store, front: Front, broker: BusSettings
) -> None:
    async with running(settings, broker) as (rig, bus):
        for number in range(60):
            verdict = ("fail", "pass", "pass", "unknown")[number % 4]
            await bus.publish(TOPIC, message(verdict, latency=5.0 + number, confidence=0.5 + number / 200))
        await bus.publish(TOPIC, message("fail", station="station-2"))
        await bus.publish(TOPIC, b"not a result")
        await until(lambda: rig.value("results_total") == 61)
        rig.reporter.close_period()
        await until(lambda: rig.value("sent_results_total") == 61)

    client, name = ask(moto_server.url), settings.namespace
    assert statistics(client, name, "Latency", "SampleCount") == [60]
    assert statistics(client, name, "Latency", "Sum") == pytest.approx([60 * 5 + 59 * 60 / 2])
    assert statistics(client, name, "Latency", "Minimum") == pytest.approx([5], rel=0.01)
    assert statistics(client, name, "Latency", "Maximum") == pytest.approx([64], rel=0.01)
    assert statistics(client, name, "Defect", "Average") == pytest.approx([1 / 3])
    assert statistics(client, name, "Unknown", "Sum") == [15]
    assert statistics(client, name, "Error", "SampleCount") == [60]
    assert statistics(client, name, "Confidence", "Average") == pytest.approx([0.5 + 59 / 400])
    assert statistics(client, name, "Defect", "Sum", station="station-2") == [1]
    pages = client.get_paginator("list_metrics").paginate(Namespace=name)
    found = {(metric["MetricName"], str(metric["Dimensions"])) for page in pages for metric in page["Metrics"]}
    assert len(found) == 5 + 4  # station-2 gave no confidence
    assert front.count("POST") == 1
    assert rig.value("dropped_results_total", reason="unreadable") == 1
    assert rig.value("calls_total", outcome="sent") == 1


async def test_a_period_without_results_is_no_call(
    settings: PutMetricDataSettings, front: Front, broker: BusSettings
) -> None:
    async with running(settings, broker) as (rig, _bus):
        rig.reporter.close_period()
        take(rig)
        rig.reporter.close_period()
        await until(lambda: rig.value("sent_results_total") == 1)

    assert front.count("POST") == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (refusal(400, "ThrottlingException"), "throttled"),
        (refusal(500, "InternalServiceFault"), "failed"),
        (Answer(503, body=b"<html>busy</html>"), "failed"),
        (refusal(403, "AccessDeniedException"), "not-allowed"),
        (refusal(403, "ExpiredTokenException"), "not-allowed"),
    ],
    ids=["throttled", "fault", "gateway", "denied", "expired"],
)
async def test_what_is_not_taken_now_is_sent_later(
    settings: PutMetricDataSettings,
    moto_server: Store,
    front: Front,
    broker: BusSettings,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    outcome: str,
) -> None:
    monkeypatch.setattr("lineside_exporter.cloudwatch.reporter._NOT_ALLOWED_S", 0.05)
    refused: list[Asked] = []

    def thrice(asked: Asked) -> Answer | None:
        if len(refused) < 3:
            refused.append(asked)
            return answer
        return None

    front.answer = thrice
    async with running(settings, broker) as (rig, _bus):
        take(rig, 7)
        rig.reporter.close_period()
        await until(lambda: rig.value("calls_total", outcome=outcome) == 3)
        await until(lambda: rig.value("sent_results_total") == 7)
        assert rig.link is not None
        assert rig.link.is_online

    assert statistics(ask(moto_server.url), settings.namespace, "Latency", "SampleCount") == [7]
    assert rig.value("waiting_periods") == 0


async def test_periods_that_waited_go_in_one_call_each_at_its_own_minute(
    settings: PutMetricDataSettings, moto_server: Store, front: Front, broker: BusSettings
) -> None:
    front.answer = lambda _asked: refusal(500, "InternalServiceFault")
    async with running(settings, broker) as (rig, _bus):
        for results in (1, 2, 3):
            take(rig, results)
            rig.pass_time(60)
            rig.reporter.close_period()
        await until(lambda: rig.value("calls_total", outcome="failed") >= 2)
        assert rig.value("waiting_periods") == 3
        front.answer = lambda _asked: None
        await until(lambda: rig.value("sent_results_total") == 6)

    assert statistics(ask(moto_server.url), settings.namespace, "Unknown", "SampleCount") == [1, 2, 3]
    assert rig.value("calls_total", outcome="sent") == 1


async def test_the_oldest_period_too_many_is_dropped_and_counted(
    settings: PutMetricDataSettings, moto_server: Store, front: Front, broker: BusSettings
) -> None:
    front.answer = lambda _asked: refusal(500, "InternalServiceFault")
    async with running(settings, broker) as (rig, _bus):
        for results in (1, 2, 3, 4, 5):
            take(rig, results)
            rig.pass_time(60)
            rig.reporter.close_period()
        assert rig.value("dropped_results_total", reason="backlog") == 3
        assert rig.value("waiting_periods") == 3
        front.answer = lambda _asked: None
        await until(lambda: rig.value("sent_results_total") == 12)

    assert statistics(ask(moto_server.url), settings.namespace, "Unknown", "SampleCount") == [3, 4, 5]


async def test_one_series_that_is_refused_takes_no_other_with_it(
    settings: PutMetricDataSettings, moto_server: Store, front: Front, broker: BusSettings
) -> None:
    """The poisoned one is known by its size, which is all that the front sees."""
    sizes: list[int] = []

    def refuse_the_large(asked: Asked) -> Answer | None:
        sizes.append(asked.size)
        return refusal(400, "InvalidParameterValueException") if asked.size > 1200 else None

    front.answer = refuse_the_large
    async with running(settings, broker) as (rig, _bus):
        take(rig, 2, station="station-1")
        take(rig, 1, station="poison" * 20, model="m" * 120)
        take(rig, 3, station="station-3")
        rig.reporter.close_period()
        await until(lambda: not rig.value("waiting_periods"))

    assert rig.value("dropped_results_total", reason="refused") == 1, sizes
    assert rig.value("sent_results_total") == 5
    client = ask(moto_server.url)
    assert statistics(client, settings.namespace, "Unknown", "SampleCount") == [2]
    assert statistics(client, settings.namespace, "Unknown", "SampleCount", station="station-3") == [3]


async def test_a_call_whose_answer_is_lost_counts_twice(
    settings: PutMetricDataSettings, moto_server: Store, front: Front, broker: BusSettings
) -> None:
    """There is no way to know: this is what the documentation says of it."""
    let_go = threading.Event()
    asked = count(1)

    def lose_the_first(_asked: Asked) -> Answer | None:
        if next(asked) == 1:
            let_go.wait(HANG_S)  # it is passed on after the caller has given up
        return None

    front.answer = lose_the_first
    impatient = settings.model_copy(update={"timeout_s": 3.0})
    async with running(impatient, broker) as (rig, _bus):
        take(rig, 2)
        rig.reporter.close_period()
        await until(lambda: rig.value("calls_total", outcome="failed") >= 1)
        await until(lambda: rig.value("sent_results_total") == 2)
        let_go.set()
        client = ask(moto_server.url)

        async def are_four() -> bool:
            return await asyncio.to_thread(statistics, client, settings.namespace, "Unknown", "SampleCount") == [4]

        await until(are_four)


async def test_an_outage_stops_no_results(settings: PutMetricDataSettings, front: Front, broker: BusSettings) -> None:
    let_go, hangs = threading.Event(), threading.Event()

    def hang(_asked: Asked) -> Answer | None:
        hangs.set()
        let_go.wait(HANG_S)
        return None

    front.answer = hang
    async with running(settings.model_copy(update={"timeout_s": 30.0}), broker) as (rig, bus):
        take(rig)
        rig.reporter.close_period()
        await asyncio.to_thread(hangs.wait, 60)
        for _ in range(20):
            await bus.publish(TOPIC, message())
        await until(lambda: rig.value("results_total") == 21)
        assert rig.value("sent_results_total") == 0
        let_go.set()
        rig.reporter.close_period()
        await until(lambda: rig.value("sent_results_total") == 21)


async def test_a_clock_that_was_set_right_stamps_what_waited_right(
    settings: PutMetricDataSettings, moto_server: Store, front: Front, broker: BusSettings
) -> None:
    """A box without a battery starts in 1970; its figures are of today all the same."""
    front.answer = lambda _asked: refusal(403, "SignatureDoesNotMatch")
    async with running(settings, broker) as (rig, _bus):
        right = rig.wall
        rig.wall = right.replace(year=1970)
        take(rig, 4)
        rig.pass_time(60)
        rig.reporter.close_period()
        await until(lambda: rig.value("calls_total", outcome="not-allowed") == 1)
        rig.wall = right
        front.answer = lambda _asked: None
        assert await rig.reporter.send_next() == 0.0

    assert statistics(ask(moto_server.url), settings.namespace, "Unknown", "SampleCount") == [4]


async def test_periods_that_end_a_little_late_do_not_wander(
    settings: PutMetricDataSettings, broker: BusSettings
) -> None:
    async with running(settings, broker) as (rig, _bus):
        for late_s in (0.3, 0.2, 0.4):
            rig.passed_s += late_s + 60 - (rig.passed_s % 60)
            rig.reporter.close_period()
        assert rig.reporter._began == 180
        rig.passed_s += 600  # the machine slept
        rig.reporter.close_period()
        assert rig.reporter._began == rig.passed_s


async def test_figures_that_are_too_old_are_dropped_and_spoil_no_call(
    settings: PutMetricDataSettings, moto_server: Store, front: Front, broker: BusSettings
) -> None:
    front.answer = lambda _asked: refusal(500, "InternalServiceFault")
    async with running(settings, broker) as (rig, _bus):
        take(rig, 2)
        rig.reporter.close_period()
        await until(lambda: rig.value("calls_total", outcome="failed") >= 1)
        rig.passed_s += 15 * 24 * 3600
        rig.reporter.close_period()
        take(rig, 3)
        rig.reporter.close_period()
        await until(lambda: rig.value("dropped_results_total", reason="too-old") == 2)
        front.answer = lambda _asked: None
        await until(lambda: rig.value("sent_results_total") == 3)

    assert statistics(ask(moto_server.url), settings.namespace, "Unknown", "SampleCount") == [3]


async def test_the_fullest_call_is_within_cloudwatchs_bounds(
    settings: PutMetricDataSettings,
    moto_server: Store,
    front: Front,
    broker: BusSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """150 values of each metric in every series: as many calls as the size needs, none above a megabyte."""
    monkeypatch.setenv("AWS_DISABLE_REQUEST_COMPRESSION", "true")
    many = settings.model_copy(update={"max_series": 120})
    sizes: list[int] = []

    def measure(asked: Asked) -> None:
        sizes.append(asked.size)

    front.answer = measure  # type: ignore[assignment]
    async with running(many, broker) as (rig, _bus):
        for station in range(120):
            for number in range(200):
                spread = 1.02**number
                rig.reporter.take(message(station=f"station-{station}", latency=spread, confidence=1 / spread))
            await asyncio.sleep(0)
        rig.reporter.close_period()
        await until(lambda: rig.value("sent_results_total") == 24_000)

    assert 1 < len(sizes) < 10
    assert max(sizes) < 1_000_000
    assert max(sizes) > 300_000  # else calls are made that need not be
    assert sum(statistics(ask(moto_server.url), many.namespace, "Latency", "SampleCount", station="station-119")) == 200


async def test_credentials_come_from_the_container_provider_and_are_never_shown(
    settings: PutMetricDataSettings,
    front: Front,
    broker: BusSettings,
    aws_environment: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    provider = CredentialServer()
    try:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            aws_environment.delenv(name)
        aws_environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", provider.url)
        aws_environment.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN)
        provider.status = 500
        async with running(settings, broker) as (rig, _bus):
            take(rig)
            rig.reporter.close_period()
            await until(lambda: rig.value("calls_total", outcome="failed") >= 1)
            assert rig.link is not None
            assert "their provider does not answer" in rig.link.detail
            provider.status = 200
            await until(lambda: rig.value("sent_results_total") == 1)
        assert provider.given
        assert f"Credential={provider.given[0]['AccessKeyId']}/" in front.asked[0].headers["authorization"]
        said = capfd.readouterr()
        assert not [secret for secret in provider.secrets() if secret in said.out + said.err]
    finally:
        provider.close()


async def test_without_a_region_it_says_which_setting(broker: BusSettings) -> None:
    async with running(PutMetricDataSettings(), broker) as (rig, _bus):
        take(rig)
        rig.reporter.close_period()
        await until(lambda: rig.value("calls_total", outcome="not-allowed") == 1)
        assert rig.link is not None
        assert "set exporter.cloudwatch.region or AWS_REGION" in rig.link.detail
