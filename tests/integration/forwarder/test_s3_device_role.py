"""Evidence leaves, and artifacts are read, with exactly the rights that are rendered for a device's role."""

import json
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError

from lineside.recipes.device_role import EVIDENCE, policy
from lineside.recipes.rendering import Place
from lineside_forwarder.errors import NotAllowed
from lineside_forwarder.s3 import S3Destination
from lineside_forwarder.settings import S3Settings
from tests.support.forwarding import entry as a_capture
from tests.support.s3_uploads import Blobs, Counting
from tests.support.simulated_s3 import KEYS, Store

LARGE = bytes(range(256)) * 51200  # 12.5 MiB: more than one part


@dataclass
class Device:
    """Buckets of a store that knows rights, and a client with the device's."""

    store: Store
    keys: dict[str, str]
    s3: Any

    def enforce(self, *, rights: bool) -> None:
        """Let the store look at rights from now on, or take every request."""
        answer = httpx.post(f"{self.store.url}/moto-api/reset-auth", content=b"0" if rights else b"inf")
        answer.raise_for_status()


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    store = Store()
    try:
        for name in ("artifacts", "evidence", "elsewhere"):
            store.make_bucket(name)
        store.client.put_object(Bucket="artifacts", Key="com.lineside/0.1.0/component.sh", Body=b"#!/bin/sh\n")
        store.client.put_object(Bucket="artifacts", Key="com.other/secret", Body=b"x")
        admin = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
        iam = boto3.session.Session().client("iam", endpoint_url=store.url, **admin)
        iam.create_user(UserName="device")
        document = json.dumps(policy(Place("lineside", "artifacts", "0.1.0"))).replace(EVIDENCE, "evidence")
        iam.put_user_policy(UserName="device", PolicyName="device-role", PolicyDocument=document)
        made = iam.create_access_key(UserName="device")["AccessKey"]
        iam.close()
        keys = {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}
        named = {name.lower(): value for name, value in keys.items()}
        s3 = boto3.session.Session().client("s3", endpoint_url=store.url, region_name="us-east-1", **named)
        yield Device(store, keys, s3)
        s3.close()
    finally:
        store.close()


@pytest.fixture(autouse=True)
def as_the_device(device: Device, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {**KEYS, **device.keys}.items():
        monkeypatch.setenv(name, value)
    device.enforce(rights=True)
    yield
    device.enforce(rights=False)


@asynccontextmanager
async def destination(device: Device, bucket: str):
    there = S3Destination(
        S3Settings.model_validate({"name": "cloud", "bucket": bucket, "endpoint_url": device.store.url})
    )
    await there.start()
    try:
        yield there
    finally:
        await there.close()


async def test_evidence_arrives_small_and_in_parts(device: Device, tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    async with destination(device, "evidence") as there:
        for n in range(2):
            await there.deliver(blobs.upload([a_capture(f"part-{n}", image=LARGE)]), blobs, Counting())
    device.enforce(rights=False)
    assert device.store.event_ids("evidence") == {"part-0": 1, "part-1": 1}
    assert len(device.store.references("evidence")) == 2
    assert all(key.startswith("sme-capture/") for key in device.store.keys("evidence"))


@pytest.mark.parametrize(("bucket", "root"), [("elsewhere", "sme-capture"), ("evidence", "others")])
async def test_nowhere_else(device: Device, tmp_path: Path, bucket: str, root: str) -> None:
    blobs = Blobs(tmp_path)
    async with destination(device, bucket) as there:
        with pytest.raises(NotAllowed):
            await there.deliver(blobs.upload([a_capture("part-1")], root=root), blobs, Counting())


def test_artifacts_are_found_and_read_and_nothing_else(device: Device) -> None:
    """What the nucleus asks of the bucket: its location, how long the artifact is, the artifact."""
    ours = {"Bucket": "artifacts", "Key": "com.lineside/0.1.0/component.sh"}
    device.s3.get_bucket_location(Bucket="artifacts")
    assert device.s3.head_object(**ours)["ContentLength"] == 10
    assert device.s3.get_object(**ours)["Body"].read() == b"#!/bin/sh\n"
    refused = [
        lambda: device.s3.get_object(Bucket="artifacts", Key="com.other/secret"),
        lambda: device.s3.put_object(**ours, Body=b"rm -rf /"),
        lambda: device.s3.list_objects_v2(Bucket="evidence"),
        lambda: device.s3.get_object(Bucket="evidence", Key="sme-capture/x"),
        lambda: device.s3.delete_object(Bucket="evidence", Key="sme-capture/x"),
        lambda: device.s3.get_bucket_location(Bucket="evidence"),
    ]
    for ask in refused:
        with pytest.raises(ClientError, match=r"AccessDenied|Forbidden|403"):
            ask()
