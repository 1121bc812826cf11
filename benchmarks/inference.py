"""The inference service against its alternatives: by hand, Triton's own HTTP port, MLServer; its memory; its latency.

Each comparison is measured in turns of a few seconds, so that a drift of the machine's speed hits both sides; all share
the one machine, the load's own client included.
"""

import asyncio
import base64
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import by_hand
import cv2
import v2_load
import yaml
from image_load import Caller, closed_loop, open_loop, post
from onnx import TensorProto, helper
from report import arguments, free_ports, table, write

from lineside_bench.parts.part import make_part
from lineside_bench.peers.triton import clean_shared_memory, launch

ROOT = Path(__file__).parents[1]
SEED = 11
IMAGES = 24
WIDTH, HEIGHT = 1280, 960
JUDGE = "/v1/models/surface-defect/predict"
WIDE = "wide"
"""The model of the v2 comparison: 602 KB in, 12 bytes out."""
RATE = 50.0
FIRST_REQUESTS = 1000
READY_S = 60.0


def jpegs() -> list[bytes]:
    """Return JPEGs of 1280 x 960, as a camera of a line gives them."""
    made = []
    for index in range(IMAGES):
        image = cv2.resize(make_part(SEED, index).image, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        made.append(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return made


@contextmanager
def process(argv: Sequence[str], log: Path, ready: str, **options: object) -> Iterator[subprocess.Popen]:
    """Run a process until it is no longer needed; `ready` is the address that answers 200 once it is there."""
    with log.open("wb") as written:
        running = subprocess.Popen(argv, stdout=written, stderr=written, **options)
    try:
        wait_for(ready, running, log)
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(10)


def wait_for(url: str, running: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and running.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own, on loopback
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError, http.client.HTTPException):
            pass
        time.sleep(0.05)
    raise SystemExit(f"{url} is not ready:\n{log.read_text(errors='replace')[-3000:]}")


def repository(folder: Path) -> Path:
    """Return a model repository of the surface model and of one that takes 602 KB and answers 12 bytes."""
    shutil.copytree(ROOT / "models" / "surface-defect", folder / "surface-defect")
    wide = folder / WIDE
    (wide / "1").mkdir(parents=True)
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["image"], ["mean"])],
        WIDE,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 224, 224])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["n", 3, 1, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (wide / "1" / "model.onnx").write_bytes(model.SerializeToString())
    (wide / "config.pbtxt").write_text(
        f'name: "{WIDE}"\nbackend: "onnxruntime"\nmax_batch_size: 8\ndynamic_batching {{ }}\n'
        'input [ { name: "image" data_type: TYPE_FP32 dims: [ 3, 224, 224 ] } ]\n'
        'output [ { name: "mean" data_type: TYPE_FP32 dims: [ 3, 1, 1 ] } ]\n',
        encoding="utf-8",
    )
    return folder


def triton_ports() -> dict[str, int]:
    """Return free ports for a Triton, HTTP's before gRPC's as by default: there the service finds it."""
    while True:
        grpc, metrics = free_ports(2)
        with suppress(OSError), socket.create_server(("127.0.0.1", grpc - 1)):
            return {"http_port": grpc - 1, "grpc_port": grpc, "metrics_port": metrics}


@contextmanager
def triton(work: Path) -> Iterator[tuple[str, str]]:
    """Run the CPU Triton; yield the addresses of HTTP and gRPC."""
    ports = triton_ports()
    (work / "triton").mkdir()
    models = repository(work / "models")
    start = launch(ROOT / ".venv-triton", repository=models, work=work / "triton", **ports)
    try:
        url = f"http://127.0.0.1:{ports['http_port']}"
        with process(start.argv, work / "triton.log", f"{url}/v2/health/ready", env=start.env):
            yield url, f"127.0.0.1:{ports['grpc_port']}"
    finally:
        clean_shared_memory(start.shm_prefix)


@contextmanager
def ours(work: Path, grpc: str) -> Iterator[tuple[str, int]]:
    """Run the inference service by its defaults, the load's shared memory allowed; yield address and process id."""
    cards = work / "cards"  # the v2 model has no card: it is called by the protocol alone
    if not cards.exists():
        cards.mkdir()
        shutil.copytree(ROOT / "models" / "surface-defect", cards / "surface-defect")
    (port,) = free_ports(1)
    settings = {
        "http": {"port": port},
        "triton": {"url": grpc},
        "model_repository": str(cards),
        "limits": {"client_shared_memory_prefixes": [v2_load.PREFIX]},
    }
    config = work / f"inference-{port}.yaml"
    config.write_text(yaml.safe_dump({"inference": settings}), encoding="utf-8")
    url = f"http://127.0.0.1:{port}"
    argv = [sys.executable, "-m", "lineside_inference", str(config)]
    with process(argv, work / "inference.log", f"{url}/readyz") as running:
        yield url, running.pid


@contextmanager
def mlserver(work: Path) -> Iterator[str]:
    """Run MLServer with the same model in its own environment; yield its address."""
    folder = work / "mlserver"
    folder.mkdir()
    ports = dict(zip(("http_port", "grpc_port", "metrics_port"), free_ports(3), strict=True))
    shutil.copy(ROOT / "benchmarks" / "mlserver_runtime.py", folder)
    model = str(ROOT / "models" / "surface-defect" / "1" / "model.onnx")
    (folder / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "debug": False, **ports}), encoding="utf-8")
    (folder / "model-settings.json").write_text(
        json.dumps(
            {
                "name": "surface-defect",
                "implementation": "mlserver_runtime.SurfaceDefect",
                "parameters": {"uri": model, "version": "1"},
            }
        ),
        encoding="utf-8",
    )
    url = f"http://127.0.0.1:{ports['http_port']}"
    venv = ROOT / ".venv-mlserver"
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    argv = [str(venv / "bin" / "mlserver"), "start", str(folder)]
    ready = f"{url}/v2/models/surface-defect/ready"
    with process(argv, work / "mlserver.log", ready, cwd=folder, env=environment | {"PYTHONPATH": str(folder)}):
        yield url


def v2_request(url: str, jpeg: bytes) -> bytes:
    data = base64.b64encode(jpeg).decode()
    body = {"inputs": [{"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": [data]}]}
    return post(f"{url}/v2/models/surface-defect/infer", json.dumps(body).encode(), "application/json")


def is_verdict(body: bytes) -> bool:
    return b'"status":"ok"' in body


async def in_turns(rounds: int, *sides: Callable[[], Awaitable[float]]) -> tuple[list[float], float]:
    """Measure every side once a round; return each side's median, and the median of the rounds' ratios.

    A round's ratio is of the first side, ours, to the best of the others: what else the machine did in that round fell
    on all of them.
    """
    measured: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for side, values in zip(sides, measured, strict=True):
            values.append(await side())
    ratios = [mine / max(others) for mine, *others in zip(*measured, strict=True)]
    return [statistics.median(values) for values in measured], statistics.median(ratios)


class Run:
    """One run of all the comparisons; `figures` and `ratios` fill up."""

    def __init__(self, *, quick: bool, work: Path) -> None:
        self.seconds, self.rounds = (2.0, 1) if quick else (3.0, 7)
        self.requests = 5000 if quick else 100_000
        self.open_s = 10.0 if quick else 60.0
        self.work = work
        self.jpegs = jpegs()
        self.figures: dict[str, object] = {}
        self.ratios: dict[str, float] = {}

    def rate_of(self, url: str, requests: Sequence[bytes], check: Callable[[bytes], bool], concurrency: int):
        async def measure() -> float:
            done, took = await closed_loop(url, requests, check, concurrency=concurrency, seconds=self.seconds)
            return done / took

        return measure

    async def images(self, url: str, grpc: str) -> None:
        """(a) JPEG to verdict, ours against by hand, which counts by the quicker of its two ways."""
        asked = [post(url + JUDGE, jpeg, "image/jpeg") for jpeg in self.jpegs]
        rows = {}
        for concurrency in (1, 8):
            threads, loop = by_hand.Threads(grpc, concurrency), by_hand.Loop(grpc, concurrency)
            sides = (
                self.rate_of(url, asked, is_verdict, concurrency),
                lambda threads=threads: threads.rate(self.jpegs, self.seconds),
                lambda loop=loop: loop.rate(self.jpegs, self.seconds),
            )
            (mine, in_threads, in_loop), ratio = await in_turns(self.rounds, *sides)
            await threads.close()
            await loop.close()
            rows[f"c{concurrency}"] = {"ours": mine, "threads": in_threads, "loop": in_loop}
            self.ratios[f"image_c{concurrency}"] = ratio
        self.show("image_per_s", f"JPEG {WIDTH} x {HEIGHT} to verdict, by hand in threads and in one loop", rows)

    async def tensors(self, url: str, direct: str) -> None:
        """(b) A 602 KB tensor by the v2 protocol, ours against Triton's own HTTP port: in binary, and in shared memory.

        `v2_shm_of_binary` is ours in shared memory against Triton's in binary: what a client gains that changes both.
        """
        rows: dict[str, dict[str, float]] = {}
        for concurrency in (1, 4):
            binary = self.tensors_at(direct, concurrency, shared=False)
            mine, shared = (self.tensors_at(url, concurrency, shared=shared) for shared in (False, True))
            (ours, theirs), ratio = await in_turns(self.rounds, mine, binary)
            rows[f"c{concurrency}"] = {"ours": ours, "triton": theirs}
            self.ratios[f"v2_c{concurrency}"] = ratio
            (ours, theirs), ratio = await in_turns(
                self.rounds, shared, self.tensors_at(direct, concurrency, shared=True)
            )
            rows[f"c{concurrency}, shared memory"] = {"ours": ours, "triton": theirs}
            self.ratios[f"v2_shm_c{concurrency}"] = ratio
            _both, self.figures[f"v2_shm_of_binary_c{concurrency}"] = await in_turns(self.rounds, shared, binary)
        self.show("v2_per_s", "602 KB tensor by the v2 protocol", rows)

    def tensors_at(self, url: str, concurrency: int, *, shared: bool) -> Callable[[], Awaitable[float]]:
        return lambda: v2_load.run(url, WIDE, concurrency, self.seconds, shared=shared)

    async def others(self, url: str) -> None:
        """(c) The image job against MLServer."""
        if not (ROOT / ".venv-mlserver").exists():
            print("no .venv-mlserver: MLServer is left out")
            return
        asked = [post(url + JUDGE, jpeg, "image/jpeg") for jpeg in self.jpegs]
        with mlserver(self.work) as other:
            its_asked = [v2_request(other, jpeg) for jpeg in self.jpegs]
            sides = (
                self.rate_of(url, asked, is_verdict, 8),
                self.rate_of(other, its_asked, lambda body: b'"verdict"' in body, 8),
            )
            (mine, its), ratio = await in_turns(self.rounds, *sides)
        self.ratios["mlserver_c8"] = ratio
        self.show("mlserver_per_s", "The same image job, 8 callers", {"c8": {"ours": mine, "mlserver": its}})

    async def memory(self, url: str, pid: int) -> None:
        """(d) Resident memory after many requests against that after the first thousand, in a fresh process."""
        asked = [post(url + JUDGE, jpeg, "image/jpeg") for jpeg in self.jpegs]
        await closed_loop(url, asked, is_verdict, concurrency=8, count=FIRST_REQUESTS)
        first = resident_mib(pid)
        await closed_loop(url, asked, is_verdict, concurrency=8, count=self.requests - FIRST_REQUESTS)
        last = resident_mib(pid)
        growth = last / first - 1
        self.figures |= {"rss_growth": growth, "rss_mib": {str(FIRST_REQUESTS): first, str(self.requests): last}}
        print(f"\nresident: {first:.1f} MiB after {FIRST_REQUESTS}, {last:.1f} after {self.requests}: {growth:+.1%}")

    async def latency(self, url: str, grpc: str) -> None:
        """(e) What we add at an open loop, from the intended time of each request."""
        asked = [post(url + JUDGE, jpeg, "image/jpeg") for jpeg in self.jpegs]
        free: asyncio.Queue[Caller] = asyncio.Queue()
        for _ in range(16):
            free.put_nowait(await Caller.to(url))

        async def ask_ours(number: int) -> None:
            caller = await free.get()
            try:
                if not is_verdict(await caller.ask(asked[number % len(asked)])):
                    raise SystemExit("not a verdict")
            finally:
                free.put_nowait(caller)

        threads = by_hand.Threads(grpc, 16)

        async def ask_direct(number: int) -> None:
            await threads.ask(self.jpegs[number % len(self.jpegs)])

        warm = {"rate": RATE, "seconds": 1.0}
        await open_loop(ask_ours, **warm)
        await open_loop(ask_direct, **warm)
        mine = tail(await open_loop(ask_ours, rate=RATE, seconds=self.open_s))
        direct = tail(await open_loop(ask_direct, rate=RATE, seconds=self.open_s))
        await threads.close()
        while not free.empty():
            await free.get_nowait().close()
        added = {name: mine[name] - direct[name] for name in mine}
        self.figures["added_ms"] = added
        self.show(
            "latency_ms", f"Open loop of {RATE:g} requests/s, ms", {"ours": mine, "by hand": direct, "added": added}
        )

    def show(self, name: str, title: str, rows: dict[str, dict[str, float]]) -> None:
        self.figures[name] = rows
        print(f"\n{title}", flush=True)
        table(rows, unit="")


def tail(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        name: ordered[min(len(ordered) - 1, int(share * len(ordered)))]
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
    }


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024


async def measure(run: Run) -> None:
    with ExitStack() as stack:
        direct, grpc = stack.enter_context(triton(run.work))
        with ours(run.work, grpc) as (url, _pid):
            await run.images(url, grpc)
            await run.tensors(url, direct)
            await run.others(url)
            await run.latency(url, grpc)
        with ours(run.work, grpc) as (url, pid):
            await run.memory(url, pid)


def main() -> None:
    given = arguments(__doc__.splitlines()[0])
    with tempfile.TemporaryDirectory(prefix="lineside-benchmark-") as work:
        run = Run(quick=given.quick, work=Path(work))
        asyncio.run(measure(run))
    print()
    write(given.json, figures=run.figures, ratios=run.ratios)


if __name__ == "__main__":
    main()
