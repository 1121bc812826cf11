"""Whose verdict it is on servers of four makers, where the PLC sets what belongs to a part and raises its trigger.

open62541 (o6) stamps a value when it is read, the others when it is written. At each gap between the two writes as many
parts as TESTS_PARTS says.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lineside_bench.checkout import find_root
from lineside_bench.plcs.environment import Stack
from lineside_bench.plcs.plc import StackPlc
from lineside_bench.plcs.station import NAMESPACE
from tests.support.variables import PARTS

GAPS_MS = (0.0, 5.0, 30.0, 60.0)
LOW_S = 0.12
"""For how long the PLC keeps its trigger low, as the agreement has it: longer than from one sample to the next."""
BESIDE = {"Wanted": ("Boolean", False), "Number": ("Int32", 0)}


def trigger(number: int, **changes: Any) -> dict[str, Any]:
    node = f"nsu={NAMESPACE};s=Station{number}"
    return {
        "name": f"station-{number}",
        "when": {"kind": "edge", "node": f"{node}.PartPresent"},
        "only_if": [{"node": f"{node}.Wanted", "equals": True}],
        "station": f"station-{number}",
        "model": "surface-defect",
        "source": {"kind": "camera", "camera": f"station-{number}"},
        "deadline_ms": 30_000,
        "sample": {"part_id": f"{node}.PartId", "number": f"{node}.Number"},
        "write_back": {
            "verdict": f"{node}.Verdict",
            "confidence": f"{node}.Confidence",
            "request_id": f"{node}.RequestId",
            "part_id": f"{node}.JudgedId",
            "done": f"{node}.Done",
        },
    } | changes


@asynccontextmanager
async def answered(line: Any) -> AsyncIterator[None]:
    """Answer every request as soon as it is there."""

    async def answer() -> None:
        number = 0
        while True:
            number += 1
            while len(line.requests()) < number:
                await asyncio.sleep(0.002)
            await line.answer(line.requests()[number - 1], "pass")

    task = asyncio.create_task(answer())
    try:
        yield
    finally:
        task.cancel()


class Station:
    """A station of the PLC that shows one part after the other, every fourth of them unwanted."""

    def __init__(self, plc: StackPlc, line: Any, number: int, gap_ms: float) -> None:
        self._plc = plc
        self._line = line
        self._at = f"Station{number}"
        self._name = f"station-{number}"
        self._gap_ms = gap_ms

    async def show(self, number: int, until: Any) -> None:
        at, done = self._at, self._plc.program.writes[f"{self._at}.Done"]
        wanted = number % 4 != 3
        before = len(done)
        held = self._line.metric("triggers_total", trigger=self._name, kind="condition")
        beside = ((f"{at}.Done", False), (f"{at}.Wanted", wanted), (f"{at}.Number", number))
        raised = (f"{at}.PartPresent", True)
        if self._gap_ms:
            await self._plc.write(*beside, (f"{at}.PartId", f"{at}-{number}"))
            await asyncio.sleep(self._gap_ms / 1000)
            await self._plc.write(raised)
        else:
            await self._plc.write(*beside, (f"{at}.PartId", f"{at}-{number}"), raised)

        def raised_since() -> list[Any]:
            return [write for write in list(done)[before:] if write.value]

        if wanted:
            (first, *_) = await until(raised_since)
            assert first.beside[f"{at}.JudgedId"] == f"{at}-{number}"
        else:
            await until(
                lambda: (
                    self._line.metric("triggers_total", trigger=self._name, kind="condition") > held or raised_since()
                )
            )
            assert not raised_since(), "the condition of the part before was taken"
        await self._plc.write((f"{at}.PartPresent", False))
        await asyncio.sleep(LOW_S)


@pytest.mark.parametrize("stack", Stack)
async def test_every_part_gets_its_own_verdict_whatever_the_server_stamps(
    stack: Stack, line_of: Any, configure: Any, wait_until: Any, tmp_path: Path
) -> None:
    plc = StackPlc(stack, root=find_root(), stations=len(GAPS_MS), beside=BESIDE, log=tmp_path / "plc.log")
    async with plc:
        triggers = [trigger(number + 1) for number in range(len(GAPS_MS))]
        where = SimpleNamespace(endpoint=plc.url)
        async with line_of(configure(where, *triggers, publishing_interval_ms=20)) as line, answered(line):
            await line.ready()
            stations = [Station(plc, line, number + 1, gap) for number, gap in enumerate(GAPS_MS)]

            async def run(station: Station) -> None:
                for number in range(PARTS):
                    await station.show(number, wait_until)

            await asyncio.gather(*map(run, stations))
            asked = [(request.context.part_id, request.context.tags["number"]) for request in line.requests()]
            wanted = [
                (f"Station{place + 1}-{number}", number)
                for place in range(len(GAPS_MS))
                for number in range(PARTS)
                if number % 4 != 3
            ]
            assert sorted(asked) == sorted(wanted)
