"""Triggers become exposures: which are taken, and when each begins. It has no clock of its own."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_US = 1e6


class Source(StrEnum):
    """What a frame is taken for."""

    free = "free"
    software = "Software"
    line = "Line1"
    action = "Action1"


@dataclass(frozen=True)
class Trigger:
    """Why a frame is taken, when that was (seconds of time.monotonic()), and whatever was given with it."""

    source: Source
    at: float
    tag: Any = None


@dataclass(frozen=True)
class Exposure:
    """One exposure; `number` counts frames since the start of the acquisition, from 1."""

    number: int
    trigger: Trigger
    began: float
    ended: float


@dataclass
class Sensor:
    """One exposure at a time; a trigger that comes during one is counted and gives nothing."""

    latency_s: float = 0.0
    """From the trigger to the exposure's begin."""
    ignored: int = 0
    """Triggers of another source than the one that is set, or while nothing is acquired."""
    missed: int = 0
    """Triggers that came before the exposure of the one before had ended."""
    frames: int = 0
    _busy_until: float = float("-inf")

    def start(self) -> None:
        """Begin to acquire: frames are counted anew."""
        self.frames = 0
        self._busy_until = float("-inf")

    def take(self, trigger: Trigger, *, exposure_us: float, delay_us: float = 0.0) -> Exposure | None:
        """Return the exposure of a trigger; None where the one before has not ended, which is counted."""
        waits = 0.0 if trigger.source is Source.free else self.latency_s + delay_us / _US
        began = trigger.at + waits
        if began < self._busy_until:
            self.missed += 1
            return None
        self.frames += 1
        self._busy_until = began + exposure_us / _US
        return Exposure(self.frames, trigger, began, self._busy_until)
