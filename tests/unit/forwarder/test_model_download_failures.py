"""What S3's errors mean for who deploys a model: one sentence, with what to do, and no secret."""

import errno

import pytest
from botocore import exceptions
from botocore.parsers import ResponseParserError

from lineside.greengrass.model_uri import s3_folder
from lineside.s3_download import Changed, may_pass
from lineside_forwarder.model_download.errors import NotFetched
from lineside_forwarder.model_download.failures import explain

FOLDER = s3_folder("s3://plant/models/detector/v1.4/")


def answer(status: int, code: str, operation: str = "GetObject", message: str = "as it says") -> exceptions.ClientError:
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"}},
    }
    return exceptions.ClientError(response, operation)


RIGHTS = (
    "allow the device's role s3:GetObject on arn:aws:s3:::plant/models/detector/v1.4/* and s3:ListBucket on "
    "arn:aws:s3:::plant"
)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (answer(404, "NoSuchBucket"), "there is no bucket 'plant': make it, or correct ModelS3URI"),
        (answer(403, "AccessDenied"), f"S3 refuses {FOLDER} (GetObject: 403 AccessDenied: as it says): {RIGHTS}"),
        (answer(403, "AccessDenied", "ListObjectsV2"), RIGHTS),
        (answer(403, "403", "ListObjectsV2"), RIGHTS),
        (answer(403, "AccessDenied", message="no kms:Decrypt for you"), "kms:Decrypt on the bucket's key"),
        (answer(400, "KMS.DisabledException"), "kms:Decrypt on the bucket's key"),
        (answer(403, "InvalidAccessKeyId"), "no AWS_ACCESS_KEY_ID may be left in the nucleus' environment"),
        (answer(400, "ExpiredToken"), "look at the role alias and its role"),
        (answer(403, "RequestTimeTooSkewed"), "set the clock"),
        (answer(403, "InvalidObjectState"), "is archived"),
        (answer(412, "PreconditionFailed"), "changed while it was fetched"),
        (answer(301, "PermanentRedirect"), "is in region eu-west-1"),
        (answer(503, "SlowDown"), "deploy it again later; what was fetched is kept"),
        (exceptions.NoCredentialsError(), "there are no credentials for s3://plant/models/detector/v1.4/: deploy"),
        (exceptions.NoRegionError(), "or the nucleus' region"),
        (
            exceptions.CredentialRetrievalError(provider="x", error_msg="Received non 200 response 404: hunter2"),
            "Greengrass' token exchange service answers 404: look at the role alias",
        ),
        (exceptions.CredentialRetrievalError(provider="x", error_msg="hunter2"), "service does not answer: look"),
        (exceptions.EndpointConnectionError(endpoint_url="https://s3/x?y"), "look at the network, DNS and the proxy"),
        (exceptions.SSLError(endpoint_url="https://s3", error="CERTIFICATE_VERIFY_FAILED"), "a proxy that opens TLS"),
        (ResponseParserError("<html>"), "does not speak S3"),
        (ConnectionError("it ended"), "the next try goes on where this one ended"),
        (Changed("'1/model.onnx'"), "upload each version into a folder of its own"),
        (OSError(errno.ENOSPC, "No space left"), "the disk of Docker's volumes is full: docker image prune"),
        (NotFetched("as it was", remedy="do"), "as it was: do"),
    ],
)
def test_each_error_says_what_to_do(error: Exception, says: str) -> None:
    told = explain(error, FOLDER)
    assert says in str(told)
    assert told.remedy
    assert "hunter2" not in str(told)
    assert "\n" not in str(told)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (answer(500, "InternalError"), True),
        (answer(503, "SlowDown"), True),
        (answer(400, "RequestTimeout"), True),
        (answer(403, "AccessDenied"), False),
        (answer(404, "NoSuchBucket"), False),
        (exceptions.EndpointConnectionError(endpoint_url="https://s3"), True),
        (exceptions.ReadTimeoutError(endpoint_url="https://s3"), True),
        (exceptions.NoCredentialsError(), False),
        (exceptions.CredentialRetrievalError(provider="x", error_msg="away"), True),
        (ConnectionError("it ended"), True),
        (Changed("x"), False),
        (OSError(errno.ENOSPC, "full"), False),
        (ValueError("no such endpoint"), False),
    ],
)
def test_what_may_pass_is_asked_again_and_nothing_else(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes
