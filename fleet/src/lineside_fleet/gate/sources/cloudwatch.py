"""Observations from CloudWatch: what the boxes' exporters sent by PutMetricData, by thing, station and model.

The exporter sends whole distributions (values with counts), so CloudWatch's percentiles are of real values, each within
the 1 % by which the exporter joins values; where a minute had very many different ones they are joined more, and
CloudWatch does not say so. Percentiles of several stations or periods cannot be joined: the whole window is one period
for them, or one a day, and a thing of several is their mean by the number of parts. Figures that came by Greengrass'
component are no distributions, and are not read.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lineside.aws_errors import Cause, cause_of, code, message, one_line
from lineside_fleet.gate.observations import SLICES, Cell, Observations, Quantiles, Window
from lineside_fleet.gate.sources.errors import NothingThere, NotObserved

WITHIN: Final = 1.01
"""By which factor the exporter's distributions place a value."""
MAX_SERIES: Final = 2000
QUERIES_A_CALL: Final = 500
COUNTED: Final = 0.9
"""Share of the parts that must say whether they are errors; less, and the exporter is one that does not tell."""
LONGEST_S: Final = 14 * 24 * 3600.0
"""CloudWatch keeps single minutes for 15 days; older ones it joins, and percentiles with them."""
_ERRORS, _NO_ERRORS = ("Error", "Sum"), ("Error", "SampleCount")
_NOT_COUNTED: Final = (
    "not every exporter sent Error at all times: update the exporters and wait for a whole window, or set errors: null"
)
_MINUTE, _DAY = 60, 86_400
"""Seconds; a day is CloudWatch's longest period."""


@dataclass(frozen=True, slots=True)
class CloudWatch:
    """Where to ask. Credentials come by boto3's own chain."""

    namespace: str = "Lineside"
    region: str | None = None
    endpoint_url: str | None = None

    def observe(
        self,
        window: Window,
        *,
        model: str,
        latency: Sequence[float] = (0.95,),
        confidence: Sequence[float] = (0.1, 0.5),
        devices: Sequence[str] = (),
        version: str = "",
    ) -> Observations:
        """Return what CloudWatch has of a model on these things, all where none is named; raises NotObserved.

        Figures bear no version of the model, so `version` is what the caller knows to have run in the window.
        """
        if not SLICES * _MINUTE <= window.seconds <= LONGEST_S:
            raise NotObserved(
                f"a window of {window.seconds:g} s: CloudWatch keeps minutes, and those for 15 days",
                remedy=f"choose one of {SLICES} minutes to {LONGEST_S / 86_400:g} days",
            )
        try:
            client = self._client()
            series = _series(client, self.namespace, model, set(devices))
            if not series:
                raise NothingThere(
                    f"CloudWatch, namespace {self.namespace}: nothing of model {model}",
                    remedy="see the namespace, the model's name, the region, and that kind is put-metric-data",
                )
            return self._observed(_Asking(client, self.namespace, window, model), series, latency, confidence, version)
        except (BotoCoreError, ClientError, ValueError) as error:
            raise _explained(error) from None

    def _observed(
        self,
        asking: "_Asking",
        series: Sequence[tuple[str, str]],
        latency: Sequence[float],
        confidence: Sequence[float],
        version: str,
    ) -> Observations:
        window = asking.window
        step = math.floor(window.seconds / SLICES / _MINUTE) * _MINUTE
        counted = (("Unknown", "SampleCount"), ("Unknown", "Sum"), ("Defect", "Sum"), _ERRORS, _NO_ERRORS)
        counts = asking.ask(series, counted, step)
        whole = min(_DAY, math.ceil(window.seconds / _MINUTE) * _MINUTE)
        asked: list[tuple[str, str]] = []
        for metric, shares in (("Latency", latency), ("Confidence", confidence)):
            asked += [(metric, f"p{100 * share:g}") for share in shares]
            asked += [(metric, "SampleCount")] if shares else []
        quantiles = asking.ask(series, asked, whole)
        things = sorted({thing for thing, _station in series})
        cells = [cell for thing in things for cell in _cells(thing, series, counts, step, window.seconds)]
        wholes = {thing: _whole(thing, series, quantiles, latency, confidence, window.seconds) for thing in things}
        remarks = [f"percentiles are within {WITHIN - 1:.0%}, as the exporter joins values"]
        if any(cell.parts and cell.errors is None for cell in cells):
            remarks.append(_NOT_COUNTED)
        source = f"CloudWatch, namespace {self.namespace}"
        return Observations(source, (version,) if version else (), window, tuple(cells), wholes, tuple(remarks))

    def _client(self) -> Any:
        make: Any = boto3.session.Session(region_name=self.region or os.environ.get("AWS_REGION")).client
        config = Config(connect_timeout=10, read_timeout=30, retries={"total_max_attempts": 6, "mode": "standard"})
        return make("cloudwatch", endpoint_url=self.endpoint_url, config=config)


Figures = dict[tuple[tuple[str, str], str, str], dict[int, float]]
"""By thing and station, metric and statistic: the figure of each period."""


@dataclass(frozen=True)
class _Asking:
    client: Any
    namespace: str
    window: Window
    model: str
    found: Figures = field(default_factory=dict)

    def ask(self, series: Sequence[tuple[str, str]], figures: Sequence[tuple[str, str]], period: int) -> Figures:
        """Return figures of all series in periods of so many seconds."""
        found: Figures = {}
        keys = [(each, metric, statistic) for each in series for metric, statistic in figures]
        for begin in range(0, len(keys), QUERIES_A_CALL):
            some = keys[begin : begin + QUERIES_A_CALL]
            queries = [self._query(number, key, period) for number, key in enumerate(some)]
            for result in self._pages(queries):
                if result.get("StatusCode") not in {None, "Complete", "PartialData"}:
                    raise NotObserved(f"CloudWatch: {result.get('StatusCode')} of {some[int(result['Id'][1:])]}")
                into = found.setdefault(some[int(result["Id"][1:])], {})
                for moment, value in zip(result["Timestamps"], result["Values"], strict=True):
                    into[int((moment - self.window.start).total_seconds() // period)] = float(value)
        return found

    def _pages(self, queries: list[dict[str, Any]]) -> Iterator[Any]:
        pages = self.client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries, StartTime=self.window.start, EndTime=self.window.end, ScanBy="TimestampAscending"
        )
        for page in pages:
            yield from page["MetricDataResults"]

    def _query(self, number: int, key: tuple[tuple[str, str], str, str], period: int) -> dict[str, Any]:
        (thing, station), metric, statistic = key
        dimensions = [
            {"Name": name, "Value": value}
            for name, value in (("Thing", thing), ("Station", station), ("Model", self.model))
        ]
        asked = {"Namespace": self.namespace, "MetricName": metric, "Dimensions": dimensions}
        return {"Id": f"q{number}", "MetricStat": {"Metric": asked, "Period": period, "Stat": statistic}}


def _series(client: Any, namespace: str, model: str, devices: set[str]) -> list[tuple[str, str]]:
    """Return each thing and station that reported of a model."""
    found: set[tuple[str, str]] = set()
    pages = client.get_paginator("list_metrics").paginate(
        Namespace=namespace, MetricName="Unknown", Dimensions=[{"Name": "Model", "Value": model}]
    )
    for page in pages:
        for metric in page["Metrics"]:
            of = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
            if "Thing" in of and "Station" in of and (not devices or of["Thing"] in devices):
                found.add((of["Thing"], of["Station"]))
        if len(found) > MAX_SERIES:
            raise NotObserved(
                f"CloudWatch: more than {MAX_SERIES} pairs of thing and station", remedy="name the devices of the stage"
            )
    return sorted(found)


def _cells(thing: str, series: Sequence[tuple[str, str]], counts: Figures, step: int, seconds: float) -> Iterator[Cell]:
    mine = [each for each in series if each[0] == thing]

    def total(metric: str, statistic: str, number: int) -> int:
        return round(sum(_of_slice(counts.get((each, metric, statistic), {}), number) for each in mine))

    for number in range(SLICES):
        parts = total("Unknown", "SampleCount", number)
        is_counted = total(*_NO_ERRORS, number) >= COUNTED * parts
        yield Cell(
            thing,
            number,
            float(step) if number < SLICES - 1 else seconds - step * (SLICES - 1),
            parts=parts,
            errors=total(*_ERRORS, number) if is_counted else None,
            unknowns=total("Unknown", "Sum", number),
            fails=total("Defect", "Sum", number),
        )


def _of_slice(by_period: Mapping[int, float], number: int) -> float:
    """Return the count of a slice; what lies before the first or behind the last is theirs."""
    last = SLICES - 1
    return sum(count for period, count in by_period.items() if min(last, max(0, period)) == number)


def _whole(
    thing: str,
    series: Sequence[tuple[str, str]],
    figures: Figures,
    latency: Sequence[float],
    confidence: Sequence[float],
    seconds: float,
) -> Cell:
    mine = [each for each in series if each[0] == thing]

    def quantiles(metric: str, shares: Sequence[float]) -> Quantiles | None:
        counts = {
            (each, period): count
            for each in mine
            for period, count in figures.get((each, metric, "SampleCount"), {}).items()
            if count
        }
        count = sum(counts.values())
        if not count:
            return None
        found: dict[float, float] = {}
        for share in shares:
            values = {key: figures.get((key[0], metric, f"p{100 * share:g}"), {}).get(key[1]) for key in counts}
            if None not in values.values():
                found[share] = sum(counts[key] * (value or 0.0) for key, value in values.items()) / count
        return Quantiles(found, round(count), WITHIN)

    return Cell(
        thing, 0, seconds, latency=quantiles("Latency", latency), confidence=quantiles("Confidence", confidence)
    )


_REMEDIES: Final[Mapping[Cause, str]] = {
    Cause.NO_CREDENTIALS: "give the credentials that AWS's own tools read",
    Cause.REGION: "name the region, or set AWS_REGION",
    Cause.CERTIFICATE: "name its authority in AWS_CA_BUNDLE, and see that the clock is right",
}


def _explained(error: Exception) -> NotObserved:
    cause = cause_of(error)
    if isinstance(error, ClientError):
        return NotObserved(
            f"CloudWatch answers {code(error)}: {message(error)}",
            remedy="allow cloudwatch:ListMetrics and cloudwatch:GetMetricData to the credentials",
        )
    if cause is Cause.CREDENTIAL_PROVIDER:
        return NotObserved("no credentials for CloudWatch: their provider does not answer as it should")
    return NotObserved(
        f"CloudWatch cannot be asked: {one_line(error)}",
        remedy=_REMEDIES.get(cause, "see the network"),
        transient=cause is Cause.NETWORK,
    )
