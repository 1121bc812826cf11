"""What an answer of S3 means: which class, which reason, how long to wait; and that nothing unknown loses anything."""

import pytest
from botocore import exceptions
from botocore.parsers import ResponseParserError
from urllib3.exceptions import ReadTimeoutError as PoolReadTimeout

from lineside_forwarder.errors import BatchRefused, DestinationAway, NotAllowed, Throttled
from lineside_forwarder.s3_errors import explain, is_stale, may_be_left_out, pause_s


def answer(
    status: int, code: str, headers: dict[str, str] | None = None, operation: str = "PutObject", **elements: str
) -> exceptions.ClientError:
    response = {
        "Error": {"Code": code, "Message": "as it says", **elements},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers or {}},
    }
    return exceptions.ClientError(response, operation)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
        (502, "502"),
        (507, "XMinioStorageFull"),
        (408, "408"),
        (400, "RequestTimeout"),
        (400, "BadDigest"),
        (400, "XAmzContentSHA256Mismatch"),
        (400, "IncompleteBody"),
        (404, "NoSuchUpload"),
        (400, "InvalidPart"),
        (409, "OperationAborted"),
        (500, "KMSInternalException"),
    ],
)
def test_what_ends_by_itself_is_tried_again(status: int, code: str) -> None:
    error = explain(answer(status, code), "evidence")
    assert type(error) is DestinationAway
    assert error.transient
    assert str(error) == f"bucket 'evidence' answers PutObject with {status} {code}: as it says"


@pytest.mark.parametrize(
    ("status", "code", "headers", "wait_s"),
    [
        (503, "SlowDown", {}, 0),
        (503, "SlowDown", {"retry-after": "17"}, 17),
        (429, "429", {"retry-after": "3"}, 3),
        (400, "RequestLimitExceeded", {}, 0),
        (500, "InternalError", {"retry-after": "5"}, 5),
        (400, "KMS.ThrottlingException", {}, 0),
        (503, "ServiceUnavailable", {"retry-after": "999999999"}, 3600),
    ],
)
def test_who_asks_for_patience_gets_it(status: int, code: str, headers: dict[str, str], wait_s: float) -> None:
    error = explain(answer(status, code, headers), "evidence")
    assert isinstance(error, Throttled)
    assert error.retry_after_s == wait_s


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "Sun, 22 Nov 2026 02:00:30 GMT", "date": "Sun, 22 Nov 2026 02:00:00 GMT"}, 30),
        ({"retry-after": "Sun, 22 Nov 2026 01:00:00 GMT", "date": "Sun, 22 Nov 2026 02:00:00 GMT"}, 0),
        ({"retry-after": "Sun, 22 Nov 2026 02:00:30 GMT"}, 0),
    ],
)
def test_a_pause_goes_by_the_stores_own_clock(headers: dict[str, str], wait_s: float) -> None:
    assert pause_s(headers) == wait_s


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "AccessDenied", "permission"),
        (403, "AllAccessDisabled", "permission"),
        (403, "403", "permission"),
        (403, "InvalidAccessKeyId", "credentials"),
        (403, "SignatureDoesNotMatch", "credentials"),
        (400, "ExpiredToken", "credentials"),
        (400, "InvalidToken", "credentials"),
        (404, "NoSuchBucket", "no-bucket"),
        (301, "PermanentRedirect", "region"),
        (301, "301", "region"),
        (400, "AuthorizationHeaderMalformed", "region"),
        (403, "RequestTimeTooSkewed", "clock"),
        (400, "KMS.DisabledException", "encryption"),
        (403, "QuotaExceeded", "quota"),
        (501, "NotImplemented", "unsupported"),
        (403, "SecondLevelDomainForbidden", "addressing"),
        (403, "PathStyleDomainForbidden", "addressing"),
        (403, "InvalidPathAccess", "addressing"),
        (400, "VirtualHostDomainRequired", "addressing"),
        (302, "302", "redirected"),
        (400, "SomethingNew", "refused"),
        (418, "418", "refused"),
    ],
)
def test_what_somebody_must_change_says_what(status: int, code: str, reason: str) -> None:
    error = explain(answer(status, code), "evidence")
    assert isinstance(error, NotAllowed)
    assert error.reason == reason
    assert error.remedy


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "EntityTooLarge"), (413, "413"), (400, "KeyTooLongError"), (400, "InvalidRequest"), (414, "414")],
)
def test_only_what_is_about_the_batch_refuses_it(status: int, code: str) -> None:
    assert isinstance(explain(answer(status, code), "evidence"), BatchRefused)


def test_a_store_that_wants_the_bucket_in_the_host_name_says_so_in_words_too() -> None:
    by_words = answer(403, "AccessDenied")
    by_words.response["Error"]["Message"] = "Please use virtual hosted style to access."
    error = explain(by_words, "evidence")
    assert isinstance(error, NotAllowed)
    assert (error.reason, "addressing: virtual" in error.remedy) == ("addressing", True)


@pytest.mark.parametrize(
    ("error", "left_out"),
    [
        (answer(403, "AccessDenied"), True),
        (answer(404, "NoSuchUpload"), True),
        (answer(404, "404"), True),
        (answer(400, "InvalidArgument"), True),
        (answer(405, "MethodNotAllowed"), True),
        (answer(501, "NotImplemented"), True),
        (ResponseParserError("not XML"), True),
        (exceptions.ReadTimeoutError(endpoint_url="https://x"), True),
        (answer(403, "ExpiredToken"), False),
        (answer(503, "SlowDown"), False),
        (answer(500, "InternalError"), False),
        (exceptions.EndpointConnectionError(endpoint_url="https://x"), False),
        (exceptions.NoCredentialsError(), False),
    ],
)
def test_what_is_no_part_of_delivering_is_left_out_where_a_store_cannot_do_it(error: Exception, left_out: bool) -> None:
    assert may_be_left_out(error) is left_out


def test_a_region_and_both_clocks_are_named() -> None:
    by_header = answer(301, "PermanentRedirect", {"x-amz-bucket-region": "eu-west-1"})
    assert "in region eu-west-1" in str(explain(by_header, "evidence"))
    by_element = answer(400, "AuthorizationHeaderMalformed", Region="eu-west-2")
    assert "in region eu-west-2" in str(explain(by_element, "evidence"))
    clock = answer(403, "RequestTimeTooSkewed", RequestTime="20200101T000000Z", ServerTime="2026-11-22T02:00:00Z")
    told = str(explain(clock, "evidence"))
    assert "signed at 20200101T000000Z, the store's clock says 2026-11-22T02:00:00Z" in told


@pytest.mark.parametrize(
    "error",
    [
        exceptions.EndpointConnectionError(endpoint_url="https://x"),
        exceptions.ConnectTimeoutError(endpoint_url="https://x"),
        exceptions.ReadTimeoutError(endpoint_url="https://x"),
        exceptions.ConnectionClosedError(endpoint_url="https://x"),
        exceptions.ProxyConnectionError(proxy_url="https://x"),
        exceptions.HTTPClientError(error=OSError("broken pipe")),
        exceptions.SSLError(endpoint_url="https://x", error="unexpected end of file"),
        exceptions.ResponseStreamingError(error="cut"),
        exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        PoolReadTimeout(None, "x", "timed out"),  # type: ignore[arg-type]
        OSError(5, "Input/output error"),
        KeyError("AccessKeyId"),
        ResponseParserError("not XML"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_answer_is_away(error: Exception) -> None:
    assert type(explain(error, "evidence")) is DestinationAway


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (exceptions.NoCredentialsError(), "credentials"),
        (exceptions.PartialCredentialsError(provider="env", cred_var="x"), "credentials"),
        (exceptions.SSLError(endpoint_url="https://x", error="CERTIFICATE_VERIFY_FAILED"), "tls"),
        (exceptions.NoRegionError(), "configuration"),
        (exceptions.ProfileNotFound(profile="x"), "configuration"),
        (ValueError("Invalid endpoint: x"), "configuration"),
    ],
)
def test_what_is_wrong_here_is_not_taken_for_the_network(error: Exception, reason: str) -> None:
    found = explain(error, "evidence")
    assert isinstance(found, NotAllowed)
    assert found.reason == reason


def test_what_people_see_does_not_change_from_object_to_object() -> None:
    error = exceptions.EndpointConnectionError(endpoint_url="https://store.example:9000/evidence/key?x=1")
    assert '"https://store.example:9000"' in str(explain(error, "evidence"))


def test_what_a_credential_server_said_is_not_repeated() -> None:
    text = "Received non 200 response 500 from container metadata: secret-token"
    found = explain(exceptions.CredentialRetrievalError(provider="container-role", error_msg=text), "evidence")
    assert type(found) is DestinationAway
    assert "answers 500" in str(found)
    assert "secret-token" not in str(found)


def test_only_credentials_are_stale() -> None:
    assert is_stale(answer(403, "InvalidAccessKeyId"))
    assert is_stale(exceptions.NoCredentialsError())
    assert not is_stale(answer(403, "AccessDenied"))
    assert not is_stale(exceptions.EndpointConnectionError(endpoint_url="x"))
