"""Models of clients that go to a real Triton by a folder that both have: copies, whole or not there."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import psutil
import pytest

from tests.support.agent_client import AgentClient, code_of
from tests.support.agent_service import agent_settings
from tests.support.identity_models import write_identity
from tests.support.onnx_models import scaling
from tests.support.triton_server import TritonServer
from tests.support.variables import LONG
from tests.support.waiting import block_until

Start = Callable[..., Any]
Code = grpc.StatusCode
X = np.arange(8, dtype="<f4").reshape(2, 4)
MIB = 1024 * 1024
CYCLES = 50 if LONG else 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("client-models")


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("repository")
    write_identity(repository, "wide", {"x": ("FP32", [-1, 4])})
    (repository / "later").mkdir()
    shutil.copy(repository / "wide" / "config.pbtxt", repository / "wide" / "card.yaml")  # out: no card
    server = TritonServer(
        tmp_path_factory.mktemp("triton"), repository, others=[folder, tmp_path_factory.mktemp("of-another-service")]
    )
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


def write_works(folder: Path) -> None:
    """Make what clients name: two models, a broken one, one whose weights are beside it, and one with a config."""
    for name, factor in (("double", 2.0), ("triple", 3.0)):
        (folder / name).mkdir(parents=True)
        onnx.save(scaling(factor), folder / name / "model.onnx")
    (folder / "broken").mkdir()
    model = scaling(1.0)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, folder / "broken" / "model.onnx")
    (folder / "apart").mkdir()
    parts = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save_model(scaling(5.0, weights=40_000), folder / "apart" / "model.onnx", **parts)
    write_identity(folder, "folder", {"x": ("FP32", [-1, 4])})


def begin(start: Start, triton: TritonServer, folder: Path, at: Path, **edge_manager: Any) -> Any:
    """Start a service whose work folder, state and socket are below `at`."""
    socket = at / "agent.sock"
    socket.unlink(missing_ok=True)  # of one that was killed
    if not (at / "work").exists():
        write_works(at / "work")
    more = {"model_roots": [str(at / "work")], "model_folder": str(folder), "DbEnable": "true"} | edge_manager
    service = start(
        "/livez",
        triton={"url": triton.grpc},
        model_repository=str(triton.repository),
        state_dir=str(at / "state"),
        edge_manager=agent_settings(socket, **more),
    )
    block_until(socket.exists)
    service.agent = socket
    return service


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def service(start_shared: Start, triton: TritonServer, folder: Path, at: Path) -> Any:
    return begin(start_shared, triton, folder, at)


@pytest.fixture
def client(service: Any) -> Iterator[AgentClient]:
    with AgentClient(service.agent) as client:
        yield client
        for model in client.ListModels().models:
            code_of(lambda name=model.name: client.UnLoadModel(handle=name))


def lying(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_kind_is_copied_and_serves(client: AgentClient, folder: Path) -> None:
    for name in ("double", "apart", "folder"):
        assert client.LoadModel(handle=name, url=name).model.name == name
    assert lying(folder) == ["apart", "double", "folder"]
    assert np.array_equal(client.predict("double", {"x": X})["y"], X * 2)
    assert np.array_equal(client.predict("apart", {"x": X})["y"], X * 5)
    assert np.array_equal(client.predict("folder", {"x": X})["x_out"], X)
    for name in ("double", "apart", "folder"):
        client.UnLoadModel(handle=name)
    assert lying(folder) == []
    client.LoadModel(handle="double", url="triple")
    assert np.array_equal(client.predict("double", {"x": X})["y"], X * 3)


def test_nothing_is_left_of_a_load_that_failed(client: AgentClient, folder: Path) -> None:
    for _ in range(3):
        code, words = code_of(lambda: client.LoadModel(handle="press", url="broken"))
        assert code is Code.FAILED_PRECONDITION
        assert "NoSuchOperator" in words
        assert lying(folder) == []
    client.LoadModel(handle="press", url="double")
    assert np.array_equal(client.predict("press", {"x": X})["y"], X * 2)


def test_a_model_without_room_is_refused_before_anything_is_copied(client: AgentClient, folder: Path, at: Path) -> None:
    weights = at / "work" / "apart" / "weights.bin"
    fits = weights.stat().st_size
    os.truncate(weights, 2**42)
    try:
        code, words = code_of(lambda: client.LoadModel(handle="apart", url="apart"))
    finally:
        os.truncate(weights, fits)
    assert (code, words.startswith("memory-short: ")) == (Code.RESOURCE_EXHAUSTED, True), words
    assert "of this machine's memory" in words
    assert lying(folder) == []
    assert "apart" not in {model.name for model in client.ListModels().models}
    client.LoadModel(handle="apart", url="apart")
    assert np.array_equal(client.predict("apart", {"x": X})["y"], X * 5)


def test_a_name_of_the_line_s_repository_is_taken(client: AgentClient, folder: Path) -> None:
    for name in ("wide", "later"):
        code, words = code_of(lambda name=name: client.LoadModel(handle=name, url="double"))
        assert code is Code.ALREADY_EXISTS
        assert repr(name) in words
    assert lying(folder) == []


def test_triton_started_anew_gets_what_was_loaded_whatever_the_client_s_folder_has_now(
    client: AgentClient, triton: TritonServer, at: Path
) -> None:
    for name, factor in (("will-change", 2.0), ("will-go", 3.0)):
        (at / "work" / name).mkdir()
        onnx.save(scaling(factor), at / "work" / name / "model.onnx")
    client.LoadModel(handle="changed", url="will-change")
    client.LoadModel(handle="gone", url="will-go")
    onnx.save(scaling(7.0), at / "work" / "will-change" / "model.onnx")
    shutil.rmtree(at / "work" / "will-go")
    triton.kill()
    triton.start()
    assert np.array_equal(client.predict("changed", {"x": X})["y"], X * 2)
    assert np.array_equal(client.predict("gone", {"x": X})["y"], X * 3)


def test_the_service_started_anew_has_the_models_again_or_clears_them(
    start_inference: Start, triton: TritonServer, tmp_path: Path
) -> None:
    folder = triton.others[1]
    service = begin(start_inference, triton, folder, tmp_path)
    with AgentClient(service.agent) as client:
        client.LoadModel(handle="kept", url="double")
    service.process.kill()
    service.process.wait()
    shutil.rmtree(tmp_path / "work" / "double")
    (folder / ".incoming-0" / "1").mkdir(parents=True)
    service = begin(start_inference, triton, folder, tmp_path)
    with AgentClient(service.agent) as client:
        assert np.array_equal(client.predict("kept", {"x": X})["y"], X * 2)
        assert lying(folder) == ["kept"]
        client.UnLoadModel(handle="kept")
        client.LoadModel(handle="dropped", url="triple")
    service.stop()
    begin(start_inference, triton, folder, tmp_path, DbEnable="false")
    assert lying(folder) == []


def test_a_triton_without_the_folder_is_told_what_it_lacks(
    start_inference: Start, triton: TritonServer, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    with AgentClient(begin(start_inference, triton, elsewhere, tmp_path).agent) as client:
        code, words = code_of(lambda: client.LoadModel(handle="press", url="double"))
    assert code is Code.INTERNAL
    assert f"Triton does not look for models in {elsewhere}" in words
    assert "--model-repository" in words
    assert lying(elsewhere) == []


def test_triton_s_memory_stays_flat_over_loads_and_unloads(
    client: AgentClient, triton: TritonServer, folder: Path
) -> None:
    def cycle() -> None:
        client.LoadModel(handle="cycle", url="double")
        assert np.array_equal(client.predict("cycle", {"x": X})["y"], X * 2)
        client.UnLoadModel(handle="cycle")

    for _ in range(3):
        cycle()
    process = psutil.Process(triton.pid)
    before = process.memory_info().rss
    for _ in range(CYCLES):
        cycle()
    assert process.memory_info().rss - before < 16 * MIB
    assert lying(folder) == []
