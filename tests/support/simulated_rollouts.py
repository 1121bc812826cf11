"""Rollouts whose truth is known: what two sides of a fleet would have shown the gate.

Latencies are lognormal, alike within a device (an effect of its own) and from one part to the next (an autoregression),
unknowns and errors come in bursts and more on some devices than on others, confidences are logistic-normal. The staged
side differs by what `Truth` says.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import expit, ndtr, ndtri

from lineside_fleet.gate.deciding import evaluate
from lineside_fleet.gate.evaluation import Look
from lineside_fleet.gate.observations import Bins, Cell, Observations, Samples, Window
from lineside_fleet.gate.settings import GateSettings

BEGAN = datetime(2026, 3, 2, tzinfo=UTC)
HOURS = 24
USUAL_MS = 25
"""The median of latency."""
SOME = 8
"""One of so many parts has a confidence: they are easy to tell apart, and take time to draw."""
Array = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Fleet:
    """What does not depend on the version."""

    devices: int = 12
    parts: int = 3999
    """A device and side; a multiple of the slices."""
    same_devices: bool = True
    """Whether the staged devices are those of the baseline, before and after."""
    spread: float = 0.2
    """Standard deviation of the devices' effects on the logarithm of latency."""
    sigma: float = 0.35
    """Standard deviation of one device's logarithm of latency."""
    memory: float = 0.5
    """Correlation of one part's latency with the next one's."""
    unknowns: float = 0.01
    errors: float = 0.002
    fails: float = 0.02
    uneven: float = 0.4
    """Standard deviation of the devices' effects on the logarithm of rates."""
    slices: int = 3
    """In which the window is cut."""
    bursts: float = 0.3
    """Probability that what happened to a part happens to the next one too."""


@dataclass(frozen=True)
class Truth:
    """What the staged version is like: factors on latency and rates, a shift of the confidence's logit."""

    latency: float = 1.0
    unknowns: float = 1.0
    errors: float = 1.0
    fails: float = 1.0
    confidence: float = 0.0
    uneven: float = 0.0
    """Standard deviation, by device, of what the version does to the logarithm of latency."""


EQUAL = Truth()


@dataclass(frozen=True)
class Drawn:
    """One side's parts: values devices x parts, counts and seconds devices x slices."""

    names: Sequence[str]
    latency: Array
    confidence: Array
    errors: Counts
    unknowns: Counts
    fails: Counts
    seconds: Array

    def until(self, slices: int, version: str) -> Observations:
        """Return what was observed after so many of the slices."""
        window = Window(BEGAN, BEGAN + timedelta(hours=HOURS * slices / self.seconds.shape[1]))
        return Observations("simulation", (version,), window, tuple(c for c in self.cells if c.slice < slices))

    @cached_property
    def cells(self) -> list[Cell]:
        """Each device in each slice of time."""
        slices = self.seconds.shape[1]
        size, some = self.latency.shape[1] // slices, self.confidence.shape[1] // slices
        return [
            Cell(
                name,
                number,
                float(self.seconds[row, number]),
                parts=size,
                errors=int(self.errors[row, number]),
                unknowns=int(self.unknowns[row, number]),
                fails=int(self.fails[row, number]),
                latency=Samples(self.latency[row, number * size : (number + 1) * size]),
                confidence=Samples(self.confidence[row, number * some : (number + 1) * some]),
            )
            for row, name in enumerate(self.names)
            for number in range(slices)
        ]


def binned(side: Observations, edges: Sequence[float]) -> Observations:
    """Return a side as a source with histograms sees it: latency as counts between edges (ms)."""
    bounds = np.array([0.0, *edges, np.inf])

    def seen(cell: Cell) -> Cell:
        assert isinstance(cell.latency, Samples)
        counts = np.histogram(-cell.latency.values, bins=-bounds[::-1])[0][::-1]  # an edge belongs to what is below it
        return replace(cell, latency=Bins(bounds, counts.astype(float)))

    return replace(side, cells=tuple(map(seen, side.cells)))


def share_over(ms: float, fleet: Fleet, truth: Truth = EQUAL) -> float:
    """Return the share of parts over a limit, over all devices that a fleet could have."""
    spread = math.hypot(fleet.spread, fleet.sigma, truth.uneven)
    return float(ndtr(math.log(USUAL_MS * truth.latency / ms) / spread))


def slower_to(share: float, ms: float, fleet: Fleet) -> Truth:
    """Return the truth by which this share of parts is over a limit."""
    spread = math.hypot(fleet.spread, fleet.sigma)
    return Truth(latency=math.exp(float(ndtri(share)) * spread) * ms / USUAL_MS)


def draw(fleet: Fleet, truth: Truth, random: np.random.Generator) -> tuple[Drawn, Drawn]:
    """Return the baseline and the staged side of one rollout."""
    devices = _devices(fleet, random)
    others = devices if fleet.same_devices else _devices(fleet, random)
    return _side(fleet, EQUAL, devices, "d", random), _side(
        fleet, truth, others, "d" if fleet.same_devices else "e", random
    )


def verdict_of(
    settings: GateSettings,
    sides: tuple[Drawn, Drawn],
    judge: Callable[..., str] | None = None,
) -> tuple[str, int]:
    """Return the verdict that a rollout ends with, and at which look."""
    for number in range(1, settings.looks + 1):
        slices = sides[0].seconds.shape[1] * number // settings.looks
        baseline, staged = sides[0].until(slices, "1"), sides[1].until(slices, "2")
        if judge is not None:
            verdict = judge(settings, baseline, staged, number)
        else:
            verdict = evaluate(settings, baseline, staged, Look(number=number)).verdict
        if verdict != "hold":
            return verdict, number
    return "hold", settings.looks


def _devices(fleet: Fleet, random: np.random.Generator) -> tuple[Array, Array]:
    """Return the devices' effects: factors on latency, factors on rates (of mean 1)."""
    rates = np.exp(fleet.uneven * random.standard_normal(fleet.devices) - fleet.uneven**2 / 2)
    return np.exp(fleet.spread * random.standard_normal(fleet.devices)), rates


def _side(fleet: Fleet, truth: Truth, devices: tuple[Array, Array], prefix: str, random: np.random.Generator) -> Drawn:
    shape = (fleet.devices, fleet.parts)
    speed, rates = devices
    noise = random.standard_normal(shape)
    noise[:, 1:] *= np.sqrt(1 - fleet.memory**2)
    walked = lfilter([1.0], [1.0, -fleet.memory], noise, axis=1)
    effect = truth.latency * np.exp(truth.uneven * random.standard_normal(fleet.devices))
    latency = USUAL_MS * (speed * effect)[:, None] * np.exp(fleet.sigma * walked)
    few = (fleet.devices, fleet.parts // SOME)
    confidence = expit(1.8 + truth.confidence + 0.8 * random.standard_normal(few))
    size = fleet.parts // fleet.slices
    errors = _events(fleet, fleet.errors * truth.errors * rates, random)
    no_verdict = _events(fleet, max(0.0, fleet.unknowns * truth.unknowns - fleet.errors * truth.errors) * rates, random)
    unknowns = np.minimum(errors + no_verdict, size)
    fails = random.binomial(size - unknowns, fleet.fails * truth.fails)
    seconds = HOURS * 3600 / fleet.slices * np.exp(0.05 * random.standard_normal((fleet.devices, fleet.slices)))
    names = [f"{prefix}{number:04}" for number in range(fleet.devices)]
    return Drawn(names, latency, confidence, np.minimum(errors, size), unknowns, fails, seconds)


def _events(fleet: Fleet, rates: Array, random: np.random.Generator) -> Counts:
    """Return how many parts something happens to in each slice: in bursts of geometric length."""
    begun = random.poisson(
        (rates * (1 - fleet.bursts) * fleet.parts / fleet.slices)[:, None], (fleet.devices, fleet.slices)
    )
    if fleet.bursts == 0:
        return np.asarray(begun)
    return np.asarray(begun + np.where(begun > 0, random.negative_binomial(np.maximum(begun, 1), 1 - fleet.bursts), 0))
