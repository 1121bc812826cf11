"""Maps botocore's exceptions to the forwarder's errors: pure.

Only what is known to be about one batch refuses it. Whatever else a store says, known or not, keeps the evidence here:
what may end by itself is tried again with backoff, the rest slowly and with an alarm.
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from botocore import exceptions
from botocore.parsers import ResponseParserError

from lineside.aws_errors import (
    STALE_CREDENTIAL_CODES,
    THROTTLING_CODES,
    Cause,
    cause_of,
    code,
    message,
    one_line,
    provider_said,
    status,
)
from lineside_forwarder.errors import BatchRefused, DestinationAway, ForwarderError, NotAllowed, Throttled

LONGEST_PAUSE_S = 3600.0
"""A store that asks for a longer wait than this is tried again all the same."""

_THROTTLED = THROTTLING_CODES | {
    "BandwidthLimitExceeded",
    "KMS.ThrottlingException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequests",
}
# 4xx by their status, yet worth another try: damaged in transit, or a multipart upload that ended meanwhile.
_PASSING = {
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InvalidPart",
    "InvalidPartOrder",
    "NoSuchUpload",
    "OperationAborted",
    "RequestTimeout",
    "TemporaryRedirect",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
_BATCH = {
    "EntityTooLarge",
    "EntityTooSmall",
    "InvalidObjectName",
    "InvalidRequest",
    "InvalidURI",
    "KeyTooLong",
    "KeyTooLongError",
    "MaxMessageLengthExceeded",
    "MetadataTooLarge",
    "XMinioInvalidObjectName",
}
_TOO_LARGE = {413, 414}
_CREDENTIALS = STALE_CREDENTIAL_CODES | {
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "TokenRefreshRequired",
}
# How stores say that they take the bucket in the host name only: Alibaba OSS, Tencent COS, Volcano TOS, Huawei OBS.
_BY_HOST_ONLY = {
    "InvalidPathAccess",
    "PathStyleDomainForbidden",
    "SecondLevelDomainForbidden",
    "VirtualHostDomainRequired",
}
_SAYS_BY_HOST = re.compile(r"virtual.?host", re.IGNORECASE)
# What somebody must change, by the word that the alarm has for it.
_REASONS = {
    **dict.fromkeys(_CREDENTIALS, "credentials"),
    **dict.fromkeys(_BY_HOST_ONLY, "addressing"),
    "AuthorizationHeaderMalformed": "region",
    "IllegalLocationConstraintException": "region",
    "MethodNotAllowed": "unsupported",
    "NoSuchBucket": "no-bucket",
    "NotImplemented": "unsupported",
    "PermanentRedirect": "region",
    "RequestExpired": "clock",
    "RequestTimeTooSkewed": "clock",
}
_REASONS_BY_PART = {"KMS": "encryption", "Quota": "quota"}
_REASONS_BY_STATUS = {301: "region", 302: "redirected", 303: "redirected", 307: "redirected", 403: "permission"}
_REASONS_BY_CAUSE = {Cause.NO_CREDENTIALS: "credentials", Cause.CERTIFICATE: "tls"}
_REMEDIES = {
    "addressing": "Set addressing: virtual of the destination; the store wants the bucket in the host name",
    "clock": "Set this box's clock",
    "configuration": "Change bucket, region or endpoint_url of the destination, or the AWS variables of this service",
    "credentials": "Give this service credentials that are valid. On Greengrass, hand "
    "AWS_CONTAINER_CREDENTIALS_FULL_URI and AWS_CONTAINER_AUTHORIZATION_TOKEN to its container",
    "encryption": "Allow this box kms:GenerateDataKey and kms:Decrypt on the key, and see that the key is enabled",
    "no-bucket": "Make the bucket, or change its name in the settings",
    "permission": "Allow this box s3:PutObject on arn:aws:s3:::<bucket>/<prefix>/*",
    "quota": "Raise the bucket's quota, or make room in it",
    "redirected": "Look for a proxy or a login page between this box and the store",
    "refused": "See what the store says; the evidence stays here until it is taken",
    "region": "Set region of the destination to the bucket's",
    "tls": "Name the file with the authority of the store's certificate in AWS_CA_BUNDLE, and see that this box's "
    "clock is right",
    "unsupported": "Change encryption or endpoint_url of the destination: the store cannot do what is asked",
}


def is_stale(error: Exception) -> bool:
    """Return whether other credentials may help: those in use are refused, or there were none."""
    if isinstance(error, exceptions.ClientError):
        return code(error) in _CREDENTIALS
    return cause_of(error) is Cause.NO_CREDENTIALS


def may_be_left_out(error: Exception) -> bool:
    """Return whether what failed can be left out for good where it is no part of delivering.

    Every answer of the store but that other credentials are needed, or a wait; and no answer at all to this question
    while others get one. Stores say no to what they do not know in many ways: 403, 404 NoSuchUpload, 501, an HTML page.
    """
    if isinstance(error, exceptions.ClientError):
        number = status(error)
        is_no = number == 501 or (400 <= number < 500 and number not in {408, 429})  # noqa: PLR2004
        return is_no and not is_stale(error) and code(error) not in _THROTTLED
    return isinstance(error, ResponseParserError | exceptions.ReadTimeoutError)


def explain(error: Exception, bucket: str) -> ForwarderError:
    """Return what the supervisor acts on, for whatever went wrong with a request to a bucket."""
    if isinstance(error, ForwarderError):
        return error
    if isinstance(error, exceptions.ClientError):
        return _answered(error, bucket)
    cause = cause_of(error)
    if cause is Cause.CREDENTIAL_PROVIDER:
        return DestinationAway(f"no credentials for bucket {bucket!r} now: their provider {provider_said(error)}")
    if cause is Cause.NOT_AWS:
        return DestinationAway(
            f"what answers for bucket {bucket!r} does not speak S3: {one_line(error)}", remedy=_REMEDIES["redirected"]
        )
    if cause is Cause.NETWORK:
        return DestinationAway(f"bucket {bucket!r} cannot be reached: {one_line(error)}")
    reason = _REASONS_BY_CAUSE.get(cause, "configuration")
    return NotAllowed(f"bucket {bucket!r} cannot be asked: {one_line(error)}", reason=reason, remedy=_REMEDIES[reason])


def pause_s(headers: Mapping[str, str]) -> float:
    """Return the seconds of a Retry-After header, 0 without one; a date counts from the store's own clock."""
    asked = headers.get("retry-after", "").strip()
    if asked.isdecimal():
        return min(float(asked), LONGEST_PAUSE_S)
    try:
        wait = (parsedate_to_datetime(asked) - parsedate_to_datetime(headers.get("date", ""))).total_seconds()
    except (TypeError, ValueError):
        return 0.0
    return min(max(wait, 0.0), LONGEST_PAUSE_S)


def _answered(error: exceptions.ClientError, bucket: str) -> ForwarderError:
    name, number, headers = code(error), status(error), _headers(error)
    what = f"bucket {bucket!r} answers {error.operation_name} with {number} {name}: {message(error)}"
    reason = "addressing" if number < 500 and _SAYS_BY_HOST.search(message(error)) else _reason(name, number)  # noqa: PLR2004
    if name in _THROTTLED or number == 429 or (number >= 500 and "retry-after" in headers):  # noqa: PLR2004
        return Throttled(what, retry_after_s=pause_s(headers))
    if name in _PASSING or number == 408 or (number >= 500 and reason != "unsupported"):  # noqa: PLR2004
        return DestinationAway(what)
    if name in _BATCH or number in _TOO_LARGE:
        return BatchRefused(what)
    if reason == "region":
        what += f"; the bucket is in region {headers.get('x-amz-bucket-region') or _element(error, 'Region')}"
    elif reason == "clock":
        what += (
            f"; this box signed at {_element(error, 'RequestTime')}, the store's clock says "
            f"{_element(error, 'ServerTime')}"
        )
    return NotAllowed(what, reason=reason, remedy=_REMEDIES[reason].replace("<bucket>", bucket))


def _reason(name: str, number: int) -> str:
    """Return the alarm's word for a refusal; `refused` where nothing is known of it."""
    by_part = next((reason for part, reason in _REASONS_BY_PART.items() if part in name), None)
    return _REASONS.get(name) or by_part or _REASONS_BY_STATUS.get(number, "refused")


def _element(error: exceptions.ClientError, name: str) -> str:
    """Return another element of the answer, as it came."""
    parsed: Mapping[str, Any] = error.response.get("Error", {})
    return str(parsed.get(name) or "unknown")


def _headers(error: exceptions.ClientError) -> Mapping[str, str]:
    return error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
