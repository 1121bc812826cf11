"""The whole line while the inference service and the bus are attacked: verdicts, late parts, and the service's memory.

A PLC raises its triggers over OPC UA throughout; each attack is held up for so many parts. What the PLC saw counts.
"""

import asyncio
import os
import resource
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from report import arguments, percentiles, table, write

from lineside.bus.mqtt import MqttBus
from lineside.connections import Connection
from lineside.contract import REQUEST_TOPIC, CameraSource, Context, Request, to_json, utc_now
from lineside.settings import BusSettings
from lineside_bench import config
from lineside_bench.options import Options
from lineside_bench.parts.renderer import JpegPart, render_jpeg
from lineside_bench.reporting.records import PartRecord
from lineside_bench.runner.simulated_line import SimulatedLine

sys.path.append(str(Path(__file__).parents[1] / "tests/support"))
import hostile_rig as rig

MIB = 1024 * 1024
SEED = 5
RATE = 4.0
FLOOD = 3000
NOTHING = (200, 400, 404, 413, 422, 429, 502, 503, 504)


def attacks(line: SimulatedLine, jpeg: bytes) -> dict[str, AbstractAsyncContextManager[None]]:
    """Return every attack by its name, the quiet line first."""
    port = int(line.endpoints["inference"].rpartition(":")[2])

    def requests(count: int, method: str, path: str, body: bytes, headers: dict[str, str]) -> Callable:
        return rig.requests(count, method, path, body, headers, NOTHING)

    jpeg_type, png_type = {"content-type": "image/jpeg"}, {"content-type": "image/png"}
    slow = b"POST /v1/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{"
    by_http = {
        "nothing": rig.connections(0, b""),
        "200 slow bodies": rig.connections(200, slow),
        "1,400 silent connections": rig.connections(1400, b""),
        "heads without end": rig.connections(12, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1_600_000),
        "JPEGs of fill bytes": requests(2, "POST", rig.PATH, rig.filled_jpeg(jpeg), jpeg_type),
        "2 million numbers": requests(4, "POST", "/v1/infer", rig.numbers(2_000_000), {}),
        "260,000 numbers": requests(4, "POST", "/v1/infer", rig.numbers(260_000), {}),
        "wide 16-bit pictures": requests(8, "POST", rig.PATH, rig.wide_png(), png_type),
        "wide 12-bit pictures": requests(8, "POST", rig.PATH, rig.wide_png(significant=12), png_type),
        "a policy of 250,000 labels": requests(4, "PUT", "/v1/policy", rig.labels(250_000), {}),
        "declared tensors": requests(16, "POST", "/v2/models/unknown/infer", *rig.declaring(2**30)),
        "compressed tensors": requests(32, "POST", "/v2/models/unknown/infer", *rig.unfolding(60 * MIB)),
    }
    return {name: attack(port) for name, attack in by_http.items()} | {
        f"{FLOOD} requests of one station": flood(line, lambda _: "other"),
        f"{FLOOD} requests of as many stations": flood(line, lambda number: f"other-{number}"),
    }


@asynccontextmanager
async def flood(line: SimulatedLine, station: Callable[[int], str]) -> AsyncIterator[None]:
    """Put requests of other stations on the bus, as quickly as it takes them; their deadlines are far off."""
    port = int(line.endpoints["mqtt"].rpartition(":")[2])
    settings = BusSettings(port=port, max_backlog=FLOOD)
    async with MqttBus(settings, client="flood", connection=Connection("flood", ""), keep=False) as bus:

        async def one(number: int) -> None:
            asked = Request.new(
                model="surface-defect",
                source=CameraSource(camera="station-1"),
                context=Context(station=station(number)),
                deadline_ms=600_000,
            )
            await bus.publish(REQUEST_TOPIC, to_json(asked))

        sending = asyncio.gather(*(one(number) for number in range(FLOOD)))
        try:
            yield
        finally:
            await sending


async def feed(line: SimulatedLine, parts: list[JpegPart]) -> list[PartRecord]:
    """Bring the parts to the stations at the rate, and return what the PLC saw."""
    free: asyncio.Queue = asyncio.Queue()
    for station in line.plc.stations:
        free.put_nowait(station)
    records = []

    async def judge(station, part: JpegPart) -> None:
        record = PartRecord(part.index, part.part_id, part.label, station.name, line.options.deadline_ms, utc_now())
        records.append(record)
        line.camera.show(station.name, part)
        await station.judge(record, patience_s=10.0)
        line.camera.show(station.name, None)
        free.put_nowait(station)

    async with asyncio.TaskGroup() as judging:
        for part in parts:
            judging.create_task(judge(await free.get(), part))
            await asyncio.sleep(1 / RATE)
    return records


def peak_mib(pid: int) -> int:
    """Return the most resident memory that a process had since it was last asked, and begin anew."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) // 1024


class Contained(SimulatedLine):
    """A line whose inference service has what compose.yaml gives its container: its share of 1 GiB, and two cores."""

    def _write_settings(self) -> Path:
        path = super()._write_settings()
        document = config.yaml.safe_load(path.read_text(encoding="utf-8"))
        document["inference"]["limits"] = {"memory_bytes": 256 * MIB, "workers": 2}
        config.write_settings(path, document)
        return path


async def measure(parts_each: int) -> dict[str, dict[str, float]]:
    parts = await asyncio.to_thread(lambda: [render_jpeg(SEED, index) for index in range(parts_each)])
    jpeg = parts[0].jpeg
    rows: dict[str, dict[str, float]] = {}
    async with Contained(Options(parts=None, rate=0, stations=4, seed=SEED, deadline_ms=400)) as line:
        await feed(line, parts)
        for name, attack in attacks(line, jpeg).items():
            peak_mib(line.processes["inference"].pid)
            async with attack:
                records = await feed(line, parts)
            latencies = [record.latency_ms for record in records if record.latency_ms is not None]
            late = sum(latency > line.options.deadline_ms for latency in latencies)
            rows[name] = {
                "parts": len(records),
                "none": len(records) - len(latencies),
                "unknown": sum(record.verdict == "unknown" for record in records),
                "late": late,
                **{key: value for key, value in percentiles(latencies).items() if key in {"p50", "max"}},
                "peak MiB": peak_mib(line.processes["inference"].pid),
            }
            print(name, rows[name], flush=True)
    return rows


def main() -> None:
    given = arguments(__doc__.splitlines()[0])
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rows = asyncio.run(measure(8 if given.quick else 40))
    print(f"\nthe line at {RATE:g} parts/s, {os.cpu_count()} cores; what the PLC saw")
    table(rows, unit="during")
    write(given.json, figures={"during": rows}, ratios={})


if __name__ == "__main__":
    main()
