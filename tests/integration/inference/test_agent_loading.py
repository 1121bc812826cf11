"""Models that Edge Manager's clients load and unload, in a real Triton: every code, nothing half loaded, restarts."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
import sysv_ipc
import yaml

from lineside_bench.processes.process import clean_environment
from tests.support.agent_client import AgentClient, code_of
from tests.support.agent_service import agent_settings
from tests.support.identity_models import write_identity
from tests.support.onnx_models import scaling
from tests.support.paths import ROOT
from tests.support.triton_server import TritonServer, running_triton
from tests.support.waiting import HANG_S, block_until

Start = Callable[..., Any]
Code = grpc.StatusCode
X = np.arange(8, dtype="<f4").reshape(2, 4)
HUGE = 2**42
"""Bytes that a file can say it has, and no machine has memory for."""


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "models" / "surface-defect", repository / "surface-defect")
    write_identity(repository, "wide", {"x": ("FP32", [1, 3, 224, 224])})
    with running_triton(tmp_path_factory.mktemp("triton"), repository) as server:
        yield server


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder below which clients' models lie, each by its name."""
    folder = tmp_path_factory.mktemp("work")
    for name, factor in (("double", 2.0), ("triple", 3.0)):
        (folder / name).mkdir()
        onnx.save(scaling(factor), folder / name / "model.onnx")
    (folder / "double" / "readme.txt").write_text("Not the model's.")
    (folder / "double" / "sagemaker_edge_manifest").write_text(
        json.dumps({"metadata": {"model_name": "double", "model_version": "1.0"}})
    )
    write_identity(folder, "folder", {"x": ("FP32", [-1, 4])})
    (folder / "neo").mkdir()
    for name in ("compiled.so", "compiled.params", "compiled.meta"):
        (folder / "neo" / name).write_bytes(b"\x7fELF")
    (folder / "huge").mkdir()
    parts = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save_model(scaling(5.0, weights=40_000), folder / "huge" / "model.onnx", **parts)
    (folder / "broken").mkdir()
    model = scaling(1.0)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, folder / "broken" / "model.onnx")
    return folder


def settings(socket: Path, work: Path, **more: Any) -> dict[str, Any]:
    return agent_settings(socket, model_roots=[str(work)], **more)


@pytest.fixture(scope="module")
def service(start_shared: Start, triton: TritonServer, work: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    socket = tmp_path_factory.mktemp("agent") / "agent.sock"
    service = start_shared(
        triton={"url": triton.grpc}, model_repository=str(triton.repository), edge_manager=settings(socket, work)
    )
    block_until(socket.exists)
    service.agent = socket
    return service


@pytest.fixture(params=["2021", "2022"])
def client(request: Any, service: Any) -> Iterator[AgentClient]:
    with AgentClient(service.agent, request.param) as client:
        yield client
        for model in client.ListModels().models:
            code_of(lambda name=model.name: client.UnLoadModel(**client.named(name)))


@pytest.fixture
def newest(service: Any) -> Iterator[AgentClient]:
    with AgentClient(service.agent) as client:
        yield client
        for model in client.ListModels().models:
            code_of(lambda name=model.name: client.UnLoadModel(handle=name))


def names(client: AgentClient) -> set[str]:
    return {model.name for model in client.ListModels().models}


def test_the_sequence_of_the_samples(client: AgentClient, work: Path) -> None:
    assert code_of(lambda: client.UnLoadModel(**client.named("double")))[0] is Code.NOT_FOUND
    loaded = client.LoadModel(url=str(work / "double"), **client.named("double")).model
    assert loaded.url == str(work / "double")
    assert loaded.name == "double"
    described = client.DescribeModel(**client.named("double")).model
    assert described == loaded
    assert names(client) >= {"double", "wide", "surface-defect"}
    assert [list(tensor.shape) for tensor in described.input_tensor_metadatas] == [[-1, 4]]
    for _ in range(3):
        assert np.array_equal(client.predict("double", {"x": X})["y"], X * 2)
    code, words = code_of(lambda: client.LoadModel(url=str(work / "triple"), **client.named("double")))
    assert code is Code.ALREADY_EXISTS
    assert "6" in f"{code.value[0]} {code.value[1]}"
    assert str(work / "double") in words
    client.UnLoadModel(**client.named("double"))
    assert code_of(lambda: client.predict("double", {"x": X}))[0] is Code.NOT_FOUND
    assert "double" not in names(client)
    client.LoadModel(url=str(work / "triple"), **client.named("double"))
    assert np.array_equal(client.predict("double", {"x": X})["y"], X * 3)


def test_a_triton_folder_a_file_and_a_relative_path_load(newest: AgentClient, work: Path) -> None:
    for name, url in (("folder", work / "folder"), ("file", work / "triple" / "model.onnx"), ("near", "triple")):
        newest.LoadModel(handle=name, url=str(url))
    assert np.array_equal(newest.predict("folder", {"x": X})["x_out"], X)
    assert np.array_equal(newest.predict("near", {"x": X})["y"], X * 3)
    assert np.array_equal(newest.predict("file", {"x": X})["y"], X * 3)


@pytest.mark.parametrize(
    ("name", "url", "code", "says"),
    [
        ("m", "nowhere", Code.NOT_FOUND, "nowhere"),
        ("wide", "double", Code.ALREADY_EXISTS, "'wide'"),
        ("surface-defect", "double", Code.ALREADY_EXISTS, "line's own"),
        ("no_underscore", "double", Code.INVALID_ARGUMENT, "'no_underscore'"),
        ("-m", "double", Code.INVALID_ARGUMENT, "'-m'"),
        ("m-", "double", Code.INVALID_ARGUMENT, "'m-'"),
        ("m.1", "double", Code.INVALID_ARGUMENT, "'m.1'"),
        ("m", "/etc", Code.INVALID_ARGUMENT, "/etc"),
        ("m", "../..", Code.INVALID_ARGUMENT, "not below"),
        ("m", "s3://bucket/model", Code.INVALID_ARGUMENT, "s3://"),
        ("m", "", Code.INVALID_ARGUMENT, "url"),
        ("m", "neo", Code.FAILED_PRECONDITION, "ONNX"),
        ("m", "broken", Code.FAILED_PRECONDITION, "NoSuchOperator"),
    ],
)
def test_what_cannot_be_loaded_is_named_and_leaves_nothing(
    client: AgentClient, name: str, url: str, code: grpc.StatusCode, says: str
) -> None:
    before = names(client)
    found, words = code_of(lambda: client.LoadModel(url=url, **client.named(name)))
    assert found is code
    assert says in words
    assert names(client) == before


def test_a_model_without_room_is_refused_and_loads_when_it_fits(newest: AgentClient, work: Path) -> None:
    weights = work / "huge" / "weights.bin"
    fits, before = weights.stat().st_size, names(newest)
    os.truncate(weights, HUGE)
    code, words = code_of(lambda: newest.LoadModel(handle="huge", url="huge"))
    assert (code, words.startswith("memory-short: ")) == (Code.RESOURCE_EXHAUSTED, True), words
    assert "'huge'" in words
    assert "Set edge_manager.model_folder" in words
    assert names(newest) == before
    assert code_of(lambda: newest.predict("huge", {"x": X}))[0] is Code.NOT_FOUND
    os.truncate(weights, fits)
    newest.LoadModel(handle="huge", url="huge")
    assert np.array_equal(newest.predict("huge", {"x": X})["y"], X * 5)


def test_the_lines_own_models_are_not_unloaded(newest: AgentClient) -> None:
    for name in ("surface-defect", "wide"):
        code, words = code_of(lambda name=name: newest.UnLoadModel(handle=name))
        assert code is Code.FAILED_PRECONDITION
        assert name in words
        newest.DescribeModel(handle=name)


def test_calls_on_models_need_not_be_put_in_order_by_the_clients(newest: AgentClient, work: Path) -> None:
    """Many at once: of eight loads of one name one succeeds, and predictions on another go on meanwhile."""
    newest.LoadModel(handle="steady", url="triple")

    def load(_number: int) -> grpc.StatusCode:
        return code_of(lambda: newest.LoadModel(handle="one", url="double"))[0]

    def predict(_number: int) -> bool:
        return np.array_equal(newest.predict("steady", {"x": X})["y"], X * 3)

    with ThreadPoolExecutor(16) as pool:
        loads, predictions = pool.map(load, range(8)), pool.map(predict, range(50))
        codes = sorted(code.name for code in loads)
        assert all(predictions)
    assert codes == ["ALREADY_EXISTS"] * 7 + ["OK"]

    def cycle(number: int) -> set[str]:
        name = f"cycle-{number}"
        return {
            code_of(lambda: newest.LoadModel(handle=name, url=str(work / "double")))[0].name,
            code_of(lambda: newest.predict(name, {"x": X}))[0].name,
            code_of(lambda: newest.UnLoadModel(handle=name))[0].name,
        }

    with ThreadPoolExecutor(4) as pool:
        assert all(found == {"OK"} for found in pool.map(cycle, range(8)))


def test_models_come_back_with_triton_and_with_the_service(
    triton: TritonServer, work: Path, start_inference: Start, tmp_path: Path
) -> None:
    socket, state = tmp_path / "agent.sock", tmp_path / "state"
    more = {"triton": {"url": triton.grpc}, "model_repository": str(triton.repository), "state_dir": str(state)}
    first = start_inference(edge_manager=settings(socket, work, DbEnable="true"), **more)
    block_until(socket.exists)
    with AgentClient(socket) as client:
        client.LoadModel(handle="kept", url="double")
        client.LoadModel(handle="gone", url="triple")
        client.UnLoadModel(handle="gone")
        triton.kill()
        triton.start()
        assert np.array_equal(client.predict("kept", {"x": X})["y"], X * 2)
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(HANG_S) == 0
    assert not socket.exists()
    start_inference(edge_manager=settings(socket, work, DbEnable="true"), **more)
    block_until(socket.exists)
    with AgentClient(socket) as client:
        assert np.array_equal(client.predict("kept", {"x": X})["y"], X * 2)
        assert code_of(lambda: client.DescribeModel(handle="gone"))[0] is Code.NOT_FOUND
        client.UnLoadModel(handle="kept")
    assert json.loads((state / "agent-models.json").read_text())["models"] == {}


def test_a_second_service_at_the_socket_does_not_start(
    service: Any, triton: TritonServer, work: Path, tmp_path: Path
) -> None:
    config = tmp_path / "second.yaml"
    inference = {"triton": {"url": triton.grpc}, "model_repository": str(triton.repository), "http": {"port": 1}}
    config.write_text(yaml.safe_dump({"inference": inference, "edge_manager": settings(service.agent, work)}))
    ended = subprocess.run(
        [sys.executable, "-m", "lineside_inference", str(config)],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
        env=clean_environment(),
    )
    assert ended.returncode == 2
    assert f"already running at {service.agent}" in ended.stderr
    with AgentClient(service.agent) as client:
        assert "wide" in names(client)


def test_a_tensor_in_shared_memory_is_read_and_let_go(newest: AgentClient, work: Path) -> None:
    newest.LoadModel(handle="double", url=str(work / "double"))
    segment = sysv_ipc.SharedMemory(None, flags=sysv_ipc.IPC_CREX, mode=0o600, size=X.nbytes + 8)
    try:
        segment.write(X.tobytes(), 8)
        segment.mode = 0o400
        for size in (0, X.nbytes):
            handle = {"segment_id": segment.id, "offset": 8, "size": size}
            tensor = newest.of.Tensor(tensor_metadata=newest.metadata("x", X), shared_memory_handle=handle)
            answer = newest.Predict(handle="double", tensors=[tensor])
            assert answer.tensors[0].byte_data == (X * 2).tobytes()
            assert answer.tensors[0].WhichOneof("data") == "byte_data"
        tensor.shared_memory_handle.offset = 9
        code, words = code_of(lambda: newest.Predict(handle="double", tensors=[tensor]))
        assert code is Code.INVALID_ARGUMENT
        assert f"has {segment.size}" in words
        assert segment.number_attached == 1
    finally:
        segment.detach()
        segment.remove()
    code, words = code_of(lambda: newest.Predict(handle="double", tensors=[tensor]))
    assert code is Code.INVALID_ARGUMENT
    assert "ipc: host" in words
