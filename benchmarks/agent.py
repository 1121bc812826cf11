"""Predict of 602 KB over the agent's socket, in bytes and by shared memory, against tritonclient straight to Triton.

The same model, the same tensor, the outputs read back as arrays. Each caller is a process of its own. The ways are
measured in turns of a few seconds, so that a drift of the speed hits all; all share the one machine. Beside it:
how long CaptureData takes while the bucket cannot be reached, and the service's memory after many calls.

`floor` is a gRPC server on a socket that reads the message and answers at once: what no agent in Python goes below.

    python benchmarks/agent.py --caller WAY TARGET SECONDS      one caller: waits for a line, prints its calls a second
    python benchmarks/agent.py --floor SOCKET                   that server
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import numpy as np
import sysv_ipc
import uvloop
import yaml
from inference import WIDE, process, resident_mib, triton
from report import arguments, free_ports, table, write
from tritonclient import grpc as triton_grpc

from lineside.edge_manager.protocol import agent_pb2 as pb

ROOT = Path(__file__).parents[1]
CALLERS = (1, 8)
IMAGE = np.random.default_rng(11).standard_normal((1, 3, 224, 224), np.float32)
OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.enable_http_proxy", 0))
PREDICT, CAPTURE = "/AWS.SageMaker.Edge.Agent/Predict", "/AWS.SageMaker.Edge.Agent/CaptureData"
SMALL = IMAGE[0, 0, :3, :]
"""2,688 bytes: it stands in the record itself, as most captures of the samples do."""
WAIT_S = 60.0


@contextmanager
def serving(work: Path, address: str) -> Iterator[tuple[Path, int]]:
    """Run the inference service with the agent's socket; yield that and the process id."""
    cards = work / "cards"
    cards.mkdir()
    shutil.copytree(ROOT / "models" / "surface-defect", cards / "surface-defect")
    (port,) = free_ports(1)
    target = work / "agent.sock"
    agent = {"serve": True, "UnixSocketName": str(target), "DeviceFleetName": "benchmark"}
    agent |= {"CaptureDataDestination": "Cloud", "BucketName": "sagemaker-benchmark"}
    inference = {"http": {"port": port}, "triton": {"url": address}, "model_repository": str(cards)}
    settings = {"inference": inference, "edge_manager": agent, "spool": {"folder": str(work / "spool")}}
    config = work / "inference.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    argv = [sys.executable, "-m", "lineside_inference", str(config)]
    with process(argv, work / "inference.log", f"http://127.0.0.1:{port}/readyz") as running:
        end = time.monotonic() + WAIT_S
        while not target.exists():
            if time.monotonic() > end:
                raise SystemExit(f"no socket at {target} within {WAIT_S:g} s; see {work / 'inference.log'}")
            time.sleep(0.05)
        yield target, running.pid


@contextmanager
def floor(target: Path) -> Iterator[Path]:
    """Run the server that only answers; yield its socket."""
    with subprocess.Popen([sys.executable, __file__, "--floor", str(target)], stdout=subprocess.PIPE) as running:
        running.stdout.readline()
        try:
            yield target
        finally:
            running.terminate()


async def answer_at_once(target: str) -> None:
    """Serve Predict with the outputs of nothing, until the end."""
    mean = IMAGE.mean((2, 3))
    metadata = pb.TensorMetadata(name=b"mean", data_type=pb.FLOAT32, shape=mean.shape)
    answer = pb.PredictResponse(tensors=[pb.Tensor(tensor_metadata=metadata, byte_data=mean.tobytes())])
    answered = answer.SerializeToString()

    async def predict(body: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        pb.PredictRequest.FromString(body)
        return answered

    service, _slash, call = PREDICT.removeprefix("/").partition("/")
    server = grpc.aio.server(options=OPTIONS)
    method = grpc.unary_unary_rpc_method_handler(predict)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {call: method}),))
    server.add_insecure_port(f"unix:{target}")
    await server.start()
    print("serves", flush=True)
    await server.wait_for_termination()


def straight(address: str, stack: ExitStack) -> Callable[[], np.ndarray]:
    """Return a call of tritonclient to Triton's own gRPC port."""
    client = stack.enter_context(triton_grpc.InferenceServerClient(address))

    def call() -> np.ndarray:
        given = triton_grpc.InferInput("image", list(IMAGE.shape), "FP32")
        given.set_data_from_numpy(IMAGE)
        return client.infer(WIDE, [given]).as_numpy("mean")

    return call


def over_agent(target: str, stack: ExitStack) -> Callable[[], np.ndarray]:
    """Return a call over the agent's socket, the tensor's bytes in the message."""
    ask = _method(target, stack)
    metadata = pb.TensorMetadata(name=b"image", data_type=pb.FLOAT32, shape=IMAGE.shape)

    def call() -> np.ndarray:
        tensor = pb.Tensor(tensor_metadata=metadata, byte_data=IMAGE.tobytes())
        return _mean(ask(pb.PredictRequest(handle=WIDE, tensors=[tensor])))

    return call


def by_segment(target: str, stack: ExitStack) -> Callable[[], np.ndarray]:
    """Return a call over the agent's socket, the tensor in a segment of shared memory that each call writes anew."""
    ask = _method(target, stack)
    segment = sysv_ipc.SharedMemory(None, flags=sysv_ipc.IPC_CREX, mode=0o600, size=IMAGE.nbytes)
    stack.callback(segment.remove)
    metadata = pb.TensorMetadata(name=b"image", data_type=pb.FLOAT32, shape=IMAGE.shape)
    handle = pb.SharedMemoryHandle(segment_id=segment.id)
    request = pb.PredictRequest(handle=WIDE, tensors=[pb.Tensor(tensor_metadata=metadata, shared_memory_handle=handle)])

    def call() -> np.ndarray:
        segment.write(IMAGE.data.cast("B"))
        return _mean(ask(request))

    return call


def _method(target: str, stack: ExitStack) -> Callable[[pb.PredictRequest], pb.PredictResponse]:
    channel = stack.enter_context(grpc.insecure_channel(f"unix:{target}", options=OPTIONS))
    return channel.unary_unary(PREDICT, pb.PredictRequest.SerializeToString, pb.PredictResponse.FromString)


def _mean(answer: pb.PredictResponse) -> np.ndarray:
    tensor = answer.tensors[0]
    return np.frombuffer(tensor.byte_data, np.float32).reshape(tuple(tensor.tensor_metadata.shape))


def caller(way: str, target: str, seconds: float) -> None:
    """Call until the time is over; print the calls a second and the time of each, in milliseconds."""
    with ExitStack() as stack:
        ways = {"triton": straight, "agent": over_agent, "agent_shm": by_segment, "floor": over_agent}
        call = ways[way](target, stack)
        if not np.allclose(call().ravel(), IMAGE.mean((2, 3)).ravel(), atol=1e-3):
            raise SystemExit(f"{way} answers something else")
        print("ready", flush=True)
        sys.stdin.readline()
        times, start = [], time.perf_counter()
        while (now := time.perf_counter()) < start + seconds:
            call()
            times.append(time.perf_counter() - now)
        print(len(times) / (time.perf_counter() - start), statistics.median(times) * 1000, flush=True)


def captures(target: Path, count: int, array: np.ndarray) -> float:
    """Return the 99th percentile of one caller's CaptureData, one after the other, in milliseconds."""
    times = []
    with ExitStack() as stack:
        channel = stack.enter_context(grpc.insecure_channel(f"unix:{target}", options=OPTIONS))
        ask = channel.unary_unary(CAPTURE, pb.CaptureDataRequest.SerializeToString, pb.CaptureDataResponse.FromString)
        metadata = pb.TensorMetadata(name=b"image", data_type=pb.FLOAT32, shape=array.shape)
        tensor = pb.Tensor(tensor_metadata=metadata, byte_data=array.tobytes())
        for number in range(count):
            request = pb.CaptureDataRequest(
                model_handle="surface-defect", capture_id=f"{array.nbytes}-{number}", input_tensors=[tensor]
            )
            start = time.perf_counter()
            ask(request)
            times.append(time.perf_counter() - start)
    return float(np.percentile(times, 99)) * 1000


def load(way: str, target: str, callers: int, seconds: float) -> tuple[float, float]:
    """Return the calls a second of so many callers together, and the median of their medians in milliseconds."""
    argv = [sys.executable, __file__, "--caller", way, target, str(seconds)]
    started = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(callers)]
    for one in started:
        if one.stdout.readline() != "ready\n":
            raise SystemExit(f"a caller by {way} failed")
    for one in started:
        one.stdin.write("\n")
        one.stdin.flush()
    found = [tuple(map(float, one.communicate()[0].split())) for one in started]
    return sum(rate for rate, _median in found), statistics.median(median for _rate, median in found)


def in_turns(title: str, targets: dict[str, tuple[str, str]], callers: int, *, quick: bool) -> dict[str, float]:
    """Load each target in turns, by its way and address; print the table, and return the calls a second by name."""
    seconds, rounds = (1.0, 1) if quick else (4.0, 5)
    reached: dict[str, list[tuple[float, float]]] = {name: [] for name in targets}
    for _ in range(rounds):
        for name, (way, target) in targets.items():
            reached[name].append(load(way, target, callers, seconds))
    rows = {
        name: {
            "calls/s": statistics.median(rate for rate, _ in found),
            "p50 ms": statistics.median(median for _, median in found),
        }
        for name, found in reached.items()
    }
    print(f"\n{title}", flush=True)
    table(rows, unit="")
    return {f"{name}_c{callers}": row["calls/s"] for name, row in rows.items()}


def measure(work: Path, *, quick: bool) -> tuple[dict, dict]:
    """Return figures and ratios."""
    figures: dict[str, float] = {}
    with ExitStack() as stack:
        _http, address = stack.enter_context(triton(work))
        target, pid = stack.enter_context(serving(work, address))
        nothing = stack.enter_context(floor(work / "floor.sock"))
        targets = {
            "triton": ("triton", address),
            "agent": ("agent", str(target)),
            "agent_shm": ("agent_shm", str(target)),
            "floor": ("floor", str(nothing)),
        }
        for callers in CALLERS:
            figures |= in_turns(f"Predict of 602 KB, {callers} callers", targets, callers, quick=quick)
        count = 200 if quick else 2000
        figures["capture_p99_ms"] = captures(target, count, SMALL)
        figures["capture_602kb_p99_ms"] = captures(target, count // 4, IMAGE)
        figures |= memory(pid, target, *((200, 2000) if quick else (1000, 50_000)))
    ratios = {
        f"predict{kind}_c{callers}": figures[f"agent{kind}_c{callers}"] / figures[f"triton_c{callers}"]
        for kind in ("", "_shm")
        for callers in CALLERS
    }
    ratios["resident_after"] = figures["resident_mib_after"] / figures["resident_mib_before"]
    return figures, ratios


def memory(pid: int, target: Path, few: int, many: int) -> dict[str, float]:
    """Return the service's resident memory after a few and after many calls more."""
    with ExitStack() as stack:
        call = over_agent(str(target), stack)
        for _ in range(few):
            call()
        before = resident_mib(pid)
        for _ in range(many - few):
            call()
    return {"resident_mib_before": before, "resident_mib_after": resident_mib(pid)}


def main() -> None:
    if sys.argv[1:2] == ["--floor"]:
        uvloop.run(answer_at_once(sys.argv[2]))
    if sys.argv[1:2] == ["--caller"]:
        way, target, seconds = sys.argv[2:]
        caller(way, target, float(seconds))
        return
    given = arguments(__doc__.splitlines()[0])
    with tempfile.TemporaryDirectory(prefix="lineside-benchmark-") as work:
        figures, ratios = measure(Path(work), quick=given.quick)
    print()
    write(given.json, figures=figures, ratios=ratios)


if __name__ == "__main__":
    main()
