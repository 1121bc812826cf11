"""Greengrass' component aws.greengrass.Cloudwatch: one figure a message, put on its topic by our bus.

The component takes single values only, so a period's figures are reduced here: the number of results, and a few
statistics of each metric. What became of a message comes back on another topic, without saying which message it was.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json

from lineside.bus import Bus
from lineside.errors import BusError, MessageRefused
from lineside_exporter.cloudwatch.aggregation import UNITS, Block, named
from lineside_exporter.cloudwatch.errors import NotTaken, Refused
from lineside_exporter.cloudwatch.histogram import Histogram
from lineside_exporter.cloudwatch.settings import GreengrassSettings

_LONGEST_REASON = 500

_SUMS: Final[dict[str, tuple[tuple[str, Callable[[Histogram], float]], ...]]] = {
    "Latency": (
        ("LatencyMean", Histogram.mean),
        ("LatencyP50", lambda found: found.percentile(0.5)),
        ("LatencyP99", lambda found: found.percentile(0.99)),
        ("LatencyMax", lambda found: found.largest),
    ),
    "Confidence": (("ConfidenceMean", Histogram.mean),),
    "Defect": (("DefectRate", Histogram.mean),),
    "Unknown": (("UnknownRate", Histogram.mean),),
    "Error": (("ErrorRate", Histogram.mean),),
}


class Greengrass:
    """Sends blocks; see lineside_exporter.cloudwatch.reporter.Sender. The caller enters `bus`."""

    def __init__(self, settings: GreengrassSettings, thing: str, bus: Bus) -> None:
        self._settings = settings
        self._thing = thing
        self._bus = bus
        self._under_way: tuple[Block, list[bytes]] | None = None
        self.target = f"topic {settings.topic}"

    def share(self, _block: Block) -> float:
        """Return how much of a call a block fills: all, so that each is done before the next begins."""
        return 1.0

    async def send(self, blocks: Sequence[Block], at: Callable[[Block], datetime]) -> None:
        """Publish the messages of a block; one that failed goes on where it stopped. Raises NotTaken."""
        (block,) = blocks
        if self._under_way is None or self._under_way[0] is not block:
            self._under_way = block, list(messages(block, self._settings.namespace, self._thing, at(block)))
        left = self._under_way[1]
        try:
            while left:
                async with asyncio.timeout(self._settings.timeout_s):
                    await self._bus.publish(self._settings.topic, left[0])
                del left[0]
        except TimeoutError:
            raise NotTaken(f"the broker did not take a message within {self._settings.timeout_s:g} s") from None
        except MessageRefused as error:
            self._under_way = None
            raise Refused(error.what, remedy=error.remedy) from None
        except BusError as error:
            raise NotTaken(error.what, remedy=error.remedy) from None
        self._under_way = None


def messages(block: Block, namespace: str, thing: str, at: datetime) -> Iterator[bytes]:
    """Yield a block's messages, in the form of the component's reference."""
    dimensions = [
        {"name": "Thing", "value": thing},
        {"name": "Station", "value": block.series.station},
        {"name": "Model", "value": block.series.model},
    ]
    for name, value, unit in _figures(block):
        metric: dict[str, Any] = {
            "metricName": name,
            "dimensions": dimensions,
            "timestamp": int(at.timestamp()),
            "value": value,
            "unit": unit,
        }
        yield json.dumps({"request": {"namespace": namespace, "metricData": metric}}).encode()


def failure(payload: bytes) -> str | None:
    """Return why the component did not take a message, from what it tells on its status topic; None: it did."""
    try:
        response = from_json(payload)["response"]
        if response["status"] == "success":
            return None
        reason = f"{response.get('error', 'no reason')}: {response.get('error_message', 'nothing more')}"
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"not a status of the component: {payload[:80]!r}"
    return reason[:_LONGEST_REASON]


def _figures(block: Block) -> Iterator[tuple[str, float, str]]:
    yield "Results", float(block.results), "Count"
    for metric, histogram in named(block):
        for name, of in _SUMS[metric]:
            yield name, of(histogram), UNITS[metric]
