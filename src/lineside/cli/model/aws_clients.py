"""boto3's clients as `publishing` asks them: S3 by SHA-256, Greengrass' component versions."""

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lineside.errors import LinesideError
from lineside.recipes.publishing import PublishRefused, as_base64

_CHUNK = 1024 * 1024
_MISSING = {"404", "NoSuchKey", "NotFound"}
_CAME_BETWEEN = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


def clients(region: str | None, *, session: Any = None) -> "tuple[S3, Greengrass]":
    """Return both; raises LinesideError where boto3 is not installed or knows no region."""
    try:
        import boto3  # noqa: PLC0415 - the command line's own installation does without it
        from botocore.config import Config  # noqa: PLC0415 - same
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - same
    except ModuleNotFoundError:
        raise LinesideError(
            "AWS cannot be asked: boto3 is not installed", remedy="pip install 'boto3>=1.44,<2'"
        ) from None
    session = session or boto3
    config = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=10, read_timeout=60)
    try:
        return (
            S3(session.client("s3", region_name=region, config=config)),
            Greengrass(session.client("greengrassv2", region_name=region, config=config)),
        )
    except (BotoCoreError, ValueError) as error:
        raise LinesideError(
            f"AWS cannot be asked: {str(error).rstrip('.')}", remedy="Give --region, or set AWS_REGION"
        ) from None


class S3:
    """Objects with their SHA-256."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def sha256(self, bucket: str, key: str) -> str | None:
        """Return an object's SHA-256, as S3 has it or by reading it; None where there is none."""
        with _said(f"s3://{bucket}/{key}"):
            try:
                head = self._client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
            except self._client.exceptions.ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise
            if (found := head.get("ChecksumSHA256")) is not None and head.get(
                "ChecksumType", "FULL_OBJECT"
            ) == "FULL_OBJECT":
                return _hex(found)
            made = hashlib.sha256()
            with closing(self._client.get_object(Bucket=bucket, Key=key)["Body"]) as content:
                for piece in content.iter_chunks(_CHUNK):
                    made.update(piece)
            return made.hexdigest()

    def put(self, bucket: str, key: str, file: Path, sha256: str) -> bool:
        """Put a file where nothing is; S3 refuses it where what arrived has another SHA-256."""
        with _said(f"s3://{bucket}/{key}"), file.open("rb") as body:
            try:
                self._client.put_object(
                    Bucket=bucket,
                    Key=key,
                    Body=body,
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=as_base64(sha256),
                    IfNoneMatch="*",
                )
            except self._client.exceptions.ClientError as error:
                if _code(error) in _CAME_BETWEEN:
                    return False
                raise
        if self.sha256(bucket, key) != sha256:
            raise PublishRefused(f"s3://{bucket}/{key} is not what was put there", remedy="Publish it again")
        return True


class Greengrass:
    """Component versions of the account."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def recipe(self, name: str, version: str) -> str | None:
        """Return a version's recipe as JSON, None where the account has none."""
        arn = self._arn(name, version)
        if arn is None:
            return None
        with _said(f"component {name} {version}"):
            try:
                answer = self._client.get_component(arn=arn, recipeOutputFormat="JSON")
            except self._client.exceptions.ResourceNotFoundException:
                return None
            return bytes(answer["recipe"]).decode()

    def create(self, recipe: str) -> None:
        """Make a version."""
        with _said("the component's version"):
            try:
                self._client.create_component_version(inlineRecipe=recipe.encode())
            except self._client.exceptions.ConflictException:
                raise PublishRefused(
                    "somebody made this version of the component at the same time",
                    remedy="Publish it again: it is compared",
                ) from None

    def state(self, name: str, version: str) -> tuple[str, str]:
        """Return a version's state, REQUESTED where it is not listed yet."""
        arn = self._arn(name, version)
        if arn is None:
            return "REQUESTED", ""
        with _said(f"component {name} {version}"):
            try:
                status = self._client.describe_component(arn=arn).get("status", {})
            except self._client.exceptions.ResourceNotFoundException:
                return "REQUESTED", ""
            return str(status.get("componentState", "REQUESTED")), str(
                status.get("errors") or status.get("message") or ""
            )

    def _arn(self, name: str, version: str) -> str | None:
        """Return a version's ARN: only the list says in which partition and account a component is."""
        with _said("the account's components"):
            for page in self._client.get_paginator("list_components").paginate(scope="PRIVATE"):
                for each in page.get("components", ()):
                    if each.get("componentName") == name:
                        return f"{each['arn']}:versions:{version}"
        return None


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _hex(checksum: str) -> str:
    import base64  # noqa: PLC0415 - one line's use

    return base64.b64decode(checksum).hex()


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Say what AWS refused, in one sentence."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - comes with boto3

    from lineside.aws_errors import message, one_line  # noqa: PLC0415 - same

    try:
        yield
    except ClientError as error:
        raise PublishRefused(
            f"{what}: AWS answers {_code(error)}: {message(error)}",
            remedy="Mend it and publish again: what is done stays",
        ) from None
    except BotoCoreError as error:
        raise PublishRefused(f"{what}: {one_line(error)}", remedy="Publish again: what is done stays") from None
