"""Classifies botocore's errors by their cause: pure.

For the services that call AWS APIs. It needs botocore, which comes with the extra of those services that brings boto3,
so nothing else of this library imports it.
"""

import re
from enum import Enum, auto
from typing import Final

from botocore import exceptions
from botocore.parsers import ResponseParserError

THROTTLING_CODES: Final = frozenset(
    {"RequestLimitExceeded", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequestsException"}
)
"""Codes of any API of AWS that ask to wait."""
STALE_CREDENTIAL_CODES: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""Codes of any API of AWS that other credentials may help against."""


class Cause(Enum):
    """Where an error comes from."""

    ANSWER = auto()
    """The API answered with an error: see `code`, `status` and `message`."""
    CREDENTIAL_PROVIDER = auto()
    """The provider of credentials failed; the error's text may hold what it answered, and is not for people."""
    NO_CREDENTIALS = auto()
    """Nothing on this machine provides credentials."""
    NOT_AWS = auto()
    """Something else answered: a proxy, a login page."""
    CERTIFICATE = auto()
    """The server's certificate is not trusted here."""
    REGION = auto()
    """No region is set."""
    PARAMETERS = auto()
    """The request does not fit the API's model; nothing was sent."""
    CONFIGURATION = auto()
    """Anything else that is wrong on this machine."""
    NETWORK = auto()
    """Nobody answered."""


_CAUSES: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], Cause], ...]] = (
    (exceptions.ClientError, Cause.ANSWER),
    (exceptions.CredentialRetrievalError, Cause.CREDENTIAL_PROVIDER),
    ((exceptions.NoCredentialsError, exceptions.PartialCredentialsError), Cause.NO_CREDENTIALS),
    (ResponseParserError, Cause.NOT_AWS),
    (exceptions.NoRegionError, Cause.REGION),
    (exceptions.ParamValidationError, Cause.PARAMETERS),
    (exceptions.ConnectionError, Cause.NETWORK),
    (exceptions.HTTPClientError, Cause.NETWORK),
    (exceptions.IncompleteReadError, Cause.NETWORK),
    (exceptions.ResponseStreamingError, Cause.NETWORK),
    ((ValueError, exceptions.BotoCoreError), Cause.CONFIGURATION),
)
"""The first that fits counts."""


def cause_of(error: Exception) -> Cause:
    """Return where an error of a call comes from; what is not botocore's counts as the network's."""
    if isinstance(error, exceptions.SSLError) and "CERTIFICATE" in str(error).upper():
        return Cause.CERTIFICATE
    return next((cause for kinds, cause in _CAUSES if isinstance(error, kinds)), Cause.NETWORK)


def code(error: exceptions.ClientError) -> str:
    """Return the answer's error code, without the namespace that some APIs put before it."""
    return str(error.response.get("Error", {}).get("Code", "no code")).rpartition("#")[2]


def status(error: exceptions.ClientError) -> int:
    """Return the answer's HTTP status, 0 where it is not known."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def message(error: exceptions.ClientError) -> str:
    """Return what the answer says, as one line."""
    return " ".join(str(error.response.get("Error", {}).get("Message") or "nothing more").split())


def provider_said(error: Exception) -> str:
    """Return what became of the provider of credentials; its text may hold what it answered, the status does not."""
    found = re.search(r"non 200 response (\d+)", str(error))
    return f"answers {found[1]}" if found else "does not answer"


def one_line(error: Exception) -> str:
    """Return an error as one line that is the same for every object: addresses without their path."""
    text = re.sub(r"(https?://[^/\s\"]+)[^\s\"]*", r"\1", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
