"""A source of the exporter that reads nothing."""

from dataclasses import dataclass
from typing import Any


@dataclass
class Named:
    """What the exporter knows of a source: its name, its target, and how often and how long it is read."""

    name: str
    target: str = "somewhere"
    period_s: float = 5.0
    timeout_s: float = 2.0

    async def read(self) -> list[Any]:
        return []
