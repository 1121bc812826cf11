"""Edge Manager's published example configuration, as people have it."""

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import lineside_forwarder.__main__ as process
from lineside.service import Service
from lineside_forwarder.settings import S3Settings, Settings
from tests.support.forwarding import entry, opened
from tests.support.simulated_s3 import Store
from tests.support.waiting import until

SEED = """
{"DeviceFleetName": "MyEdgeDeviceFleet", "BucketName": "amzn-s3-demo-bucket", "CaptureDataDestination": "Disk",
 "CaptureDataPeriodicUpload": "true", "SagemakerEdgeLogVerbose": "true"}
"""


async def test_file_on_disk_then_the_same_record_in_the_bucket_once(
    tmp_path: Path, moto_server: Store, aws_environment: pytest.MonkeyPatch
) -> None:
    bucket = moto_server.make_bucket("amzn-s3-demo-bucket")
    aws_environment.setattr(process, "plan", lambda settings: [at(moto_server.url, each) for each in PLAN(settings)])
    settings = Settings.model_validate(
        {"thing": "box", "spool": {"folder": tmp_path / "spool"}, "edge_manager": json.loads(SEED)}
    )
    assert settings.log_level == "debug"
    service = Service("forwarder")
    app, _http = process.build(settings, service)
    with opened(tmp_path / "spool") as spool:
        spool.put(entry("capture-1", image=b"x" * 10_000))
        async with app.router.lifespan_context(app):
            await until(lambda: delivered(service.registry, "disk") == 1)
            (lines,) = (tmp_path / "capture").rglob("*.jsonl")
            assert not moto_server.keys(bucket)
            await until(lambda: spool.status().records == 0)
            assert service.is_ready
    name = "sme-capture/line/spindle/2026/11/22/02"
    assert str(lines.relative_to(tmp_path / "capture")) == f"{name}/box.capture-1.jsonl"
    assert moto_server.keys(bucket) == [
        f"{name}/box.capture-1.jsonl",
        f"{name}/raw-data/input-tensors/box.capture-1.0-image.jpg",
    ]
    assert moto_server.event_ids(bucket) == {"capture-1": 1}
    (uploaded,) = moto_server.records(bucket)
    written = json.loads(lines.read_bytes())
    assert moto_server.get(bucket, key_of(uploaded)) == b"x" * 10_000
    assert image(written) == b"x" * 10_000
    for record in (uploaded, written):
        del record["deviceFleetInputs"][0]["data-ref"]
    assert uploaded == written


PLAN = process.plan


def at(url: str, each: Any) -> Any:
    """Return a plan whose bucket is in the simulated store."""
    if not isinstance(each.settings, S3Settings):
        return each
    return type(each)(
        each.settings.model_copy(update={"endpoint_url": url}), make_path=each.make_path, period_s=each.period_s
    )


def key_of(record: dict[str, Any]) -> str:
    address: str = record["deviceFleetInputs"][0]["data-ref"]
    return address.removeprefix("file://").removeprefix("s3://amzn-s3-demo-bucket/")


def image(record: dict[str, Any]) -> bytes:
    return Path(key_of(record)).read_bytes()


def delivered(registry: CollectorRegistry, destination: str) -> float | None:
    return registry.get_sample_value("lineside_forwarder_delivered_records_total", {"destination": destination})
