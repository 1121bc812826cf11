"""The metrics that the settings ask for, each with what it counts and what compares it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lineside_fleet.gate import rate_metric
from lineside_fleet.gate.comparison import Compared, Scale
from lineside_fleet.gate.observations import Bins, Cell, Samples, Values
from lineside_fleet.gate.quantile_metric import QuantileMetric
from lineside_fleet.gate.rate_metric import RateMetric
from lineside_fleet.gate.rates import Counts
from lineside_fleet.gate.settings import GateSettings, RateSettings
from lineside_fleet.gate.sides import Sides
from lineside_fleet.gate.throughput_metric import ThroughputMetric

_COUNTS = "evidence and Prometheus count them; elsewhere leave it null"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: in how many ways it can stop, how many values of a cell it counts, what compares it."""

    name: str
    scale: Scale
    tests: int
    count: Callable[[Cell], int]
    compare: Callable[[Sides, GateSettings], Compared]


def asked(settings: GateSettings) -> Iterator[Metric]:
    """Yield what the settings ask for, in the order of the report."""
    if settings.latency:
        for share in settings.latency.quantiles:
            name = f"latency_p{100 * share:g}"
            latency = QuantileMetric(name, share, settings.latency.slower, is_ratio=True, of=lambda cell: cell.latency)
            yield Metric(name, "ratio", 1, lambda cell: _size(cell.latency), latency.compare)
    if settings.throughput:
        throughput = ThroughputMetric(settings.throughput.less)
        yield Metric(throughput.name, "ratio", 1, lambda cell: cell.parts or 0, throughput.compare)
    yield from _rates(settings)
    if settings.confidence:
        for share in settings.confidence.quantiles:
            name = f"confidence_p{100 * share:g}"
            shift = settings.confidence.shift
            confidence = QuantileMetric(name, share, shift, is_ratio=False, of=lambda cell: cell.confidence)
            yield Metric(name, "difference", 2, lambda cell: _size(cell.confidence), confidence.compare)


def _rates(settings: GateSettings) -> Iterator[Metric]:
    if settings.errors:
        yield _rate("error_rate", settings.errors, rate_metric.errors)
    if settings.unknowns:
        yield _rate("unknown_rate", settings.unknowns, rate_metric.unknowns)
    if settings.defects:
        yield _rate("defect_rate", settings.defects, rate_metric.defects, both=True)
    if settings.slow:
        edge = settings.slow.ms
        slow = RateMetric(f"slow_{edge:g}", settings.slow, rate_metric.slower_than(edge), both=False, remedy=_COUNTS)
        yield Metric(slow.name, "share", 1, lambda cell: _size(cell.latency), slow.compare)
    if settings.unsure:
        limit = settings.unsure.upto
        name, counts = f"unsure_{limit:g}", rate_metric.no_surer_than(limit)
        unsure = RateMetric(name, settings.unsure, counts, both=True, remedy=_COUNTS)
        yield Metric(name, "share", 2, lambda cell: _size(cell.confidence), unsure.compare)


def _rate(name: str, rate: RateSettings, of: Callable[[Cell], Counts | None], *, both: bool = False) -> Metric:
    def count(cell: Cell) -> int:
        counts = of(cell)
        return int(counts[1]) if counts else 0

    return Metric(name, "share", 2 if both else 1, count, RateMetric(name, rate, of, both=both).compare)


def _size(values: Values | None) -> int:
    if values is None:
        return 0
    if isinstance(values, Samples):
        return int(values.values.size)
    return int(values.counts.sum()) if isinstance(values, Bins) else values.count
