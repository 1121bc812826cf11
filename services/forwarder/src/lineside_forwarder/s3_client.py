"""Clients of S3: how they are set up, and which credentials they have.

Credentials come by boto3's own chain: environment, files, then the container provider, which on Greengrass is the
token exchange service. Those that expire are renewed before they do; none is ever logged.
"""

import logging
import os
import threading
from typing import TYPE_CHECKING, Any, Literal

import boto3
import structlog
from botocore.config import Config

from lineside_forwarder.s3_sending import Body
from lineside_forwarder.settings import S3Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = structlog.get_logger("lineside_forwarder.s3")

MAX_CONNECTIONS = 16
"""Connections that are kept open; four objects of each of four batches go at once."""
_LONGEST_CONNECT_S = 10.0
_CONTAINER = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")


class Clients:
    """One client at a time, for all threads. Making it may block for seconds: the credentials are asked for.

    A client whose credentials are refused is dropped; the next one reads environment, files and provider anew.
    """

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._client: S3Client | None = None
        # It warns of what is reported here too, with a traceback that may hold what the credential server answered.
        logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)

    def get(self) -> "S3Client":
        """Return the client; raises what botocore raises where it cannot be made."""
        with self._lock:
            if self._client is None:
                self._client = _make(self._settings)
            return self._client

    def drop(self, client: "S3Client") -> None:
        """Have the next client made anew; users of this one may go on."""
        with self._lock:
            if self._client is client:
                self._client = None

    def close(self) -> None:
        """Close connections that are not in use."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()


def endpoint(settings: S3Settings) -> str | None:
    """Return the address of the store, None for AWS's own; the environment names it as it does for AWS's tools."""
    return settings.endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def configuration(settings: S3Settings) -> Config:
    """Return how requests are sent.

    Each is sent once: when and whether it is sent again is the supervisor's to say, whose state people see. AWS's own
    S3 gets SHA-256 checksums; with another endpoint only what a store must have is used: addresses by path unless the
    settings say otherwise, and Content-MD5, for many refuse or ignore the newer checksum headers.
    """
    addressing: Literal["path", "virtual", "auto"] = settings.addressing if endpoint(settings) else "auto"
    # What its published types do not know yet. The endpoint is known here: no file of AWS's may choose another.
    newer: dict[str, Any] = {"ignore_configured_endpoint_urls": True, "user_agent_appid": "lineside"}
    return Config(
        connect_timeout=min(settings.timeout_s, _LONGEST_CONNECT_S),
        read_timeout=settings.timeout_s,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=MAX_CONNECTIONS,
        # The signature covers the body also where TLS carries it: a store refuses what was damaged on the way.
        s3={"addressing_style": addressing, "payload_signing_enabled": True},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        **newer,
    )


def warn_of_leftovers() -> None:
    """Say so where keys in the environment hide the credentials that the container provider would give."""
    provider = next((name for name in _CONTAINER if name in os.environ), None)
    if provider is not None and "AWS_ACCESS_KEY_ID" in os.environ:
        log.warning(
            "AWS_ACCESS_KEY_ID is set and hides the container's credentials, which are renewed while it is not",
            hidden=provider,
            remedy="Take AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN out of the environment",
        )


def _make(settings: S3Settings) -> "S3Client":
    # AWS_REGION is what Greengrass and containers set; boto3 itself reads only AWS_DEFAULT_REGION.
    region = settings.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    url = endpoint(settings)
    if region is None and url:
        region = "us-east-1"  # what stores without regions take in a signature
    session = boto3.session.Session(region_name=region)
    client: S3Client = session.client("s3", endpoint_url=url, config=configuration(settings))
    client.meta.events.register("before-send.s3", _begin_sending)
    return client


def _begin_sending(request: Any, **_more: Any) -> None:
    if isinstance(request.body, Body):
        request.body.begin_sending()
