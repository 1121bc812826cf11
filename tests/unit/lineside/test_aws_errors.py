import pytest
from botocore import exceptions
from botocore.parsers import ResponseParserError

from lineside.aws_errors import Cause, cause_of, code, message, one_line, status

ANSWER = exceptions.ClientError(
    {
        "Error": {"Code": "com.amazonaws.cloudwatch#Throttling", "Message": "slow\n  down"},
        "ResponseMetadata": {"HTTPStatusCode": 400},  # type: ignore[typeddict-item]
    },
    "PutMetricData",
)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ANSWER, Cause.ANSWER),
        (exceptions.CredentialRetrievalError(provider="container-role", error_msg="x"), Cause.CREDENTIAL_PROVIDER),
        (exceptions.NoCredentialsError(), Cause.NO_CREDENTIALS),
        (exceptions.PartialCredentialsError(provider="env", cred_var="x"), Cause.NO_CREDENTIALS),
        (ResponseParserError("not XML"), Cause.NOT_AWS),
        (exceptions.SSLError(endpoint_url="https://x", error="[SSL: CERTIFICATE_VERIFY_FAILED]"), Cause.CERTIFICATE),
        (exceptions.SSLError(endpoint_url="https://x", error="EOF occurred"), Cause.NETWORK),
        (exceptions.NoRegionError(), Cause.REGION),
        (exceptions.ParamValidationError(report="x"), Cause.PARAMETERS),
        (exceptions.EndpointConnectionError(endpoint_url="https://x"), Cause.NETWORK),
        (exceptions.ReadTimeoutError(endpoint_url="https://x"), Cause.NETWORK),
        (exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), Cause.NETWORK),
        (exceptions.ProfileNotFound(profile="x"), Cause.CONFIGURATION),
        (ValueError("Invalid endpoint: x"), Cause.CONFIGURATION),
        (OSError("gone"), Cause.NETWORK),
    ],
)
def test_every_error_has_a_cause(error: Exception, cause: Cause) -> None:
    assert cause_of(error) is cause


def test_an_answer_is_read() -> None:
    assert (code(ANSWER), status(ANSWER), message(ANSWER)) == ("Throttling", 400, "slow down")
    empty = exceptions.ClientError({}, "PutObject")
    assert (code(empty), status(empty), message(empty)) == ("no code", 0, "nothing more")


def test_an_error_is_one_line_without_paths() -> None:
    error = exceptions.EndpointConnectionError(endpoint_url="https://bucket.example/a/secret?x=1")
    assert one_line(error) == 'EndpointConnectionError: Could not connect to the endpoint URL: "https://bucket.example"'
    assert one_line(OSError("two\nlines")) == "OSError: two lines"
    assert one_line(ValueError()) == "ValueError"
