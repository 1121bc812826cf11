"""CloudWatch's own API: PutMetricData with values and counts, by boto3 in a daemon thread.

Credentials come by boto3's own chain: environment, files, then the container provider, which on Greengrass is the token
exchange service. A call whose answer was lost may have been taken: sent again, its figures count twice there.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.parsers import ResponseParserError

from lineside.aws_errors import (
    STALE_CREDENTIAL_CODES,
    THROTTLING_CODES,
    Cause,
    cause_of,
    code,
    message,
    one_line,
    status,
)
from lineside_exporter.cloudwatch.aggregation import UNITS, Block, named
from lineside_exporter.cloudwatch.errors import CloudWatchError, NotAllowed, NotTaken, Refused, Throttled
from lineside_exporter.cloudwatch.settings import PutMetricDataSettings
from lineside_exporter.errors import SourceAway
from lineside_exporter.single_flight import SingleFlight

MAX_METRICS = 1000
"""Different metrics in a call, by the reference of PutMetricData; each series has one datum of each."""
MAX_BYTES = 900_000
"""Of the 1 MB that a call may have; what a datum takes is reckoned from above, before compression."""
_DATUM_BYTES, _VALUE_BYTES = 1100, 36

_THROTTLED: Final = THROTTLING_CODES | {"ThrottledException", "LimitExceeded", "LimitExceededException"}
_FIGURES: Final = {
    "InvalidParameterValue",
    "InvalidParameterValueException",
    "InvalidParameterCombination",
    "InvalidParameterCombinationException",
    "MissingParameter",
    "MissingRequiredParameterException",
    "InvalidFormat",
    "InvalidFormatFault",
    "ValidationError",
    "ValidationException",
    "SerializationException",
}
_STALE: Final = STALE_CREDENTIAL_CODES | {"AuthFailure", "InvalidSignatureException", "RequestExpired"}
_REMEDIES: Final = {
    Cause.NO_CREDENTIALS: "give the container the role or the keys that AWS's own tools read",
    Cause.REGION: "set exporter.cloudwatch.region or AWS_REGION",
    Cause.CERTIFICATE: "name the file with its certificate's authority in AWS_CA_BUNDLE, "
    "and see that the clock is right",
    Cause.CONFIGURATION: "see exporter.cloudwatch in the settings",
}


class PutMetricData:
    """Sends blocks; see lineside_exporter.cloudwatch.reporter.Sender."""

    def __init__(self, settings: PutMetricDataSettings, thing: str) -> None:
        self._settings = settings
        self._thing = thing
        self._client: Any = None
        self._blocking = SingleFlight("cloudwatch")
        self.target = endpoint(settings) or f"CloudWatch in {region(settings) or 'no region'}"
        # It warns of what is reported here too, with a traceback that may hold what the credential server answered.
        logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)

    def share(self, block: Block) -> float:
        """Return how much of a call a block fills, by metrics or by bytes, whichever is more."""
        bins = [histogram.bins for _metric, histogram in named(block)]
        return max(len(bins) / MAX_METRICS, (len(bins) * _DATUM_BYTES + sum(bins) * _VALUE_BYTES) / MAX_BYTES)

    async def send(self, blocks: Sequence[Block], at: Callable[[Block], datetime]) -> None:
        """Make one call; raises CloudWatchError."""
        stamped = [(block, at(block)) for block in blocks]
        try:
            async with asyncio.timeout(3 * self._settings.timeout_s):
                await self._blocking.call(lambda: self._put(stamped))
        except TimeoutError:
            raise NotTaken(f"{self.target} did not answer within {3 * self._settings.timeout_s:g} s") from None
        except SourceAway as error:
            raise NotTaken(error.what) from None
        except (exceptions.BotoCoreError, exceptions.ClientError, ResponseParserError, ValueError) as error:
            raise explain(error) from None

    def _put(self, stamped: Sequence[tuple[Block, datetime]]) -> None:
        data = [datum for block, at in stamped for datum in data_of(block, self._thing, at)]
        if self._client is None:
            self._client = _make(self._settings)
        try:
            self._client.put_metric_data(Namespace=self._settings.namespace, MetricData=data)
        except exceptions.ClientError as error:
            if code(error) in _STALE:
                self._client = None  # the next one reads environment, files and provider anew
            raise
        except exceptions.NoCredentialsError:
            self._client = None
            raise


def data_of(block: Block, thing: str, at: datetime) -> list[dict[str, Any]]:
    """Return a block as PutMetricData's data."""
    dimensions = [
        {"Name": "Thing", "Value": thing},
        {"Name": "Station", "Value": block.series.station},
        {"Name": "Model", "Value": block.series.model},
    ]
    found = []
    for metric, histogram in named(block):
        values = histogram.values()
        found.append(
            {
                "MetricName": metric,
                "Dimensions": dimensions,
                "Timestamp": at,
                "Values": [value for value, _count in values],
                "Counts": [float(count) for _value, count in values],
                "Unit": UNITS[metric],
            }
        )
    return found


def explain(error: Exception) -> CloudWatchError:
    """Return what becomes of the figures, for whatever went wrong with a call."""
    if isinstance(error, exceptions.ClientError):
        return _answered(error)
    cause = cause_of(error)
    if cause is Cause.CREDENTIAL_PROVIDER:
        # Its text may hold what the credential server said.
        return NotTaken("no credentials for CloudWatch now: their provider does not answer as it should")
    if cause is Cause.PARAMETERS:
        return Refused(f"the figures cannot be sent: {one_line(error)}")
    if cause in _REMEDIES:
        return NotAllowed(f"CloudWatch cannot be asked: {one_line(error)}", remedy=_REMEDIES[cause])
    return NotTaken(f"CloudWatch cannot be reached: {one_line(error)}")


def endpoint(settings: PutMetricDataSettings) -> str | None:
    """Return the address of the API, None for AWS's own; the environment names it as it does for AWS's tools."""
    named_here = os.environ.get("AWS_ENDPOINT_URL_CLOUDWATCH") or os.environ.get("AWS_ENDPOINT_URL")
    return settings.endpoint_url or named_here


def region(settings: PutMetricDataSettings) -> str | None:
    """Return the region: AWS_REGION is what Greengrass and containers set, which boto3 itself does not read."""
    return settings.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


def _make(settings: PutMetricDataSettings) -> Any:
    newer: dict[str, Any] = {"ignore_configured_endpoint_urls": True, "user_agent_appid": "lineside"}
    config = Config(
        connect_timeout=settings.timeout_s,
        read_timeout=settings.timeout_s,
        # Once: when and whether it is sent again is the supervisor's to say, whose state people see.
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=1,
        **newer,
    )
    session = boto3.session.Session(region_name=region(settings))
    # The published types of this service are not installed, and one call needs none.
    make: Any = session.client
    return make("cloudwatch", endpoint_url=endpoint(settings), config=config)


def _answered(error: exceptions.ClientError) -> CloudWatchError:
    name, number = code(error), status(error)
    what = f"CloudWatch answers with {number} {name}: {message(error)}"
    if name in _THROTTLED or number == 429:  # noqa: PLR2004 - too many requests
        return Throttled(what)
    if number >= 500 or number == 408 or name == "InternalServiceFault":  # noqa: PLR2004 - its fault, or too slow
        return NotTaken(what)
    if name in _FIGURES or number == 413:  # noqa: PLR2004 - too large
        return Refused(what)
    return NotAllowed(
        what, remedy="allow cloudwatch:PutMetricData for the namespace to the credentials; see that the clock is right"
    )
