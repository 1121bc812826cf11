"""S3 for packages and the desired state: one client, and what its errors mean for who deploys."""

import os
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore import exceptions
from botocore.config import Config

from lineside.aws_errors import Cause, cause_of, code, message, one_line, status
from lineside.s3_download import DISK_FULL, Changed, may_pass
from lineside_deployer.errors import DeploymentError, PackageAway, PackageRefused

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONNECT_S, _READ_S = 10.0, 60.0
_FORBIDDEN = 403
_GONE: Final = frozenset({"NoSuchKey", "NoSuchBucket", "404"})
_MOVED: Final = frozenset({"PreconditionFailed", "InvalidRange", "412", "416"})


def make_client(region: str | None, endpoint_url: str | None) -> "S3Client":
    """Return a client; each request is sent once, for when it is sent again is the caller's to say.

    Raises what botocore raises where it cannot be made.
    """
    # AWS_REGION is what Greengrass and containers set; boto3 itself reads only AWS_DEFAULT_REGION.
    region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region is None and endpoint_url:
        region = "us-east-1"  # what stores without regions take in a signature
    newer: dict[str, Any] = {"user_agent_appid": "lineside"}  # what its published types do not know yet
    configuration = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        retries={"total_max_attempts": 1, "mode": "standard"},
        s3={"addressing_style": "path" if endpoint_url else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        **newer,
    )
    session = boto3.session.Session(region_name=region)
    client: S3Client = session.client("s3", endpoint_url=endpoint_url, config=configuration)
    return client


def explain(error: Exception, url: str) -> DeploymentError:
    """Return what an error means for who deploys `url`; it holds no secret."""
    if isinstance(error, DeploymentError):
        return error
    if isinstance(error, exceptions.ClientError):
        return _answered(error, url)
    if isinstance(error, Changed):
        what, remedy = f"{url} was replaced while it was fetched", "Give each package a key of its own"
    elif getattr(error, "errno", None) in DISK_FULL:
        what, remedy = f"the disk is full while {url} is fetched", "Make room; what has come is kept"
    elif isinstance(error, OSError) and error.filename:
        what, remedy = f"{error.filename} cannot be written: {error.strerror}", "See who owns the folder"
    else:
        needs_credentials = cause_of(error) is Cause.NO_CREDENTIALS
        what = f"{url} cannot be had: {one_line(error)}"
        remedy = "Give this service credentials" if needs_credentials else "See the network, DNS and the proxy"
    return PackageAway(what, remedy=remedy)


def _answered(error: exceptions.ClientError, url: str) -> DeploymentError:
    said = f"{error.operation_name}: {status(error)} {code(error)}: {message(error)}"
    if code(error) in _MOVED:
        return PackageAway(f"{url} was replaced while it was fetched ({said})", remedy="Give each a key of its own")
    if may_pass(error):
        return PackageAway(f"{url} cannot be had now ({said})")
    if code(error) in _GONE:
        return PackageRefused(f"there is no {url} ({said})", remedy="Upload it, or correct the desired state")
    if status(error) == _FORBIDDEN:
        return PackageRefused(f"S3 refuses {url} ({said})", remedy="Allow this box s3:GetObject there")
    return PackageRefused(f"S3 does not give {url} ({said})")
