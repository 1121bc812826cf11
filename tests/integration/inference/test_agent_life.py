"""The agent's socket over the lives of its service and of Triton: when it is there, when it serves, how it ends."""

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from grpc_health.v1 import health_pb2

from tests.support import constant_models
from tests.support.agent_client import AgentClient, code_of
from tests.support.agent_service import agent_settings
from tests.support.inference_service import Inference
from tests.support.onnx_models import scaling
from tests.support.triton_server import TritonServer
from tests.support.waiting import HANG_S, block_until

Start = Callable[..., Any]
Code = grpc.StatusCode
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
IMAGE = np.zeros((1, 3, constant_models.SIDE, constant_models.SIDE), "<f4")
HEAD = {"name": "y", "head": "raw"}


@pytest.fixture
def triton(tmp_path: Path) -> Iterator[TritonServer]:
    """A Triton that is not started yet, with one model that takes its time."""
    repository = tmp_path / "repository"
    constant_models.write(repository, "slow", {"y": np.zeros(3, np.float32)}, HEAD, work=12)
    (tmp_path / "triton").mkdir()
    server = TritonServer(tmp_path / "triton", repository)
    yield server
    server.stop()


def settings(triton: TritonServer, socket: Path) -> dict[str, Any]:
    return {
        "triton": {"url": triton.grpc},
        "model_repository": str(triton.repository),
        "edge_manager": agent_settings(socket),
    }


def watched(client: AgentClient) -> "queue.Queue[int]":
    """Return the states that the health service tells, as they come."""
    watch = client.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    told: queue.Queue[int] = queue.Queue()

    def listen() -> None:
        try:
            for answer in watch(health_pb2.HealthCheckRequest()):
                told.put(answer.status)
        except grpc.RpcError:
            return

    threading.Thread(target=listen, daemon=True).start()
    return told


def test_the_socket_comes_with_triton_and_health_follows_it(
    triton: TritonServer, start_inference: Start, tmp_path: Path
) -> None:
    socket = tmp_path / "agent.sock"
    start_inference(ready="/livez", **settings(triton, socket))
    assert not socket.exists()
    triton.start()
    block_until(socket.exists, within=HANG_S)
    with AgentClient(socket) as client:
        first, second = watched(client), watched(client)
        assert first.get(timeout=HANG_S) == second.get(timeout=HANG_S) == SERVING
        triton.kill()
        assert first.get(timeout=HANG_S) == second.get(timeout=HANG_S) == NOT_SERVING
        code, words = code_of(lambda: client.LoadModel(handle="m", url="/greengrass/v2/work/m"))
        assert code is Code.UNAVAILABLE
        assert "Triton" in words
        triton.start()
        assert first.get(timeout=HANG_S) == second.get(timeout=HANG_S) == SERVING
        assert client.predict("slow", {"x": IMAGE})["y"].shape == (1, 3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_what_runs_ends_and_new_calls_are_refused_when_the_service_stops(
    triton: TritonServer, start_inference: Start, tmp_path: Path, number: signal.Signals
) -> None:
    """By either signal: the units of Edge Manager's agent stopped it by SIGHUP, which a run under nohup ignores."""
    socket = tmp_path / "agent.sock"
    triton.start()
    before = signal.signal(number, signal.SIG_DFL)  # what is ignored here would be ignored there
    try:
        service = start_inference(**settings(triton, socket))
    finally:
        signal.signal(number, before)
    block_until(socket.exists)
    with AgentClient(socket) as client:
        client.predict("slow", {"x": IMAGE})
        request = client.of.PredictRequest(handle="slow", tensors=[client.tensor("x", IMAGE)])
        watched(client)
        running = [client.method("Predict").future(request, timeout=HANG_S) for _ in range(4)]
        block_until(lambda: service.metric('lineside_inference_agent_calls_total{call="Predict",code="OK"}') >= 2)
        service.process.send_signal(number)
        block_until(lambda: code_of(lambda: client.DescribeModel(handle="slow"))[0] is Code.UNAVAILABLE)
        for call in running:
            assert len(call.result().tensors) == 1
    assert service.process.wait(HANG_S) == 0
    assert [path.name for path in tmp_path.iterdir() if "agent.sock" in path.name or path.name.startswith(".")] == []


def test_after_a_crash_the_next_service_takes_the_socket_over(
    triton: TritonServer, start_inference: Start, tmp_path: Path
) -> None:
    socket = tmp_path / "agent.sock"
    triton.start()
    first = start_inference(**settings(triton, socket))
    block_until(socket.exists)
    first.process.kill()
    first.process.wait(HANG_S)
    assert socket.is_socket()
    start_inference(**settings(triton, socket))

    def answers() -> bool:
        with AgentClient(socket) as client:
            return code_of(lambda: client.DescribeModel(handle="slow", timeout=HANG_S))[0] is Code.OK

    block_until(answers)


def test_it_serves_clients_models_alone_where_the_line_has_none(start_inference: Start, tmp_path: Path) -> None:
    repository, work = tmp_path / "repository", tmp_path / "work"
    repository.mkdir()
    (work / "double").mkdir(parents=True)
    onnx.save(scaling(2.0), work / "double" / "model.onnx")
    (tmp_path / "triton").mkdir()
    triton = TritonServer(tmp_path / "triton", repository)
    triton.start()
    try:
        triton.wait_ready()
        socket = tmp_path / "agent.sock"
        settings = {"triton": {"url": triton.grpc}, "model_repository": str(repository)}
        service = start_inference(**settings, edge_manager=agent_settings(socket, model_roots=[str(work)]))
        block_until(socket.exists)
        with AgentClient(socket) as client:
            assert list(client.ListModels().models) == []
            client.LoadModel(handle="double", url="double")
            x = np.arange(8, dtype="<f4").reshape(2, 4)
            assert np.array_equal(client.predict("double", {"x": x})["y"], x * 2)
        refused = Inference(tmp_path, settings)
        try:
            assert refused.process.wait(HANG_S) == 2
            assert "edge_manager.serve lets clients load theirs" in refused.log.read_text()
        finally:
            refused.stop()
        assert service.http.get("/readyz").status_code == 200
    finally:
        triton.stop()
