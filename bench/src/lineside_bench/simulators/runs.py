"""The runs of parts that a simulated PLC does on request: one at a time, the latest ones remembered."""

import asyncio
import uuid
from collections import OrderedDict
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from lineside_bench.options import MAX_PARTS
from lineside_bench.parts.labels import TRAINING_SEED
from lineside_bench.reporting.tally import Tally
from lineside_bench.simulators.body import RequestBody

MAX_REMEMBERED = 8


class RunRequest(RequestBody):
    """A run of parts; `seed` None is the simulator's own."""

    parts: Annotated[int, Field(ge=1, le=MAX_PARTS)]
    rate: Annotated[float, Field(gt=0)] = 10.0
    seed: Annotated[int, Field(ge=0, lt=TRAINING_SEED)] | None = None


class RunState(StrEnum):
    """Where a run stands; reporting is the wait for its evidence."""

    waiting = "waiting"
    feeding = "feeding"
    reporting = "reporting"
    over = "over"


class PartRun:
    """One run, and in the end its summary, or why there is none."""

    def __init__(self, request: RunRequest, *, seed: int) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.request = request
        self.seed = seed
        self.state = RunState.waiting
        self.tally = Tally()
        self.interrupted = asyncio.Event()
        self.summary: dict[str, Any] | None = None
        self.error: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the run as it is shown; `progress` counts its parts, with the latencies of the latest."""
        return {
            "id": self.id,
            "state": self.state.value,
            "parts": self.request.parts,
            "rate": self.request.rate,
            "seed": self.seed,
            "interrupted": self.interrupted.is_set(),
            "progress": {
                "fed": self.tally.fed,
                "judged": self.tally.judged,
                "missing": self.tally.missing,
                "verdicts": dict(self.tally.verdicts),
                "latencies_ms": [round(value, 1) for value in self.tally.latencies_ms],
            },
            "summary": self.summary,
            "error": self.error,
        }


class RunUnderWay(Exception):
    """A run is under way."""

    def __init__(self, run: PartRun) -> None:
        super().__init__(f"run {run.id} is under way, {run.tally.fed} of {run.request.parts} parts fed")
        self.run = run


class PartRuns:
    """The runs by id, oldest out; at most one is not over."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, PartRun] = OrderedDict()
        self._asked = asyncio.Event()

    def begin(self, run: PartRun) -> None:
        """Take a run; raises Busy where one is under way."""
        if self.current is not None:
            raise RunUnderWay(self.current)
        while len(self._runs) >= MAX_REMEMBERED:
            self._runs.popitem(last=False)
        self._runs[run.id] = run
        self._asked.set()

    @property
    def current(self) -> PartRun | None:
        """The run under way."""
        newest = next(reversed(self._runs.values()), None)
        return newest if newest and newest.state is not RunState.over else None

    def get(self, name: str) -> PartRun | None:
        """Return a run by its id."""
        return self._runs.get(name)

    async def asked(self) -> None:
        """Return when there is a run to do."""
        await self._asked.wait()

    def end(self, run: PartRun) -> None:
        """Say that a run is over."""
        run.state = RunState.over
        self._asked.clear()
