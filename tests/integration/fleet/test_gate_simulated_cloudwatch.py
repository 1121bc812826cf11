"""The gate's questions to a simulated CloudWatch, of figures as the exporter sends them: counts, and no percentiles."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from lineside_fleet.gate.observations import SLICES, Window
from lineside_fleet.gate.sources.cloudwatch import CloudWatch
from lineside_fleet.gate.sources.errors import NotObserved
from tests.support.simulated_s3 import KEYS, Store

BEGAN = (datetime.now(UTC) - timedelta(hours=5)).replace(minute=0, second=0, microsecond=0)
WINDOW = Window(BEGAN, BEGAN + timedelta(hours=1))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A simulated CloudWatch with an hour of two boxes."""
    store = Store()
    client = boto3.client(
        "cloudwatch",
        endpoint_url=store.url,
        region_name="eu-central-1",
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    for thing in ("box-1", "box-2"):
        dimensions = [
            {"Name": "Thing", "Value": thing},
            {"Name": "Station", "Value": "station-1"},
            {"Name": "Model", "Value": "surface"},
        ]
        for minute in range(60):
            common = {
                "Dimensions": dimensions,
                "Timestamp": BEGAN + timedelta(minutes=minute, seconds=5),
                "Unit": "None",
            }
            client.put_metric_data(
                Namespace="Lineside",
                MetricData=[
                    {"MetricName": "Unknown", "Values": [0.0, 1.0], "Counts": [9.0, 1.0], **common},
                    {"MetricName": "Defect", "Values": [0.0, 1.0], "Counts": [7.0, 2.0], **common},
                ],
            )
    yield store.url
    store.close()


@pytest.fixture
def source(address: str, monkeypatch: pytest.MonkeyPatch) -> CloudWatch:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return CloudWatch(region="eu-central-1", endpoint_url=address)


def test_counts_come_by_thing_and_slice(source: CloudWatch) -> None:
    side = source.observe(WINDOW, model="surface", latency=(), confidence=())
    assert sorted(side.devices) == ["box-1", "box-2"]
    assert len(side.cells) == 2 * SLICES
    assert side.parts == 2 * 60 * 10
    assert sum(cell.unknowns or 0 for cell in side.cells) == 2 * 60
    assert sum(cell.fails or 0 for cell in side.cells) == 2 * 60 * 2


def test_things_and_models_are_told_apart(source: CloudWatch) -> None:
    side = source.observe(WINDOW, model="surface", latency=(), confidence=(), devices=["box-2"])
    assert list(side.devices) == ["box-2"]
    with pytest.raises(NotObserved, match="nothing of model weld"):
        source.observe(WINDOW, model="weld")
