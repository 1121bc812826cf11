"""What one value of a trigger means."""

from dataclasses import dataclass
from enum import StrEnum


class Decision(StrEnum):
    """What one value of the trigger means; the values are the metric's `kind`."""

    FIRED = "accepted"
    """A part arrived."""
    RECOVERED = "recovered"
    """A part arrived while values were missing."""
    DEBOUNCED = "debounced"
    """It came within the debounce time after the last one that counted."""
    TOO_SOON = "too_soon"
    """It came within the minimum interval after the last request."""
    HELD_BACK = "condition"
    """A condition on another tag does not hold; set by `part_intake`, not by a detector."""
    BAD = "bad_quality"
    """It is of bad quality, or of a kind that this trigger cannot take."""
    RECHECK = "recheck"
    """Values before it are missing: only a view of the PLC tells whether a part waits."""
    NONE = "none"
    """It is no trigger."""


@dataclass(frozen=True)
class Detection:
    """A detector's result for one value. `missed`: parts that a counter shows and nobody asked about, 0 or more."""

    decision: Decision
    missed: int = 0
