"""The exporter's CloudWatch reporter against a simulated CloudWatch, with results from a real broker."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from prometheus_client import CollectorRegistry

from lineside.bus.mqtt import MqttBus
from lineside.connections import Connection
from lineside.settings import BusSettings
from lineside_exporter.cloudwatch.reporter import Reporter
from lineside_exporter.cloudwatch.settings import GreengrassSettings, PutMetricDataSettings
from tests.support.store_front import Answer
from tests.support.waiting import until

TOPIC = "local/inference/result"


def refusal(status: int, code: str) -> Answer:
    """Return what CloudWatch answers, in its JSON protocol."""
    body = json.dumps({"__type": f"com.amazonaws.cloudwatch#{code}", "message": f"told to say {code}"}).encode()
    return Answer(status, headers={"Content-Type": "application/x-amz-json-1.0"}, body=body)


class Rig:
    """A reporter whose periods are closed by hand, what it reports to, and its clocks."""

    def __init__(self, settings: PutMetricDataSettings | GreengrassSettings, bus: MqttBus) -> None:
        self.registry = CollectorRegistry()
        self.link: Connection | None = None
        self.wall = datetime.now(UTC)
        self.passed_s = 0.0
        self.reporter = Reporter(
            settings,
            thing=thing_of(settings.namespace),
            bus=bus,
            result_topic=TOPIC,
            connection=self._connect,
            registry=self.registry,
            monotonic=lambda: self.passed_s,
            now=lambda: self.wall,
        )

    def _connect(self, name: str, target: str, **_options: Any) -> Connection:
        self.link = Connection(name, target, required=False, first_s=0.01, longest_s=0.05)
        return self.link

    def pass_time(self, seconds: float) -> None:
        self.passed_s += seconds
        self.wall += timedelta(seconds=seconds)

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"lineside_exporter_cloudwatch_{name}", labels) or 0.0


@asynccontextmanager
async def running(
    settings: PutMetricDataSettings | GreengrassSettings, broker: BusSettings
) -> AsyncIterator[tuple[Rig, MqttBus]]:
    """Run everything but the clock that closes periods; yield the rig and the bus, which others may publish on too."""
    link = Connection("bus", broker.url, first_s=0.01, longest_s=0.1)
    bus = MqttBus(broker, client="exporter", connection=link, keep=False)
    rig = Rig(settings, bus)
    async with bus, asyncio.TaskGroup() as group:
        tasks = []
        for name, work in rig.reporter.work():
            if name == "cloudwatch periods":
                work.close()
            else:
                tasks.append(group.create_task(work, name=name))
        await until(lambda: link.is_online)
        try:
            yield rig, bus
        finally:
            for task in tasks:
                task.cancel()


def thing_of(namespace: str) -> str:
    """Return a thing of the test's own: moto looks at the dimensions only, not at the namespace."""
    return namespace.replace("/", "-")


def ask(url: str) -> Any:
    """Return a client for the test's own questions."""
    return boto3.session.Session().client(  # type: ignore[call-overload]
        "cloudwatch",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106 - any word does
    )


def statistics(client: Any, namespace: str, metric: str, statistic: str, *, station: str = "station-1") -> list[float]:
    """Return the statistic of each minute of the last three hours and the next."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)  # moto counts minutes from here, CloudWatch its own
    answer = client.get_metric_data(
        MetricDataQueries=[
            {
                "Id": "one",
                "MetricStat": {
                    "Metric": {
                        "Namespace": namespace,
                        "MetricName": metric,
                        "Dimensions": [
                            {"Name": "Thing", "Value": thing_of(namespace)},
                            {"Name": "Station", "Value": station},
                            {"Name": "Model", "Value": "surface-defect"},
                        ],
                    },
                    "Period": 60,
                    "Stat": statistic,
                },
            }
        ],
        StartTime=now - timedelta(hours=3),
        EndTime=now + timedelta(hours=1),
        ScanBy="TimestampAscending",
    )
    return [float(value) for value in answer["MetricDataResults"][0]["Values"]]
