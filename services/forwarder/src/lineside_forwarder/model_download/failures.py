"""What S3's errors mean for who deploys a model: pure."""

from collections.abc import Mapping
from typing import Final

from botocore import exceptions

from lineside.aws_errors import (
    STALE_CREDENTIAL_CODES,
    Cause,
    cause_of,
    code,
    message,
    one_line,
    provider_said,
    status,
)
from lineside.greengrass.model_uri import S3Folder
from lineside.s3_download import DISK_FULL, Changed
from lineside_forwarder.model_download.errors import NotFetched

NO_REGION: Final = NotFetched(
    "no region is set (AWS_REGION is empty)", remedy="set awsRegion of the nucleus to the bucket's region"
)
_FORBIDDEN = 403
# What S3 answered, by its code: what was wrong and what to do. {said} is its own answer.
_CREDENTIALS: Final = (
    "S3 does not take this box's credentials for {folder} ({said})",
    "look at the role alias and its role; no AWS_ACCESS_KEY_ID may be left in the nucleus' environment",
)
_REGION: Final = (
    "the bucket {bucket!r} is in region {region} ({said})",
    "set awsRegion of the nucleus to the bucket's, or take a bucket in the nucleus' region",
)
_CLOCK: Final = ("this box's clock differs from S3's ({said})", "set the clock")
_MOVED: Final = (
    "a file under {folder} changed while it was fetched ({said})",
    "upload each version into a folder of its own, whole, before a deployment names it",
)
_KEY: Final = (
    "a file under {folder} is encrypted with a key that is not for this box ({said})",
    "allow the device's role kms:Decrypt on the bucket's key",
)
_RIGHTS: Final = (
    "S3 refuses {folder} ({said})",
    "allow the device's role s3:GetObject on {arn}/{prefix}* and s3:ListBucket on {arn}",
)
_OTHER: Final = ("S3 does not give {folder} ({said})", "deploy it again later; what was fetched is kept")
_ANSWERS: Final[Mapping[str, tuple[str, str]]] = {
    **dict.fromkeys(STALE_CREDENTIAL_CODES | {"InvalidAccessKeyId", "InvalidToken"}, _CREDENTIALS),
    **dict.fromkeys(("AuthorizationHeaderMalformed", "PermanentRedirect", "301"), _REGION),
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestExpired"), _CLOCK),
    **dict.fromkeys(("PreconditionFailed", "NoSuchKey", "InvalidRange", "412", "404", "416"), _MOVED),
    "NoSuchBucket": ("there is no bucket {bucket!r}", "make it, or correct ModelS3URI"),
    "InvalidObjectState": ("a file under {folder} is archived ({said})", "restore it, or upload it again"),
}
# What happened on this box or on the way. {said} is the error itself.
_CAUSES: Final[Mapping[Cause, tuple[str, str]]] = {
    Cause.NO_CREDENTIALS: (
        "there are no credentials for {folder}",
        "deploy aws.greengrass.TokenExchangeService, and allow the device's role s3:GetObject there",
    ),
    Cause.CREDENTIAL_PROVIDER: (
        "there are no credentials for {folder}, for Greengrass' token exchange service {provider}",
        "look at the role alias and its role, and at greengrass.log",
    ),
    Cause.CERTIFICATE: (
        "who answers for {folder} has a certificate that is not trusted here ({said})",
        "look for a proxy that opens TLS, and at this box's clock",
    ),
    Cause.NOT_AWS: (
        "what answers for {folder} does not speak S3 ({said})",
        "look for a proxy or a login page between this box and S3",
    ),
    Cause.NETWORK: (
        "{folder} cannot be reached ({said})",
        "look at the network, DNS and the proxy; the next try goes on where this one ended",
    ),
}
_ELSE: Final = ("{folder} cannot be asked for ({said})", "correct ModelS3URI, or the nucleus' region")


def explain(error: Exception, folder: S3Folder) -> NotFetched:
    """Return what whoever deploys is told of an error; it holds no secret."""
    if isinstance(error, NotFetched):
        return error
    if getattr(error, "errno", None) in DISK_FULL:
        return NotFetched("the disk of Docker's volumes is full", remedy="docker image prune, or a larger disk")
    region = "another"
    if isinstance(error, exceptions.ClientError):
        said = f"{error.operation_name}: {status(error)} {code(error)}: {message(error)}"
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region", region)
        words = _answered(error)
    else:
        said = str(error) if isinstance(error, Changed) else one_line(error)
        words = _MOVED if isinstance(error, Changed) else _CAUSES.get(cause_of(error), _ELSE)
    about = {"folder": folder, "bucket": folder.bucket, "prefix": folder.prefix, "arn": f"arn:aws:s3:::{folder.bucket}"}
    what, remedy = (each.format(**about, said=said, region=region, provider=provider_said(error)) for each in words)
    return NotFetched(what, remedy=remedy)


def _answered(error: exceptions.ClientError) -> tuple[str, str]:
    name = code(error)
    if name in _ANSWERS:
        return _ANSWERS[name]
    if "KMS" in name or "kms:" in message(error):
        return _KEY
    return _RIGHTS if status(error) == _FORBIDDEN else _OTHER
