"""The metrics' names as people say them."""

from typing import Final

_TITLES: Final = {
    "throughput": "Throughput",
    "error_rate": "The share of errors",
    "unknown_rate": "The share of unknowns",
    "defect_rate": "The share of defects",
}


def title(name: str) -> str:
    """Return a metric's name as people say it: `latency_p95` is Latency p95."""
    if name in _TITLES:
        return _TITLES[name]
    field, _, quantile = name.partition("_")
    return f"{field.capitalize()} {quantile}"
