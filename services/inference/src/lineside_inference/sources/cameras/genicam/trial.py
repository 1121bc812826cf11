"""A camera tried as the service uses it: what came of so many frames, and what to do about it. Pure rules."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineside_inference.sources.cameras.genicam.advice import Advice

_WHITE, _BLACK = 250, 5
_MOST_WHITE = 0.05
_DARK, _EVEN = 0.04, 1.0
_UNEVEN, _LEAST_UNEVEN_MS = 3, 20.0
_PERCENT = 100


@dataclass(frozen=True)
class Light:
    """An image's light: mean of 0 to 1, share of white and of black pixels, spread of its values of 0 to 255."""

    mean: float
    white: float
    black: float
    spread: float


@dataclass(frozen=True)
class Trial:
    """What came of so many frames that were asked for; times in milliseconds from asking to a frame.

    `failures` are the reasons of those that did not come. `light` is of the newest frame.
    """

    asked: int
    times_ms: tuple[float, ...] = ()
    failures: tuple[str, ...] = ()
    acquisition: str = "software"
    width: int | None = None
    height: int | None = None
    pixel_format: str | None = None
    packet_size: int | None = None
    incomplete: int = 0
    missing_packets: int = 0
    resent_packets: int = 0
    socket_drops: int = 0
    light: Light | None = None
    temperature: float | None = None
    hot: float = 75.0

    @property
    def median_ms(self) -> float | None:
        """Return the usual time; None without a frame."""
        return statistics.median(self.times_ms) if self.times_ms else None

    @property
    def jitter_ms(self) -> float | None:
        """Return by how much the slowest frame came later than the quickest; None without two."""
        return max(self.times_ms) - min(self.times_ms) if len(self.times_ms) > 1 else None


def light_of(pixels: NDArray[np.uint8]) -> Light:
    """Return the light of gray or BGR pixels."""
    brightest = pixels if pixels.ndim == 2 else pixels.max(axis=2)  # noqa: PLR2004 - rows and columns: gray
    return Light(
        mean=float(pixels.mean()) / 255,
        white=float((brightest >= _WHITE).mean()),
        black=float((brightest <= _BLACK).mean()),
        spread=float(pixels.std()),
    )


def judge(trial: Trial) -> list[Advice]:
    """Return what to do, what is due first; nothing where all is well."""
    given = [each for rule in RULES if (each := rule(trial)) is not None]
    return sorted(given, key=lambda each: not each.is_due)


def missing(trial: Trial) -> Advice | None:
    """Frames did not come."""
    if not trial.failures:
        return None
    return Advice(
        f"{len(trial.failures)} of {trial.asked} frames did not come: {trial.failures[0]}. A part would have been "
        "unknown each time."
    )


def lossy(trial: Trial) -> Advice | None:
    """Packets were lost, and frames with them."""
    if not trial.incomplete:
        return None
    return Advice(
        f"{trial.incomplete} frames were not whole (at most {trial.missing_packets} packets are missing), and others "
        "were asked for instead. `lineside camera watch` says which to mend: cable, switch, MTU, receive buffer."
    )


def resent(trial: Trial) -> Advice | None:
    """Packets were lost and sent again."""
    if not trial.resent_packets:
        return None
    return Advice(
        f"{trial.resent_packets} packets were sent again: frames are whole, and later. See cable, plugs and switch.",
        is_due=False,
    )


def dropped(trial: Trial) -> Advice | None:
    """Packets were dropped in this machine."""
    if not trial.socket_drops:
        return None
    return Advice(
        f"{trial.socket_drops} packets were dropped at this machine's receive buffer: raise net.core.rmem_max.",
        is_due=trial.incomplete > 0,
    )


def uneven(trial: Trial) -> Advice | None:
    """One frame took much longer than the others."""
    if trial.median_ms is None or trial.jitter_ms is None:
        return None
    longest = max(trial.times_ms)
    if longest <= _UNEVEN * trial.median_ms or longest - trial.median_ms < _LEAST_UNEVEN_MS:
        return None
    return Advice(
        f"One frame took {longest:.0f} ms, {trial.median_ms:.0f} ms is usual: see what else uses link and processor, "
        "and whether exposure or gain are automatic.",
        is_due=False,
    )


def bright(trial: Trial) -> Advice | None:
    """Much of the image is white."""
    if trial.light is None or trial.light.white <= _MOST_WHITE:
        return None
    return Advice(
        f"{trial.light.white * _PERCENT:.0f} % of the pixels are white, and show nothing: a shorter ExposureTime, less "
        "Gain, or less light.",
        is_due=False,
    )


def dark(trial: Trial) -> Advice | None:
    """The image is dark, or even."""
    if trial.light is None:
        return None
    if trial.light.spread < _EVEN:
        return Advice("The image is even, without any structure: see the lens cap, the light and what is in view.")
    if trial.light.mean >= _DARK:
        return None
    return Advice(
        f"The image is dark ({trial.light.mean * _PERCENT:.0f} % of white on average): more light, a longer "
        "ExposureTime, an open iris.",
        is_due=False,
    )


def hot(trial: Trial) -> Advice | None:
    """It is hotter than it may be."""
    if trial.temperature is None or trial.temperature <= trial.hot:
        return None
    return Advice(
        f"It is {trial.temperature:.0f} °C hot, and {trial.hot:g} °C are allowed (hot_celsius): give its housing air "
        "or a metal mount.",
        is_due=False,
    )


RULES: Sequence[Callable[[Trial], Advice | None]] = (missing, lossy, dropped, resent, uneven, dark, bright, hot)
