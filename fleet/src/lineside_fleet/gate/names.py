"""The metrics' names as people say them."""

from typing import Final

_TITLES: Final = {
    "throughput": "Throughput",
    "error_rate": "The share of errors",
    "unknown_rate": "The share of unknowns",
    "defect_rate": "The share of defects",
}

_LIMITS: Final = {"slow": "The share over {} ms", "unsure": "The share of confidences up to {}"}
"""Of metrics that have their limit in the name, as slow_30."""


def title(name: str) -> str:
    """Return a metric's name as people say it: `latency_p95` is Latency p95."""
    if name in _TITLES:
        return _TITLES[name]
    kind, _, limit = name.partition("_")
    if kind in _LIMITS:
        return _LIMITS[kind].format(limit)
    field, _, quantile = name.partition("_")
    return f"{field.capitalize()} {quantile}"
