"""Credentials of the container: asked for, renewed before they expire, waited for, and never in a log."""

import io
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.utils import ContainerMetadataFetcher

from lineside import telemetry
from lineside_forwarder.errors import DestinationAway, NotAllowed
from lineside_forwarder.s3 import S3Destination
from lineside_forwarder.settings import S3Settings
from tests.support.credential_server import TOKEN, CredentialServer
from tests.support.forwarding import entry as a_capture
from tests.support.s3_uploads import Blobs, Counting
from tests.support.simulated_s3 import Store
from tests.support.store_front import Answer, Asked, Front


@pytest.fixture
def server() -> Iterator[CredentialServer]:
    credentials = CredentialServer()
    yield credentials
    credentials.close()


@pytest.fixture
def container(
    aws_environment: pytest.MonkeyPatch, server: CredentialServer, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """An environment as Greengrass gives it to a container."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        aws_environment.delenv(name)
    aws_environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url)
    aws_environment.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN)
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)  # seconds between its own three attempts
    return aws_environment


@pytest.fixture
def logs() -> io.StringIO:
    """All that is logged at debug, by everybody."""
    text = io.StringIO()
    telemetry.configure("forwarder", level="debug", style="json", stream=text)
    return text


@asynccontextmanager
async def destination(url: str, bucket: str) -> AsyncIterator[S3Destination]:
    settings = {"name": "cloud", "bucket": bucket, "endpoint_url": url, "timeout_s": 2}
    there = S3Destination(S3Settings.model_validate(settings))
    await there.start()
    try:
        yield there
    finally:
        await there.close()


def used(front: Front) -> list[str]:
    """Return the access key of each request."""
    keys = [re.search(r"Credential=(\w+)/", asked.headers["authorization"]) for asked in front.asked]
    return [key[1] for key in keys if key]


def upload(folder: Path) -> Any:
    return Blobs(folder).upload([a_capture("part-1")])


@pytest.mark.usefixtures("container")
async def test_they_are_renewed_before_they_expire(
    server: CredentialServer, front: Front, bucket: str, tmp_path: Path, logs: io.StringIO
) -> None:
    async with destination(front.url, bucket) as there:
        for _ in range(3):
            await there.deliver(upload(tmp_path), Blobs(tmp_path), Counting())
        assert len(server.given) == 1  # an hour's credentials are kept
    server.lives_s = 60  # less than the time before the end at which they must be renewed
    async with destination(front.url, bucket) as there:
        for _ in range(3):
            await there.deliver(upload(tmp_path), Blobs(tmp_path), Counting())
    assert len(set(used(front)[3:])) == 3
    assert front.asked[-1].headers["x-amz-security-token"] == server.given[-1]["Token"]
    assert not [secret for secret in server.secrets() if secret in logs.getvalue()]


@pytest.mark.usefixtures("container")
async def test_the_log_would_show_a_secret_that_boto_logs(
    server: CredentialServer, moto_server: Store, bucket: str, tmp_path: Path, logs: io.StringIO
) -> None:
    logging.getLogger("botocore").setLevel(logging.DEBUG)
    async with destination(moto_server.url, bucket) as there:
        await there.deliver(upload(tmp_path), Blobs(tmp_path), Counting())
    assert [secret for secret in server.secrets() if secret in logs.getvalue()]


@pytest.mark.usefixtures("container")
async def test_a_server_that_is_away_at_the_start_is_waited_for(
    server: CredentialServer, moto_server: Store, bucket: str, tmp_path: Path, logs: io.StringIO
) -> None:
    server.close()
    async with destination(moto_server.url, bucket) as there:
        with pytest.raises(DestinationAway, match="their provider does not answer"):
            await there.deliver(upload(tmp_path), Blobs(tmp_path), Counting())
        again = CredentialServer(server.port)
        try:
            again.status = 500
            with pytest.raises(DestinationAway, match="their provider answers 500") as failed:
                await there.deliver(upload(tmp_path), Blobs(tmp_path), Counting())
            assert TOKEN not in str(failed.value)
            again.status = 200
            await there.deliver(upload(tmp_path), Blobs(tmp_path), Counting())
        finally:
            again.close()
    assert len(moto_server.records(bucket)) == 1
    assert TOKEN not in logs.getvalue()


@pytest.mark.usefixtures("container")
async def test_credentials_that_expire_without_a_server_are_said_and_healed(
    server: CredentialServer, moto_server: Store, bucket: str, tmp_path: Path, logs: io.StringIO
) -> None:
    server.lives_s = 60
    async with destination(moto_server.url, bucket) as there:
        await there.deliver(upload(tmp_path), Blobs(tmp_path), Counting())
        server.status = 500
        with pytest.raises(DestinationAway, match="their provider answers 500"):
            await there.deliver(upload(tmp_path), Blobs(tmp_path), Counting())
        server.status = 200
        await there.deliver(upload(tmp_path), Blobs(tmp_path), Counting())
    assert not [secret for secret in server.secrets() if secret in logs.getvalue()]


@pytest.mark.usefixtures("container")
@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
async def test_refused_credentials_are_asked_for_anew_once(
    server: CredentialServer, front: Front, bucket: str, tmp_path: Path, code: str
) -> None:
    def first_is_revoked(asked: Asked) -> Answer | None:
        return Answer(403, code) if "ASIA0000000000000001" in asked.headers["authorization"] else None

    front.answer = first_is_revoked
    async with destination(front.url, bucket) as there:
        await there.deliver(upload(tmp_path), Blobs(tmp_path), Counting())
        assert len(server.given) == 2
        front.answer = lambda _asked: Answer(403, code)
        front.asked.clear()
        with pytest.raises(NotAllowed, match=code) as failed:
            await there.deliver(upload(tmp_path), Blobs(tmp_path), Counting())
    assert failed.value.reason == "credentials"
    assert front.count("PUT") == 2


async def test_without_any_it_is_said_what_to_give(
    container: pytest.MonkeyPatch, moto_server: Store, bucket: str, tmp_path: Path
) -> None:
    container.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    async with destination(moto_server.url, bucket) as there:
        with pytest.raises(NotAllowed, match="AWS_CONTAINER_CREDENTIALS_FULL_URI"):
            await there.deliver(upload(tmp_path), Blobs(tmp_path), Counting())
        container.setenv("AWS_ACCESS_KEY_ID", "testing")
        container.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        await there.deliver(upload(tmp_path), Blobs(tmp_path), Counting())
    assert len(moto_server.records(bucket)) == 1


async def test_keys_that_hide_the_containers_are_warned_of(
    container: pytest.MonkeyPatch, moto_server: Store, bucket: str, logs: io.StringIO
) -> None:
    async with destination(moto_server.url, bucket):
        assert "hides the container's credentials" not in logs.getvalue()
    container.setenv("AWS_ACCESS_KEY_ID", "AKIALEFTOVER")
    async with destination(moto_server.url, bucket):
        assert "hides the container's credentials" in logs.getvalue()
    assert "AKIALEFTOVER" not in logs.getvalue()
