"""What is built next, and how each model stands to its engine: decided of what the builder says and what is wanted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lineside.plans.documents import BuilderState
from lineside.plans.key import Options

MOST_TRIES = 3
"""Builds of one key that fail before it is given up; the builder counts them over restarts."""
RETRY_S = (600.0, 3600.0)
"""Seconds after the first failure and the second."""

State = Literal["serves", "proving", "building", "waiting", "refused", "failed", "none"]


@dataclass(frozen=True)
class Standing:
    """How a model stands to its engine, and why in words."""

    state: State
    why: str
    key: str | None = None


@dataclass(frozen=True)
class Need:
    """An engine that is wanted and not there."""

    name: str
    key: str
    file: str
    sha256: str
    options: Options


@dataclass(frozen=True)
class Failures:
    """What is remembered of builds that failed: why, and when the next try may be, on the clock of `now`."""

    reasons: Mapping[str, str]
    again: Mapping[str, float]


def decide(
    needs: Sequence[Need], state: BuilderState, failures: Failures, *, now: float, room: int, may_build: bool
) -> tuple[Need | None, dict[str, Standing]]:
    """Return which one to ask for, and how the model of each need stands; one that is being built goes on."""
    chosen: Need | None = None
    standings = {}
    for need in sorted(needs, key=lambda need: need.key != state.building):
        standing = _why_not(need, state, failures, now=now, room=room, may_build=may_build)
        if standing is None:
            chosen = chosen or need
            standing = _next(need, state) if need.key == chosen.key else _later(need)
        standings[need.name] = standing
    return chosen, standings


def retry_s(failed: int) -> float:
    """Return how long to wait after so many failures."""
    return RETRY_S[min(max(failed, 1), len(RETRY_S)) - 1]


def _why_not(
    need: Need, state: BuilderState, failures: Failures, *, now: float, room: int, may_build: bool
) -> Standing | None:
    failed = state.failed.get(need.key, 0)
    said = failures.reasons.get(need.key, "")
    if state.building == need.key:
        return None
    if not may_build:
        return Standing("none", "none is built here (inference.tensorrt.build is never)", need.key)
    if failed >= MOST_TRIES:
        said = said or "the builder says why, in the log of Triton"
        return Standing("failed", f"given up after {failed} builds: {said}", need.key)
    left = failures.again.get(need.key, now) - now
    if left > 0:
        return Standing("failed", f"{said}; the next build is tried in {left:.0f} s", need.key)
    if room < 1:
        return Standing("failed", "the engines that are wanted now take all of inference.tensorrt.limit_mb", need.key)
    return None


def _later(need: Need) -> Standing:
    return Standing("waiting", "another model's engine is built first", need.key)


def _next(need: Need, state: BuilderState) -> Standing:
    if state.building != need.key:
        return Standing("waiting", "it is built when the line is quiet", need.key)
    if state.paused:
        return Standing("building", "the build is paused while parts are judged", need.key)
    return Standing("building", "it is being built; ONNX judges meanwhile", need.key)
