"""The line over Greengrass IPC against the same line over mosquitto, and deployments of it as components.

Both lines stand side by side and judge the same parts at 20 a second in turns, so that a drift of the machine's speed
hits both; who begins changes from round to round. Latency is the PLC's own view, from the trigger that it wrote to the
verdict that it got; what the first parts of each turn take is not counted. The nucleus is the bench's, one process in
Python, as mosquitto is one in C: `cpu_ms` says what either takes of a processor for one part, and what a device's own
nucleus would take instead is not known.

The deployments are the recipes', carried out by the bench's core device on the local Docker Engine
(greengrass_deployments.py).
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from greengrass_deployments import measured
from line import RATE, SEED, WARM_UP, feed
from report import arguments, percentiles, table, write

from lineside_bench.options import Options
from lineside_bench.parts.renderer import JpegPart, render_jpeg
from lineside_bench.peers.broker import BrokerKind, BusKind
from lineside_bench.reporting.records import PartRecord
from lineside_bench.reporting.report import RunFacts, has_faults, summarise
from lineside_bench.runner.simulated_line import SimulatedLine

LINES = {
    "ipc": Options(parts=None, rate=0, stations=8, seed=SEED, bus=BusKind.ipc),
    "mosquitto": Options(parts=None, rate=0, stations=8, seed=SEED, broker=BrokerKind.mosquitto),
}
BUS_PROCESS = {"ipc": "nucleus", "mosquitto": "broker"}
OURS = ("topic-bridge", "opcua-bridge")
"""The services that use the bus."""


def cpu_s(pid: int) -> float:
    """Return the processor time that a process took so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Side:
    """One of the two lines, and what it took so far."""

    def __init__(self, name: str, line: SimulatedLine) -> None:
        self.name = name
        self.line = line
        self.records: list[PartRecord] = []
        self.cpu_s = dict.fromkeys((BUS_PROCESS[name], *OURS), 0.0)
        self.fed = 0

    async def turn(self, parts: Sequence[JpegPart]) -> None:
        """Judge the parts; the first of them warm the line up."""
        before = self._cpu_s()
        self.records += (await feed(self.line, parts))[WARM_UP:]
        self.fed += len(parts)
        for name, used in self._cpu_s().items():
            self.cpu_s[name] += used - before[name]

    def summary(self) -> dict:
        """Return the figures of all parts that count; ends the run where the line did not judge them all well."""
        facts = RunFacts(rate=RATE, seed=SEED, stations=self.line.options.station_count, ready_s=None, evidence=None)
        found = summarise(self.records, self.line.observer.exchanges(), facts)
        if has_faults(found):
            raise SystemExit(f"{self.name}: {found['problems'][:3]}; nothing to compare")
        return found

    def _cpu_s(self) -> dict[str, float]:
        pids = {name: self.line.processes[name].pid for name in self.cpu_s}
        return {name: cpu_s(pid) for name, pid in pids.items() if pid is not None}


async def compare(rounds: int, parts_a_round: int) -> list[Side]:
    """Judge the same parts by both lines in turns."""
    parts = await asyncio.to_thread(lambda: [render_jpeg(SEED, index) for index in range(WARM_UP + parts_a_round)])
    async with AsyncExitStack() as life:
        sides = [Side(name, await life.enter_async_context(SimulatedLine(of_it))) for name, of_it in LINES.items()]
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", flush=True)
            for side in sides if number % 2 == 0 else reversed(sides):
                await side.turn(parts)
                await side.line.observer.settled(5.0)
        return sides


def compared(sides: Sequence[Side]) -> tuple[dict[str, object], dict[str, float]]:
    """Print and return figures and ratios of the two lines."""
    summaries = {side.name: side.summary() for side in sides}
    rows = {side.name: percentiles([record.latency_ms for record in side.records]) for side in sides}
    print(f"\nPLC to PLC at {RATE:g} parts/s, {len(sides[0].records)} parts each")
    table(rows, unit="milliseconds")
    stages = {f"{name} {rank}": row for name in rows for rank, row in _stages(summaries[name]["stages_ms"]).items()}
    table(stages, unit="of them, by stage")
    cpu = {side.name: _a_part(side) for side in sides}
    table(cpu, unit="CPU ms a part")
    figures = {
        "latency_ms": rows,
        "stages_ms": {name: summaries[name]["stages_ms"] for name in rows},
        "cpu_ms": cpu,
        "parts": len(sides[0].records),
        "rate": RATE,
    }
    ratios = {f"ipc_latency_{rank}": rows["mosquitto"][rank] / rows["ipc"][rank] for rank in ("p50", "p95", "p99")}
    return figures, ratios


def _stages(stages: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {rank: {stage: each[rank] for stage, each in stages.items()} for rank in ("p50", "p99")}


def _a_part(side: Side) -> dict[str, float]:
    used = {name: 1000 * seconds / side.fed for name, seconds in side.cpu_s.items()}
    return {"bus": used.pop(BUS_PROCESS[side.name]), **used}


def main() -> None:
    given = arguments(__doc__.splitlines()[0])
    rounds, parts_a_round = (2, 60) if given.quick else (6, 200)
    figures, ratios = compared(asyncio.run(compare(rounds, parts_a_round)))
    deployments = measured(quick=given.quick)
    write(given.json, figures={**figures, **deployments}, ratios=ratios)


if __name__ == "__main__":
    main()
