"""From a signed package on the disk to a model that Triton serves, against Triton's own load of the same folder.

Ours is what a model's component starts, `python -m lineside_inference.deploying install`: that process verifies the
signature, hashes and unpacks the package in one reading, compares the card, and puts the folder into the repository;
then Triton loads it. Triton's own is that load alone, of a folder that lies there already and that nobody verified.
Both end when Triton says that the model serves; what the inference service does after that (its own hash of the files,
the warm-up, the switch) is the same for both and in neither. In turns, package and folder in the page cache.

The memory is that of `python -m lineside.packages`, which the inference service starts for a client's package: the peak
of the resident memory of the whole process (ru_maxrss), its interpreter and libraries too, above nothing; the service
that asks does not grow. Beside it the same for a package of a few kilobytes, which is what the process costs idle.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import yaml
from inference import process, triton_ports
from onnx import TensorProto, helper, numpy_helper
from onnx import save as save_onnx
from report import arguments, table, write
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from lineside.packages import make_key, pack, sign
from lineside_bench.peers.triton import clean_shared_memory, launch

ROOT = Path(__file__).parents[1]
SIZES_MB = (20, 200, 1000)
HEADLINE_MB = 1000
ROUNDS = 5
LARGE = 2_000_000_000
MIB = 1024 * 1024
LAYERS = 8
CONFIG = """backend: "onnxruntime"
max_batch_size: 0
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1, WIDTH ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ -1, WIDTH ] } ]
instance_group [ { count: 1 } ]
"""
PEAK = """import json, os, subprocess, sys
running = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
answer = json.loads(running.stdout.read())
print(json.dumps([os.wait4(running.pid, 0)[2].ru_maxrss, answer]))
"""
"""A small process between: a child's peak counts what its parent had when it was forked."""
CARD = {
    "schema": "lineside/card/1",
    "description": "Layers of random weights.",
    "task": "raw",
    "output": {"name": "y", "head": "raw"},
    "licence": "Apache-2.0",
}


def make_model(folder: Path, megabytes: int) -> int:
    """Make a model's folder of dense layers with random weights of so many megabytes; return its width."""
    width = int((megabytes * 1e6 / 4 / LAYERS) ** 0.5)
    rng = np.random.default_rng(7)
    weights = [rng.standard_normal((width, width), np.float32) for _ in range(LAYERS)]
    nodes = [helper.make_node("MatMul", ["x" if n == 0 else f"h{n}", f"w{n}"], [f"m{n}"]) for n in range(LAYERS)]
    nodes += [helper.make_node("Relu", [f"m{n}"], ["y" if n == LAYERS - 1 else f"h{n + 1}"]) for n in range(LAYERS)]
    nodes = [node for pair in zip(nodes[:LAYERS], nodes[LAYERS:], strict=True) for node in pair]
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", width])],
        [numpy_helper.from_array(each, f"w{n}") for n, each in enumerate(weights)],
    )
    (folder / "1").mkdir(parents=True)
    save_onnx(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10),
        folder / "1/model.onnx",
    )
    (folder / "config.pbtxt").write_text(CONFIG.replace("WIDTH", str(width)))
    return width


def write_card(folder: Path, width: int) -> None:
    """Write the card of a model's folder, with the SHA-256 of what is in it."""
    import hashlib  # noqa: PLC0415 - here alone

    with (folder / "1/model.onnx").open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    card = CARD | {
        "name": folder.name,
        "version": "1",
        "files": [{"path": "1/model.onnx", "sha256": sha256}],
    }
    card["input"] = {
        "name": "x",
        "kind": "tensor",
        "datatype": "FP32",
        "shape": [width],
    }
    (folder / "card.yaml").write_text(yaml.safe_dump(card))


@contextmanager
def triton(work: Path, repository: Path) -> Iterator[service_pb2_grpc.GRPCInferenceServiceStub]:
    """Run the CPU Triton, which loads nothing by itself; yield its stub."""
    ports = triton_ports()
    (work / "triton").mkdir()
    start = launch(ROOT / ".venv-triton", repository=repository, work=work / "triton", **ports)
    try:
        url = f"http://127.0.0.1:{ports['http_port']}"
        with (
            process(start.argv, work / "triton.log", f"{url}/v2/health/ready", env=start.env),
            grpc.insecure_channel(f"127.0.0.1:{ports['grpc_port']}") as channel,
        ):
            yield service_pb2_grpc.GRPCInferenceServiceStub(channel)
    finally:
        clean_shared_memory(start.shm_prefix)


def load(stub: service_pb2_grpc.GRPCInferenceServiceStub, name: str) -> None:
    """Have Triton load a model; return when it serves."""
    stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=name), timeout=300)
    while not stub.ModelReady(pb.ModelReadyRequest(name=name), timeout=60).ready:
        time.sleep(0.005)


def unload(stub: service_pb2_grpc.GRPCInferenceServiceStub, name: str) -> None:
    """Have Triton let it go."""
    stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=name), timeout=300)
    while stub.ModelReady(pb.ModelReadyRequest(name=name), timeout=60).ready:
        time.sleep(0.005)


def measure_size(
    work: Path,
    repository: Path,
    stub: service_pb2_grpc.GRPCInferenceServiceStub,
    megabytes: int,
    rounds: int,
) -> dict[str, float]:
    """Return the medians in milliseconds of one size."""
    name, theirs = f"ours-{megabytes}", f"theirs-{megabytes}"
    source = work / "source" / name
    width = make_model(source, megabytes)
    write_card(source, width)
    archive = pack(source, work).archive
    sign(archive, key=work / "team.key")
    shutil.copytree(source, repository / theirs)
    config = repository / theirs / "config.pbtxt"
    config.write_text(f'name: "{theirs}"\n{config.read_text()}')
    installed = [
        sys.executable,
        "-m",
        "lineside_inference.deploying",
        "--repository",
        str(repository),
        "install",
    ]
    installed += [str(archive), "--roots", str(work / "roots")]
    own, put, all_of_it = [], [], []
    for turn in range(rounds + 1):
        began = time.perf_counter()
        load(stub, theirs)
        loaded = time.perf_counter() - began
        unload(stub, theirs)
        began = time.perf_counter()
        subprocess.run(installed, check=True, capture_output=True)
        middle = time.perf_counter() - began
        load(stub, name)
        whole = time.perf_counter() - began
        unload(stub, name)
        shutil.rmtree(repository / name)
        if turn:  # the first fills the page cache
            own.append(loaded)
            put.append(middle)
            all_of_it.append(whole)
    for folder in (repository / theirs, source):
        shutil.rmtree(folder)
    archive.unlink()
    median = {"triton": own, "installed": put, "serving": all_of_it}
    figures = {key: statistics.median(values) * 1000 for key, values in median.items()}
    return figures | {"ratio": figures["triton"] / figures["serving"]}


def measure_memory(work: Path, size: int) -> dict[str, float]:
    """Return the peak of the process that verifies and unpacks, for a large package and for a small one, in MiB."""
    figures = {}
    for key, length in (("idle", 4096), ("large", size)):
        folder = work / key / "large"
        (folder / "1").mkdir(parents=True)
        piece = os.urandom(16 * MIB)
        with (folder / "1/model.onnx").open("wb") as file:
            for start in range(0, length, len(piece)):
                file.write(piece[: min(len(piece), length - start)])
        (folder / "config.pbtxt").write_text('backend: "onnxruntime"\n')
        write_card(folder, 1)
        archive = pack(folder, work / key).archive
        shutil.rmtree(folder)
        sign(archive, key=work / "team.key")
        argv = [
            sys.executable,
            "-m",
            "lineside.packages",
            str(archive),
            str(work / key / "into"),
        ]
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-S", "-c", PEAK, *argv, "--roots", str(work / "roots")],
            check=True,
            capture_output=True,
        )
        peak, answer = json.loads(done.stdout)
        if "signer" not in answer:
            raise SystemExit(f"the package was refused: {answer}")
        figures[f"{key}_peak_mib"] = peak / 1024
        figures[f"{key}_s"] = time.perf_counter() - began
        shutil.rmtree(work / key)
    return figures | {"above_idle_mib": figures["large_peak_mib"] - figures["idle_peak_mib"]}


def main() -> None:
    """Measure, print, and write."""
    given = arguments(__doc__ or "")
    sizes = SIZES_MB[:2] if given.quick else SIZES_MB
    with tempfile.TemporaryDirectory(prefix="lineside-benchmark-") as folder:
        work, repository = Path(folder), Path(folder) / "repository"
        repository.mkdir()
        public = make_key(work / "team.key")
        (work / "roots").mkdir(mode=0o755)
        shutil.copy(public, work / "roots")
        with triton(work, repository) as stub:
            rounds = 3 if given.quick else ROUNDS
            rows = {f"{size} MB": measure_size(work, repository, stub, size, rounds) for size in sizes}
        large = LARGE // 10 if given.quick else LARGE
        memory = measure_memory(work, large)
    table(rows, unit="ms")
    print(f"verifying and unpacking {large / 1e9:g} GB: {memory['large_s']:.1f} s, at its peak the whole process had")
    print(f"{memory['large_peak_mib']:.1f} MiB, {memory['above_idle_mib']:.1f} MiB more than with a few kilobytes")
    largest = f"{sizes[-1]} MB"
    ratios = {"verified_load": rows[largest]["ratio"]}
    ratios |= {f"verified_load_{size}_mb": rows[f"{size} MB"]["ratio"] for size in sizes}
    write(
        given.json,
        figures={"load_ms": rows, "headline": largest, "memory": memory},
        ratios=ratios,
    )


if __name__ == "__main__":
    main()
