"""A simulated S3 in a process of its own, and what a test asks it."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.support.waiting import HANG_S

# What stands in the environment of whoever talks to it. They open nothing: the simulated store looks at none.
KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


class Store:
    """The server, a client for the test's own questions, and buckets."""

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("moto_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **KEYS, **environment},
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"
        self.client: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",  # noqa: S106 - any word does
            config=Config(s3={"addressing_style": "path"}),
        )

    def close(self) -> None:
        self.client.close()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(HANG_S)
        self._process.stdout.close()

    def make_bucket(self, name: str) -> str:
        """Make a bucket, or empty it where it is there."""
        self.client.create_bucket(Bucket=name)
        for key in self.keys(name):
            self.client.delete_object(Bucket=name, Key=key)
        return name

    def keys(self, bucket: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def get(self, bucket: str, key: str) -> bytes:
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def records(self, bucket: str) -> list[dict[str, Any]]:
        """Return all captures of a bucket, in the order of the keys and lines."""
        files = [key for key in self.keys(bucket) if key.endswith(".jsonl")]
        return [json.loads(line) for key in files for line in self.get(bucket, key).splitlines()]

    def event_ids(self, bucket: str) -> Counter[str]:
        """Return how often each capture is there."""
        return Counter(record["eventMetadata"]["eventId"] for record in self.records(bucket))

    def references(self, bucket: str) -> dict[str, bytes]:
        """Return each reference of all captures with the SHA-256 of what is there; fails where nothing is."""
        found = {}
        for record in self.records(bucket):
            for items in record.values():
                for item in items if isinstance(items, list) else []:
                    if "data-ref" in item:
                        start = f"s3://{bucket}/"
                        assert item["data-ref"].startswith(start), item
                        data = self.get(bucket, item["data-ref"].removeprefix(start))
                        found[item["data-ref"]] = hashlib.sha256(data).digest()
        return found

    def half_done(self, bucket: str) -> list[str]:
        """Return the keys of uploads in parts that were begun and neither completed nor aborted."""
        return [entry["Key"] for entry in self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
