"""The simulated spindle: speed, load, vibration and temperature, sound or going wrong.

A window is a function of ``(seed, index)``; seeds are kept apart as in :mod:`lineside_bench.parts.labels`. The live
simulator computes the same physics one sample at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["KINDS", "NODES", "RATE", "TAGS", "UNITS", "WINDOW", "SpindleSimulator", "SpindleWindow", "make_window"]

TAGS: Final[tuple[str, ...]] = ("speed_rpm", "load_percent", "vibration_mm_s", "temperature_c")
"""The tags, in the order of a window's columns: 1/min, % of rated torque, mm/s RMS, degrees Celsius."""

NODES: Final[tuple[str, ...]] = (
    "Spindle.SpeedRpm",
    "Spindle.LoadPercent",
    "Spindle.VibrationMmS",
    "Spindle.TemperatureC",
)
"""Their nodes in the simulated PLC."""

UNITS: Final[tuple[str, ...]] = ("1/min", "%", "mm/s", "°C")
"""The tags' units as the model's card writes them."""

WINDOW: Final = 64
"""Samples in a window."""

RATE: Final = 10.0
"""Samples a second."""

KINDS: Final[tuple[str, ...]] = ("normal", "worn_bearing", "imbalance", "overload", "coolant_loss")
"""What a window can show; all but the first are anomalies."""

ANOMALOUS_SHARE = 0.2
CHANGE_SHARE = 0.35
LEAST_SEVERITY = 0.15

AMBIENT = 22.0
HEAT_RATE = 0.012  # share of the way to the balance temperature in one sample
RATED_SPEED = 12_000.0
KNOCK_SHARE = 0.12  # of the samples, with a damaged bearing
MEAN_DUTY = 0.775  # of a job's cut, over its cycle


@dataclass(frozen=True)
class SpindleWindow:
    """One stretch of samples and what is true about it.

    Attributes:
        index: its number in the run, from 0.
        anomalous: whether anything is wrong.
        kind: one of :data:`KINDS`.
        values: (64, 4) float32, oldest first, columns as :data:`TAGS`.
    """

    index: int
    anomalous: bool
    kind: str
    values: NDArray[np.float32]


@dataclass(frozen=True)
class _SpindleState:
    """The machine between two samples; ``severity`` 0 to 1 is how far the anomaly ``kind`` has gone."""

    target_speed: float
    cut: float
    speed: float
    load: float
    temperature: float
    phase: float
    kind: str
    severity: float
    clock: int


def make_window(seed: int, index: int, *, anomalous: bool | None = None) -> SpindleWindow:
    """Draw window ``index`` of the run ``seed``.

    Args:
        seed: 0 or more.
        index: 0 or more.
        anomalous: force a sound or a faulty window, or None for the run's own (one in five is faulty).

    Raises:
        ValueError: an argument is negative.
    """
    if seed < 0 or index < 0:
        message = f"spindle seed {seed}, index {index}: both must be 0 or more"
        raise ValueError(message)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index, 1))))
    drawn = bool(rng.random() < ANOMALOUS_SHARE)
    faulty = drawn if anomalous is None else anomalous
    kind = KINDS[int(rng.integers(1, len(KINDS)))] if faulty else KINDS[0]
    state = _start(rng, kind, float(rng.uniform(LEAST_SEVERITY, 1.0)) if faulty else 0.0)
    lead, change = 0, -1
    if rng.random() < CHANGE_SHARE:  # a new job began within the window or shortly before it
        lead = int(rng.integers(0, 2 * WINDOW))
        change = int(rng.integers(0, lead + WINDOW))
    values = np.empty((WINDOW, len(TAGS)), np.float32)
    for row in range(-lead, WINDOW):
        if row + lead == change:
            job = _start(rng, KINDS[0], 0.0)
            state = replace(state, target_speed=job.target_speed, cut=job.cut)
        state, sample = _step(rng, state)
        if row >= 0:
            values[row] = sample
    return SpindleWindow(index=index, anomalous=faulty, kind=kind, values=values)


class SpindleSimulator:
    """A spindle that runs for ever: jobs come and go, and now and then a fault grows and is put right."""

    def __init__(self, seed: int, *, faults: bool = True) -> None:
        """Start from ``seed``; with ``faults`` false nothing ever goes wrong."""
        self._rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, 2))))
        self._faults = faults
        self._state = _start(self._rng, KINDS[0], 0.0)
        self._left = self._job_length()

    @property
    def kind(self) -> str:
        """What is wrong at the moment, one of :data:`KINDS`."""
        return self._state.kind

    def step(self) -> tuple[float, float, float, float]:
        """Return the next sample, 0.1 s on: speed, load, vibration, temperature as in :data:`TAGS`."""
        self._left -= 1
        if self._left <= 0:
            self._next_job()
        elif self._state.kind != KINDS[0]:
            self._state = replace(self._state, severity=min(self._state.severity + 0.004, 1.0))
        self._state, (speed, load, vibration, temperature) = _step(self._rng, self._state)
        return speed, load, vibration, temperature

    def _job_length(self) -> int:
        return int(self._rng.integers(200, 900))

    def _next_job(self) -> None:
        self._left = self._job_length()
        fresh = _start(self._rng, KINDS[0], 0.0)
        kind, severity = KINDS[0], 0.0
        if self._faults and self._rng.random() < ANOMALOUS_SHARE:
            kind, severity = KINDS[int(self._rng.integers(1, len(KINDS)))], LEAST_SEVERITY
        mended = self._state.kind != KINDS[0]  # the machine stood still for that and cooled down
        self._state = replace(
            self._state,
            target_speed=fresh.target_speed,
            cut=fresh.cut,
            temperature=fresh.temperature if mended else self._state.temperature,
            kind=kind,
            severity=severity,
        )


def _start(rng: Generator, kind: str, severity: float) -> _SpindleState:
    """Return a machine that has run its job long enough to be warm."""
    speed = float(rng.uniform(4_000, 11_000))
    cut = float(rng.uniform(18, 62))
    warm = _balance(speed, MEAN_DUTY * cut, 0.0)
    return _SpindleState(
        target_speed=speed,
        cut=cut,
        speed=speed,
        load=cut,
        temperature=warm + float(rng.normal(0, 0.8)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        kind=kind,
        severity=severity,
        clock=0,
    )


def _balance(speed: float, load: float, lost_cooling: float) -> float:
    """Return the temperature in degrees Celsius that the spindle settles at."""
    heat = 9.0 * speed / RATED_SPEED + 0.16 * load
    return AMBIENT + heat * (1.0 + 2.6 * lost_cooling)


def _step(rng: Generator, state: _SpindleState) -> tuple[_SpindleState, tuple[float, float, float, float]]:
    """Move 0.1 s on; return the new state and the sample."""
    wear, imbalance, overload, dry = (state.severity if state.kind == kind else 0.0 for kind in KINDS[1:])
    phase = state.phase + 2 * np.pi * 0.31 / RATE
    cycle = 0.5 + 0.5 * np.tanh(3 * np.sin(phase))
    wanted = state.cut * (0.55 + 0.45 * cycle) + overload * (38 + 14 * np.sin(phase * 0.7)) + 5 * wear
    load = state.load + 0.35 * (wanted - state.load) + rng.normal(0, 0.7)
    droop = 1 - 0.0004 * load - 0.06 * overload * max(load - 60, 0) / 60
    speed = state.speed + 0.4 * (state.target_speed * droop - state.speed) + rng.normal(0, 6)
    share = speed / RATED_SPEED
    vibration = 0.5 + 0.9 * share + 0.007 * load + rng.normal(0, 0.06)
    # A damaged race beats with the cage: harmonics of a slow envelope, and single knocks.
    beat = state.clock * 2 * np.pi * 1.7 / RATE
    vibration += wear * (1.1 + 0.5 * np.sin(beat) + 0.35 * np.sin(2 * beat) + 0.2 * np.sin(3 * beat))
    vibration += wear * 1.6 * float(rng.random() < KNOCK_SHARE)
    sway = 1 + np.sin(state.clock * 2 * np.pi * 0.9 / RATE)
    vibration += imbalance * (3.4 * share**2 + 0.35 * sway)
    vibration += overload * 0.5 * abs(rng.normal())
    settled = _balance(speed, load, dry) + 7 * wear
    rate = HEAT_RATE * (1 + 1.2 * dry)
    temperature = state.temperature + rate * (settled - state.temperature)
    moved = replace(
        state,
        speed=float(speed),
        load=float(load),
        temperature=float(temperature),
        phase=float(phase % (200 * np.pi)),
        clock=state.clock + 1,
    )
    sample = (
        float(max(speed + rng.normal(0, 3), 0.0)),
        float(min(max(load + rng.normal(0, 0.4), 0.0), 150.0)),
        float(max(vibration, 0.05)),
        float(temperature + rng.normal(0, 0.08)),
    )
    return moved, sample
