"""A camera's features: in which order they are written, what fits one, and whether it took what was asked.

The order is that of the Standard Features Naming Convention's dependencies: what changes the sensor's geometry before
the region, sizes before offsets, the pixel format before what depends on it, automatic modes before the values that
they own. What is not named there follows in the order of the settings.
"""

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from lineside_inference.errors import CameraFailed

Value = bool | int | float | str
Kind = Literal["integer", "float", "boolean", "enumeration", "string", "command"]
Access = Literal["read and write", "read-only", "read-only now", "write-only", "not available now"]
"""What may be done to a feature; `now` is what another feature, or the running stream, may change."""

ORDER = (
    "UserSetSelector",
    "SensorShutterMode",
    "BinningSelector",
    "BinningHorizontal",
    "BinningVertical",
    "DecimationHorizontal",
    "DecimationVertical",
    "ReverseX",
    "ReverseY",
    "PixelFormat",
    "Width",
    "Height",
    "OffsetX",
    "OffsetY",
    "AcquisitionFrameRateEnable",
    "AcquisitionFrameRate",
    "ExposureMode",
    "ExposureAuto",
    "ExposureTime",
    "ExposureTimeAbs",
    "GainSelector",
    "GainAuto",
    "Gain",
    "GainRaw",
)
_SHOWN = 12
_CLOSE = 1e-6


@dataclass(frozen=True)
class Bounds:
    """What a feature may be: `least` to `most` in steps of `step` for numbers, one of `choices` for enumerations."""

    kind: Kind
    least: float = -math.inf
    most: float = math.inf
    step: int = 1
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == "enumeration":
            shown = ", ".join(self.choices[:_SHOWN])
            return f"one of {shown}" + (", ..." if len(self.choices) > _SHOWN else "")
        if self.kind in {"integer", "float"} and not math.isfinite(self.most - self.least):
            return "any number"
        if self.kind == "integer":
            return f"{self.least:.0f} to {self.most:.0f}" + (f" in steps of {self.step}" if self.step > 1 else "")
        if self.kind == "float":
            return f"{self.least:g} to {self.most:g}"
        return "true or false" if self.kind == "boolean" else f"a {self.kind}"


@dataclass(frozen=True)
class Feature:
    """A feature as it is now; `value` is None where it shows none: a command, or one that is not available."""

    value: Value | None
    bounds: Bounds
    access: Access


def from_text(text: str, kind: Kind) -> Value:
    """Return what a word means for a feature of a kind; the word itself where it means none: `problem` refuses it."""
    try:
        if kind == "integer":
            return int(text) if text.strip("+-").isdecimal() else int(text, 0)
        if kind == "float":
            return float(text)
    except ValueError:
        return text
    return {"true": True, "false": False}.get(text.lower(), text) if kind == "boolean" else text


def ordered(features: Mapping[str, Value]) -> list[tuple[str, Value]]:
    """Return features in the order in which they are written."""
    place = {name: number for number, name in enumerate(ORDER)}
    return sorted(features.items(), key=lambda each: place.get(each[0], len(ORDER)))


def resets(features: Mapping[str, Value]) -> list[str]:
    """Return the offsets that are put to their least first, so that a new size fits whatever the camera had before."""
    return [offset for size, offset in (("Width", "OffsetX"), ("Height", "OffsetY")) if size in features]


def problem(name: str, value: Value, bounds: Bounds) -> str:
    """Return what is wrong with a value, in the camera's own bounds; empty where it fits."""
    if bounds.kind == "command":
        return f"{name} is a command: it has no value"
    fits = {
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, int | float) and not isinstance(value, bool),
        "boolean": isinstance(value, bool),
        "enumeration": isinstance(value, str) and value in bounds.choices,
        "string": isinstance(value, str),
    }[bounds.kind]
    if fits and isinstance(value, int | float) and bounds.kind in {"integer", "float"}:
        fits = bounds.least <= value <= bounds.most
        if bounds.kind == "integer" and bounds.step > 1:
            fits = fits and (value - bounds.least) % bounds.step == 0
    return "" if fits else f"{name}: {value!r} does not fit; this camera takes {bounds}"


def check_taken(name: str, wanted: Value, taken: Value, bounds: Bounds) -> None:
    """Raise CameraFailed where a camera has another value than it was given; a float may be rounded to its step."""
    if isinstance(wanted, float | int) and isinstance(taken, float):
        span = bounds.most - bounds.least
        room = max(abs(wanted) * 0.01, span * _CLOSE if math.isfinite(span) else 0.0)
        is_same = abs(wanted - taken) <= room
    else:
        is_same = wanted == taken
    if not is_same:
        raise CameraFailed(
            f"feature {name} was set to {wanted!r} and reads {taken!r}; this camera takes {bounds}",
            remedy="Name a value that it takes; another feature, or an automatic mode, may hold this one",
        )


def unknown(name: str, known: Collection[str]) -> CameraFailed:
    """Return the error for a feature that this camera has not, with the nearest names that it has."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6) + [
        each for each in sorted(known) if each != name and each.startswith(name)
    ]
    shown = ", ".join(dict.fromkeys(near)) or "nothing like it"
    return CameraFailed(f"it has no feature {name}; it has {shown}", remedy="Name the feature as this camera does")
