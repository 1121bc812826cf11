"""The whole chain of evidence: from the camera's picture to the folder and the bucket, over kills and a lost store."""

import hashlib
import json
import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from lineside.contract import Result, parse_result, utc_now
from lineside_bench import config
from lineside_bench.options import Options
from lineside_bench.reporting.evidence import reported
from lineside_bench.runner.simulated_line import SimulatedLine
from tests.support.fault_proxy import FaultProxy
from tests.support.simulated_s3 import KEYS, Store
from tests.support.waiting import HANG_S, until
from tests.support.whole_line import judged, parts_coming

BUCKET = "amzn-s3-demo-bucket"
SAID = ("id", "request_id", "status", "verdict", "reason", "code", "model", "findings", "scores", "context")
"""What of a result is the same wherever it stands; its times go on after the record was made."""
AROUND = timedelta(seconds=2)
"""A result of this time around the kill may have left before its evidence was on the disk, which it then says."""


async def kill(line: SimulatedLine, name: str) -> datetime:
    process = line.processes[name]
    before, pid = process.restarts, process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    killed = utc_now()
    await until(lambda: process.restarts > before, f"{name} started again")
    await process.until_ready(HANG_S)
    return killed


@pytest.fixture
def store() -> Any:
    store = Store()
    yield store
    store.close()


@pytest.fixture
def as_edge_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ship by Edge Manager's settings instead of by the bench's own."""
    made = config.settings_document

    def amended(*args: Any, **fields: Any) -> dict[str, Any]:
        document = made(*args, **fields)
        del document["forwarder"]["destinations"]
        document["edge_manager"] = {
            "BucketName": BUCKET,
            "CaptureDataDestination": "Disk",
            "CaptureDataPeriodicUpload": "true",
            "CaptureDataPeriodicUploadPeriodSeconds": "1",
            "CaptureDataPushPeriodSeconds": "1",
        }
        return document

    monkeypatch.setattr(config, "settings_document", amended)


def remember_pictures(line: SimulatedLine, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the SHA-256 of each part's picture as the camera serves it, filled as the parts come."""
    pictures: dict[str, str] = {}
    show = line.camera.show

    def remembering(station: str, part: Any) -> None:
        if part is not None:
            pictures[part.part_id] = digest(part.jpeg)
        show(station, part)

    monkeypatch.setattr(line.camera, "show", remembering)
    return pictures


def owed(line: SimulatedLine, killed: datetime) -> set[str]:
    """Return the requests whose evidence must be there: what was reported, and each fail not answered at the kill."""
    exchanges = line.observer.exchanges()
    fails = {
        name
        for name, exchange in exchanges.items()
        for seen in exchange.results
        if seen.result.verdict == "fail" and not killed - AROUND <= seen.at <= killed + AROUND
    }
    return reported(exchanges) | fails


def on_disk(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(folder.rglob("*.jsonl")) for line in file.read_bytes().splitlines()]


def by_id(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {record["eventMetadata"]["eventId"]: record for record in records}
    assert len(found) == len(records), "a capture is there twice"
    return found


def in_both(folder: Path, store: Store, wanted: set[str]) -> Any:
    """Return what is in the folder and what is in the bucket, once both have the same, and all that is wanted."""
    here, there = by_id(on_disk(folder)), by_id(store.records(BUCKET))
    return (here, there) if wanted <= here.keys() == there.keys() else None


def assert_the_check_can_fail(store: Store, there: dict[str, Any], wanted: set[str]) -> None:
    """Negative control: a file of captures that is there twice is seen, and one that is lost."""
    files = [key for key in store.keys(BUCKET) if key.endswith(".jsonl")]
    ids = {
        key: {json.loads(line)["eventMetadata"]["eventId"] for line in store.get(BUCKET, key).splitlines()}
        for key in files
    }
    file = next(key for key in files if ids[key] & wanted)
    store.client.copy_object(Bucket=BUCKET, Key=f"again/{file}", CopySource={"Bucket": BUCKET, "Key": file})
    with pytest.raises(AssertionError, match="there twice"):
        by_id(store.records(BUCKET))
    store.client.delete_object(Bucket=BUCKET, Key=f"again/{file}")
    store.client.delete_object(Bucket=BUCKET, Key=file)
    assert not wanted <= by_id(store.records(BUCKET)).keys()
    assert set(there) > by_id(store.records(BUCKET)).keys()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digests(store: Store, here: dict[str, Any], there: dict[str, Any]) -> tuple[str, str]:
    """Return the SHA-256 of a capture's picture in the folder and in the bucket."""
    file = Path(unquote(urlsplit(item(here, "deviceFleetAuxiliaryInputs", "image")["data-ref"]).path))
    key = item(there, "deviceFleetAuxiliaryInputs", "image")["data-ref"].removeprefix(f"s3://{BUCKET}/")
    return digest(file.read_bytes()), digest(store.get(BUCKET, key))


def item(record: dict[str, Any], group: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in record[group] if one["name"] == name]
    return found


def said(result: Result) -> dict[str, Any]:
    return {name: value for name, value in result.model_dump(mode="json").items() if name in SAID}


@pytest.mark.usefixtures("as_edge_manager")
async def test_every_fail_is_in_the_folder_and_in_the_bucket_once_and_is_what_the_camera_saw(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.make_bucket(BUCKET)
    async with FaultProxy(store.port) as way:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{way.port}"}.items():
            monkeypatch.setenv(name, value)
        async with SimulatedLine(Options(parts=None, rate=12)) as line:
            folder = line.work / config.CAPTURE
            pictures, seen = remember_pictures(line, monkeypatch), 0
            async with parts_coming(line, 10):
                await until(lambda: store.keys(BUCKET), "the first upload")
                await way.down()
                await judged(line, 15)
                await kill(line, "forwarder")
                await way.up()
                killed = await kill(line, "inference")
                await judged(line, 15)
            wanted = owed(line, killed)
            assert len(wanted) > 10
            here, there = await until(lambda: in_both(folder, store, wanted), "all of it in the folder and the bucket")
            results = {name: exchange.results for name, exchange in line.observer.exchanges().items()}
            for name in wanted:
                kept = parse_result(item(here[name], "deviceFleetAuxiliaryOutputs", "result")["data"].encode())
                assert kept.evidence_id == name
                assert said(kept) in [said(one.result) for one in results[name]]
                assert here[name]["eventMetadata"] == there[name]["eventMetadata"]
                if kept.context.station != config.SPINDLE:
                    served = pictures[kept.context.part_id]
                    assert digests(store, here[name], there[name]) == (served, served)
                    seen += 1
            assert seen > 10
            assert_the_check_can_fail(store, there, wanted)
