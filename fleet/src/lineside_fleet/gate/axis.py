"""Where the figures of a metric lie on its own axis, the same for the picture and for the page."""

from dataclasses import dataclass

from lineside_fleet.gate.evaluation import MetricEvaluation

_MARGIN = 0.18


@dataclass(frozen=True, slots=True)
class Axis:
    """A metric's axis from 0 to 1: what is allowed, where nothing changed, what the data allows, the estimate."""

    allowed: tuple[float, float]
    same: float
    low: float
    high: float
    estimate: float


def axis_of(metric: MetricEvaluation) -> Axis | None:
    """Return a metric's axis, None where it could not be compared."""
    if metric.estimate is None or metric.low is None or metric.high is None:
        return None
    same = {"ratio": 1.0, "difference": 0.0, "share": metric.baseline or 0.0}[metric.scale]
    limits = [limit for limit in (metric.allowed_low, metric.allowed_high) if limit is not None]
    points = [same, metric.low, metric.high, metric.estimate, *limits]
    least, most = min(points), max(points)
    room = (most - least or 1.0) * _MARGIN
    least, most = least - room, most + room

    def at(value: float) -> float:
        return min(1.0, max(0.0, (value - least) / (most - least)))

    return Axis(
        allowed=(
            0.0 if metric.allowed_low is None else at(metric.allowed_low),
            1.0 if metric.allowed_high is None else at(metric.allowed_high),
        ),
        same=at(same),
        low=at(metric.low),
        high=at(metric.high),
        estimate=at(metric.estimate),
    )
