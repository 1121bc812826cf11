"""Clients of AWS' APIs: bounded tries, bounded time, each call counted, each failure one sentence.

Endpoints, region, profile and credentials are boto3's own matters (`AWS_ENDPOINT_URL_GREENGRASSV2` and the like).
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lineside import aws_errors
from lineside.aws_errors import Cause
from lineside_fleet.errors import AwsError

TRIES = 6
"""Of each call, all together: boto3 waits between them, longer each time, 20 s at most."""
_CONFIG = Config(
    connect_timeout=10,
    read_timeout=60,
    retries={"total_max_attempts": TRIES, "mode": "standard"},
    max_pool_connections=4,
)
_IAM = {"greengrassv2": "greengrass"}
"""Services whose actions have another prefix in policies."""
RESUME = "What was done before is kept: run the same command again"

_HERE = {
    Cause.NO_CREDENTIALS: ("no credentials here", "Set AWS_PROFILE, or log in by `aws sso login`"),
    Cause.REGION: ("no region is set", "Set AWS_REGION, for instance eu-central-1"),
    Cause.CERTIFICATE: ("the server's certificate is not trusted here", "Set AWS_CA_BUNDLE"),
}
"""What is wrong on this machine, and what to do."""


@dataclass
class Aws:
    """One account and region; `sent` counts the requests that went out, with those that boto3 sent again."""

    sent: Counter[str] = field(default_factory=Counter)

    @cached_property
    def _session(self) -> boto3.session.Session:
        # AWS_REGION is what containers and Lambda set; boto3 itself reads only AWS_DEFAULT_REGION.
        return boto3.session.Session(region_name=os.environ.get("AWS_REGION"))

    def _make(self, service: Any) -> "Api":
        try:
            client = self._session.client(service, config=_CONFIG)
        except (BotoCoreError, ValueError) as error:
            raise _said(error, service, "no call") from None
        client.meta.events.register("before-send", self._count)
        return Api(client, str(service))

    def _count(self, request: Any, **more: Any) -> None:
        del request
        self.sent[str(more.get("event_name", "")).removeprefix("before-send.")] += 1

    @cached_property
    def greengrass(self) -> "Api":
        """AWS IoT Greengrass V2."""
        return self._make("greengrassv2")

    @cached_property
    def iot(self) -> "Api":
        """AWS IoT: things, groups, jobs."""
        return self._make("iot")

    @cached_property
    def s3(self) -> "Api":
        """S3."""
        return self._make("s3")

    @cached_property
    def sagemaker(self) -> "Api":
        """SageMaker: the Model Registry."""
        return self._make("sagemaker")


class Api:
    """One service's client; every call by its name, every failure an AwsError."""

    def __init__(self, client: Any, service: str) -> None:
        self.client = client
        self.service = service

    def call(self, operation: str, *, absent: tuple[str, ...] = (), **parameters: Any) -> dict[str, Any] | None:
        """Return an answer, None where its error is one of `absent`; raises AwsError for all others."""
        try:
            answer: dict[str, Any] = getattr(self.client, operation)(**parameters)
        except ClientError as error:
            if aws_errors.code(error) in absent:
                return None
            raise _said(error, self.service, _action(operation)) from None
        except (BotoCoreError, ValueError) as error:
            raise _said(error, self.service, _action(operation)) from None
        return answer

    def ask(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Return an answer; raises AwsError."""
        answer = self.call(operation, **parameters)
        return {} if answer is None else answer

    @contextmanager
    def reading(self, operation: str) -> Iterator[None]:
        """Read an answer's stream inside of this: what breaks then raises AwsError too."""
        try:
            yield
        except BotoCoreError as error:
            raise _said(error, self.service, _action(operation)) from None

    def rows(self, operation: str, key: str, *, size: int, **parameters: Any) -> Iterator[Any]:
        """Yield the entries of a listing, page by page; raises AwsError."""
        token: dict[str, str] = {}
        while True:
            answer = self.ask(operation, maxResults=size, **token, **parameters)
            yield from answer.get(key) or ()
            if not answer.get("nextToken"):
                return
            token = {"nextToken": answer["nextToken"]}


def _action(operation: str) -> str:
    return "".join(part.capitalize() for part in operation.split("_"))


def _said(error: Exception, service: str, action: str) -> AwsError:
    """Return what became of a call, and what to do about it."""
    doing = f"{_IAM.get(service, service)}:{action}"
    if isinstance(error, ClientError):
        return _answered(error, doing)
    cause = aws_errors.cause_of(error)
    if cause in {Cause.NETWORK, Cause.NOT_AWS}:
        what = f"{doing} got no answer ({aws_errors.one_line(error)}); it may have been done all the same"
        return AwsError(what, remedy=f"{RESUME}, it looks first at what is there", transient=True)
    if cause is Cause.CREDENTIAL_PROVIDER:
        said = aws_errors.provider_said(error)
        return AwsError(f"{doing}: the provider of credentials {said}", remedy=RESUME, transient=True)
    what, remedy = _HERE.get(cause, (aws_errors.one_line(error), "Correct it and run the command again"))
    return AwsError(f"{doing}: {what}", remedy=remedy)


def _answered(error: ClientError, doing: str) -> AwsError:
    code, status, message = aws_errors.code(error), aws_errors.status(error), aws_errors.message(error)
    if code in aws_errors.THROTTLING_CODES:
        what = f"{doing} was throttled {TRIES} times in a row"
        return AwsError(what, remedy=f"{RESUME} later, or with a smaller stage", transient=True)
    if code in {"AccessDeniedException", "AccessDenied", "UnauthorizedException", "ForbiddenException"}:
        what = f"{doing} is not allowed: {message}"
        return AwsError(what, remedy=f"Allow {doing} in the policy of who runs this; {RESUME[0].lower()}{RESUME[1:]}")
    if code in aws_errors.STALE_CREDENTIAL_CODES:
        return AwsError(f"{doing}: the credentials are not taken ({code})", remedy=f"Renew them. {RESUME}")
    if status >= 500:  # noqa: PLR2004 - the server's own fault
        return AwsError(f"{doing} failed at AWS: {code}: {message}", remedy=RESUME, transient=True)
    return AwsError(f"{doing} was refused: {code}: {message}", remedy=RESUME)
