"""The line against one hand-written script that does it all in one process: the same PLC, camera, parts and Triton.

`lineside` keeps no evidence, as the script does; `captured` keeps the image and result of every part on the disk and
ships it meanwhile. All judge the same parts at the same rate, in turns, so that a drift of the machine's speed hits
all. Latency is the PLC's own view, from the trigger that it wrote to the verdict that it got.
"""

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from report import arguments, percentiles, table, write

from lineside.contract import utc_now
from lineside_bench.options import Options
from lineside_bench.parts.renderer import JpegPart, render_jpeg
from lineside_bench.reporting.records import PartRecord
from lineside_bench.runner.simulated_line import SimulatedLine

RATE = 20.0
SEED = 11
WARM_UP = 20
CLEAR_S = 0.1
JITTER_S = 0.02
READY_S = 30.0
SCRIPT = Path(__file__).with_name("one_process.py")
SIDES = ("lineside", "captured", "script")
CAPTURE = {"lineside": {"rate": 0, "always": []}, "captured": {"rate": 1}}


async def feed(line: SimulatedLine, parts: Sequence[JpegPart]) -> list[PartRecord]:
    """Bring the parts to the stations at the rate, open loop, and return what the PLC saw.

    Each comes up to one publishing interval late, by a seeded throw: in step with the subscription's interval the
    phase of a run would decide its figures.
    """
    jitter = random.Random(SEED)
    free: asyncio.Queue = asyncio.Queue()
    for station in line.plc.stations:
        free.put_nowait(station)
    loop = asyncio.get_running_loop()
    start = loop.time()
    records = []

    async def judge(station, part: JpegPart) -> None:
        record = PartRecord(part.index, part.part_id, part.label, station.name, line.options.deadline_ms, utc_now())
        records.append(record)
        line.camera.show(station.name, part)
        await station.judge(record, patience_s=10.0)
        line.camera.show(station.name, None)
        await asyncio.sleep(CLEAR_S)
        free.put_nowait(station)

    async with asyncio.TaskGroup() as judging:
        for number, part in enumerate(parts):
            await asyncio.sleep(max(0.0, start + number / RATE + jitter.uniform(0, JITTER_S) - loop.time()))
            judging.create_task(judge(await free.get(), part))
    return records


@asynccontextmanager
async def script(line: SimulatedLine) -> AsyncIterator[None]:
    """Run the hand-written script in place of the three services' way."""
    config = {
        "opcua": line.endpoints["opcua"],
        "triton": line.endpoints["triton_grpc"],
        "camera": line.endpoints["camera"],
        "stations": line.options.station_count,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        json.dumps(config),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(READY_S):
            if await process.stdout.readline() != b"ready\n":
                raise SystemExit("the hand-written script did not start")
        yield
    finally:
        os.kill(process.pid, signal.SIGTERM)
        await process.wait()


async def set_capture(line: SimulatedLine, capture: dict) -> None:
    """Change which evidence is kept."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.put(f"{line.endpoints['inference']}/v1/policy", json={"capture": capture})
    if answer.is_error:
        raise SystemExit(f"the policy was refused: {answer.text}")


async def measure(rounds: int, parts_a_round: int) -> tuple[dict[str, list[float]], dict[str, float], dict]:
    parts = await asyncio.to_thread(lambda: [render_jpeg(SEED, index) for index in range(WARM_UP + parts_a_round)])
    latencies: dict[str, list[float]] = {side: [] for side in SIDES}
    right: dict[str, list[bool]] = {side: [] for side in SIDES}
    captured: set[str] = set()
    async with SimulatedLine(Options(parts=None, rate=0, stations=8, seed=SEED)) as line:
        engine = await line.engine()
        bridge = line.processes["opcua-bridge"]

        async def judge_all(side: str) -> None:
            records = (await feed(line, parts))[WARM_UP:]
            lost = [record.part_id for record in records if record.latency_ms is None]
            if lost:
                raise SystemExit(f"{side}: no verdict for {', '.join(lost)}; nothing to compare")
            latencies[side] += [record.latency_ms for record in records]
            right[side] += [record.is_right for record in records]
            if side == "captured":
                captured.update(record.write_backs[0].request_id for record in records)

        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", flush=True)
            for side in SIDES[number % len(SIDES) :] + SIDES[: number % len(SIDES)]:
                if side == "script":
                    await bridge.stop()
                    async with script(line):
                        await judge_all(side)
                    await bridge.start()
                else:
                    await set_capture(line, CAPTURE[side])
                    await judge_all(side)
                    await line.evidence(*captured)
        if missing := captured - line.files.events.keys():
            raise SystemExit(f"no evidence of {len(missing)} of {len(captured)} parts; nothing to compare")
    accuracy = {side: sum(verdicts) / len(verdicts) for side, verdicts in right.items()}
    return latencies, accuracy, engine


def main() -> None:
    given = arguments(__doc__.splitlines()[0])
    rounds, parts_a_round = (1, 60) if given.quick else (3, 200)
    latencies, accuracy, engine = asyncio.run(measure(rounds, parts_a_round))
    rows = {side: percentiles(values) for side, values in latencies.items()}
    print(f"\nPLC to PLC at {RATE:g} parts/s, {len(latencies['lineside'])} parts each")
    table(rows, unit="milliseconds")
    figures = {
        "latency_ms": rows,
        "accuracy": accuracy,
        "parts": len(latencies["lineside"]),
        "rate": RATE,
        "transport": engine.get("transport"),
    }
    ratios = {f"latency_{name}": rows["script"][name] / rows["lineside"][name] for name in ("p50", "p95", "p99")}
    ratios["capture_p99"] = rows["lineside"]["p99"] / rows["captured"]["p99"]
    write(given.json, figures=figures, ratios=ratios)


if __name__ == "__main__":
    main()
