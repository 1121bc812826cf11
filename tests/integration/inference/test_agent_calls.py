"""Clients of Edge Manager's agent, of both versions of its protocol, against a real Triton over the agent's socket."""

import json
import shutil
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2

from tests.support import constant_models
from tests.support.agent_client import AgentClient, array_of, as_text, code_of
from tests.support.agent_service import agent_settings
from tests.support.identity_models import TYPES, write_identity, write_passing
from tests.support.paths import ROOT
from tests.support.triton_server import TritonServer, running_triton
from tests.support.waiting import HANG_S, block_until

Start = Callable[..., Any]
Code = grpc.StatusCode
NUMBERS = {"UINT8": 0, "INT16": 1, "INT32": 2, "INT64": 3, "FP16": 4, "FP32": 5, "FP64": 6}
"""Triton's datatypes that the protocol has, too."""
SAME_BITS = {"INT8": 0, "UINT16": 1, "UINT32": 2, "UINT64": 3}


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "models" / "surface-defect", repository / "surface-defect")
    write_identity(repository, "pair", {"x": ("FP32", [-1, 3]), "y": ("INT32", [4])})
    write_identity(repository, "kinds", {kind.lower(): (kind, [-1, 2]) for kind in TYPES})
    write_passing(repository, "flags", {"flags": ("BOOL", [-1, 2])})
    write_passing(repository, "words", {"words": ("STRING", [-1, 2])})
    write_identity(repository, "wide", {"x": ("FP32", [1, 3, 224, 224])})
    constant_models.write(
        repository,
        "slow",
        {"y": np.zeros(3, np.float32)},
        {"name": "y", "head": "score", "thresholds": {"default": 0.5}},
        work=8,
    )
    (repository / "slow" / "card.yaml").unlink()
    with running_triton(tmp_path_factory.mktemp("triton"), repository) as server:
        yield server


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agent") / "agent.sock"


@pytest.fixture(scope="module")
def service(start_shared: Start, triton: TritonServer, socket: Path) -> Any:
    repository = triton.repository
    service = start_shared(
        triton={"url": triton.grpc},
        model_repository=str(repository),
        edge_manager=agent_settings(socket),
        limits={"v2_concurrency": 2},
    )
    block_until(socket.exists)
    service.agent = socket
    return service


@pytest.fixture(scope="module", params=["2021", "2022"])
def client(request: Any, service: Any) -> Iterator[AgentClient]:
    with AgentClient(service.agent, request.param) as client:
        yield client


@pytest.fixture(scope="module")
def newest(service: Any) -> Iterator[AgentClient]:
    with AgentClient(service.agent) as client:
        yield client


def test_lists_every_model_that_serves_by_both_of_its_names(client: AgentClient) -> None:
    models = {model.name: model for model in client.ListModels().models}
    assert {"surface-defect", "pair", "kinds", "wide", "slow"} <= set(models)
    pair = models["pair"]
    assert [as_text(tensor.name) for tensor in pair.input_tensor_metadatas] == ["x", "y"]
    assert [list(tensor.shape) for tensor in pair.input_tensor_metadatas] == [[-1, 3], [4]]
    assert [tensor.data_type for tensor in pair.output_tensor_metadatas] == [5, 2]
    if client.version == "2022":
        assert all(model.handle == name for name, model in models.items())


def test_describes_a_model_with_its_batch_as_one(client: AgentClient) -> None:
    model = client.DescribeModel(**client.named("surface-defect")).model
    assert model.name == "surface-defect"
    assert model.url.endswith("/surface-defect")
    assert [next(iter(tensor.shape)) for tensor in model.input_tensor_metadatas] == [1]


def test_every_datatype_comes_back_bit_for_bit(client: AgentClient) -> None:
    rng = np.random.default_rng(5)
    given = {
        kind.lower(): rng.integers(0, 256, 6 * np.dtype(dtype).itemsize, np.uint8).tobytes()
        for kind, dtype in TYPES.items()
    }
    numbers = NUMBERS | SAME_BITS
    tensors = [
        client.of.Tensor(
            tensor_metadata={
                "name": name if client.version == "2021" else name.encode(),
                "data_type": numbers[name.upper()],
                "shape": [3, 2],
            },
            byte_data=raw,
        )
        for name, raw in given.items()
    ]
    answer = client.Predict(tensors=list(reversed(tensors)), **client.named("kinds"))
    found = {as_text(tensor.tensor_metadata.name): tensor for tensor in answer.tensors}
    assert [as_text(tensor.tensor_metadata.name) for tensor in answer.tensors] == [f"{name}_out" for name in given]
    for name, raw in given.items():
        tensor = found[f"{name}_out"]
        assert tensor.byte_data == raw, name
        assert tensor.tensor_metadata.data_type == numbers[name.upper()]
        assert list(tensor.tensor_metadata.shape) == [3, 2]
        assert tensor.WhichOneof("data") == "byte_data"


FLAGS = np.array([[0, 1], [1, 1], [0, 0]], np.uint8)
ELEMENTS = (b"M6 x 20", b"", "über".encode(), b"\xff\0\n")


def packed(*elements: bytes) -> bytes:
    """Return elements of BYTES as they go: each its length, then itself."""
    return b"".join(len(element).to_bytes(4, "little") + element for element in elements)


def test_bool_goes_as_uint8_and_comes_back(client: AgentClient) -> None:
    described = client.DescribeModel(**client.named("flags")).model
    assert [tensor.data_type for tensor in described.input_tensor_metadatas] == [0]
    for tensor in (client.tensor("flags", FLAGS), client.of.Tensor(byte_data=FLAGS.tobytes())):
        (found,) = client.Predict(tensors=[tensor], **client.named("flags")).tensors
        assert np.array_equal(array_of(found), FLAGS)


def test_bytes_are_told_as_uint8(client: AgentClient) -> None:
    described = client.DescribeModel(**client.named("words")).model
    assert [tensor.data_type for tensor in described.input_tensor_metadatas] == [0]
    assert [list(tensor.shape) for tensor in described.input_tensor_metadatas] == [[-1, 2]]


@pytest.mark.parametrize(
    ("raw", "shape", "says"),
    [
        (packed(*ELEMENTS), [2, 1], "do not give 2 elements"),
        (packed(*ELEMENTS), [2, 3], "do not give 6 elements"),
        (packed(*ELEMENTS)[:-1], [2, 2], "do not give 4 elements"),
        (packed(*ELEMENTS[:3]), [], "has 3 elements"),
        (b"\xff\xff\xff\xff", [1, 2], "do not give 2 elements"),
        (packed(*ELEMENTS), [2**31 - 1, 2**31 - 1], "more than 65536 elements"),
    ],
)
def test_elements_of_bytes_that_are_not_there_are_refused(
    newest: AgentClient, raw: bytes, shape: list[int], says: str
) -> None:
    """Before Triton is asked. The Python stub of Triton 2.51 cannot run a model on BYTES beside numpy 2."""
    words = newest.tensor("words", np.frombuffer(raw, np.uint8))
    words.tensor_metadata.shape[:] = shape
    code, said = code_of(lambda: newest.Predict(handle="words", tensors=[words]))
    assert (code, says in said) == (Code.INVALID_ARGUMENT, True), said


def test_tensors_without_metadata_go_by_their_place(client: AgentClient) -> None:
    x, y = np.arange(6, dtype="<f4"), np.arange(4, dtype="<i4")
    tensors = [client.of.Tensor(byte_data=array.tobytes()) for array in (x, y)]
    first, second = client.Predict(tensors=tensors, **client.named("pair")).tensors
    assert np.array_equal(array_of(first), x.reshape(2, 3))
    assert np.array_equal(array_of(second), y)


def test_the_lines_own_models_answer_as_over_v2(client: AgentClient, service: Any) -> None:
    image = np.random.default_rng(3).standard_normal((1, 3, 160, 160)).astype(np.float32)
    name = as_text(client.DescribeModel(**client.named("surface-defect")).model.input_tensor_metadatas[0].name)
    over_agent = client.predict("surface-defect", {name: image})
    head = {"inputs": [{"name": name, "datatype": "FP32", "shape": list(image.shape)}]}
    head["inputs"][0]["parameters"] = {"binary_data_size": image.nbytes}
    document = json.dumps(head).encode()
    over_v2 = service.http.post(
        "/v2/models/surface-defect/infer",
        content=document + image.tobytes(),
        headers={"inference-header-content-length": str(len(document))},
    ).json()
    assert over_agent.keys() == {output["name"] for output in over_v2["outputs"]}
    for output in over_v2["outputs"]:
        assert np.allclose(over_agent[output["name"]].ravel(), output["data"])


def test_a_model_has_one_name_in_two_fields(newest: AgentClient) -> None:
    assert newest.DescribeModel(handle="pair", name="pair").model.handle == "pair"
    assert newest.DescribeModel(name="pair").model.handle == "pair"
    code, words = code_of(lambda: newest.DescribeModel(handle="pair", name="wide"))
    assert code is Code.INVALID_ARGUMENT
    assert "'pair'" in words
    assert "'wide'" in words
    assert code_of(newest.DescribeModel)[0] is Code.INVALID_ARGUMENT


X, Y = np.zeros((2, 3), "<f4"), np.zeros(4, "<i4")


@pytest.mark.parametrize(
    ("model", "arrays", "code", "says"),
    [
        ("nowhere", {"x": X, "y": Y}, Code.NOT_FOUND, "nowhere"),
        ("pair", {"x": X}, Code.INVALID_ARGUMENT, "1 tensors for a model of 2 inputs"),
        ("pair", {}, Code.INVALID_ARGUMENT, "0 tensors"),
        ("pair", {"x": X, "y": Y, "z": Y}, Code.INVALID_ARGUMENT, "3 tensors"),
        ("pair", {"x": X, "z": Y}, Code.INVALID_ARGUMENT, "no input b'z'"),
        ("pair", {"x": X.astype("<f8"), "y": Y}, Code.INVALID_ARGUMENT, "'x' is FLOAT64"),
        ("pair", {"x": np.zeros((2, 4), "<f4"), "y": Y}, Code.INVALID_ARGUMENT, "shape"),
        ("pair", {"x": X, "y": np.zeros(5, "<i4")}, Code.INVALID_ARGUMENT, "shape"),
    ],
)
def test_what_is_wrong_is_named(
    client: AgentClient, model: str, arrays: dict[str, np.ndarray], code: grpc.StatusCode, says: str
) -> None:
    found, words = code_of(lambda: client.predict(model, arrays))
    assert found is code
    assert says in words


def test_a_wrong_size_a_wrong_shape_and_a_name_twice_are_named(newest: AgentClient) -> None:
    tensor, good = newest.of.Tensor, newest.tensor("y", Y)
    for wrong, says in (
        (tensor(tensor_metadata=newest.metadata("x", X), byte_data=bytes(20)), "20 bytes"),
        (tensor(tensor_metadata=newest.metadata("x", X)), "no data"),
        (tensor(tensor_metadata={"name": b"x", "data_type": 5, "shape": [-1, 3]}, byte_data=bytes(24)), "below 0"),
        (tensor(byte_data=bytes(25)), "bytes do not say it"),
        (good, "twice"),
    ):
        code, words = code_of(lambda wrong=wrong: newest.Predict(handle="pair", tensors=[wrong, good]))
        assert code is Code.INVALID_ARGUMENT
        assert says in words


def test_a_name_that_is_no_text_is_no_input_and_named_by_its_bytes(newest: AgentClient) -> None:
    tensors = [newest.tensor("x", X), newest.tensor("y", Y)]
    tensors[0].tensor_metadata.name = b"x\xff"
    code, words = code_of(lambda: newest.Predict(handle="pair", tensors=tensors))
    assert code is Code.INVALID_ARGUMENT
    assert "x\\xff" in words


def test_bytes_that_are_no_message_are_refused_by_a_code(newest: AgentClient) -> None:
    for call in ("Predict", "LoadModel", "DescribeModel", "CaptureData"):
        code, words = code_of(lambda call=call: newest.raw(call, b"\x0a\xff\xff"))
        assert code is Code.INVALID_ARGUMENT
        assert "message-invalid" in words


def test_eight_callers_at_once_each_get_their_own(newest: AgentClient) -> None:
    def ask(number: int) -> bool:
        x = np.full((number % 3 + 1, 3), number, "<f4")
        found = newest.predict("pair", {"x": x, "y": np.full(4, number, "<i4")})
        return np.array_equal(found["x_out"], x) and bool((found["y_out"] == number).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(100)))


def test_ten_megabytes_are_taken_and_more_than_the_bound_is_refused(newest: AgentClient) -> None:
    x = np.random.default_rng(1).standard_normal((900_000, 3)).astype("<f4")
    found = newest.predict("pair", {"x": x, "y": Y})
    assert np.array_equal(found["x_out"], x)
    code, _words = code_of(lambda: newest.Predict(handle="pair", tensors=[{"byte_data": bytes(70 * 1024 * 1024)}]))
    assert code is Code.RESOURCE_EXHAUSTED


def test_a_deadline_ends_a_call_that_waits_and_it_never_runs(newest: AgentClient, service: Any) -> None:
    image = np.zeros((1, 3, constant_models.SIDE, constant_models.SIDE), "<f4")
    before = count(service, "slow")
    newest.predict("slow", {"x": image})
    before = count(service, "slow", before + 1)
    busy = [newest.method("Predict").future(request(newest, image), timeout=HANG_S) for _ in range(3)]
    waiting = newest.method("Predict").future(request(newest, image), timeout=HANG_S)
    waiting.cancel()
    code, _words = code_of(lambda: newest.predict("slow", {"x": image}, timeout=0.01))
    assert code is Code.DEADLINE_EXCEEDED
    for call in busy:
        call.result()
    count(service, "slow", before + 3)
    newest.predict("slow", {"x": image})
    assert count(service, "slow", before + 4) <= before + 5


def request(client: AgentClient, image: np.ndarray) -> Any:
    return client.of.PredictRequest(tensors=[client.tensor("x", image)], **client.named("slow"))


def count(service: Any, model: str, at_least: int = 0) -> int:
    """Return how many requests Triton has run of a model, which it counts a moment after it has answered."""

    def counted() -> int:
        stats = service.http.get(f"/v2/models/{model}/stats").json()
        return int(stats["model_stats"][0]["inference_stats"]["success"]["count"])

    block_until(lambda: counted() >= at_least, f"{at_least} requests")
    return counted()


def test_the_socket_is_there_with_its_mode_and_nothing_hidden_beside_it(service: Any) -> None:
    socket = service.agent
    status = socket.stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert [path.name for path in socket.parent.iterdir() if path.name.startswith(".")] == []


def test_the_agent_listens_at_its_socket_alone(service: Any) -> None:
    """The process's one TCP listener is its HTTP port, which speaks no gRPC."""
    listening = [link for link in psutil.Process(service.process.pid).net_connections("tcp") if link.status == "LISTEN"]
    assert [link.laddr.port for link in listening] == [service.port]
    with grpc.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        listing = channel.unary_unary("/AWS.SageMaker.Edge.Agent/ListModels")
        assert code_of(lambda: listing(b"", timeout=HANG_S))[0] not in {Code.OK, Code.UNIMPLEMENTED}


def test_the_health_service_serves_while_triton_does(newest: AgentClient) -> None:
    check = newest.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    for name in ("", "AWS.SageMaker.Edge.Agent"):
        answer = check(health_pb2.HealthCheckRequest(service=name), timeout=HANG_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert code_of(lambda: check(health_pb2.HealthCheckRequest(service="other")))[0] is Code.NOT_FOUND


def test_reflection_is_off(newest: AgentClient) -> None:
    listing = newest.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    assert code_of(lambda: list(listing(iter([b""]), timeout=HANG_S)))[0] is Code.UNIMPLEMENTED


def test_calls_are_counted(service: Any, newest: AgentClient) -> None:
    name = 'lineside_inference_agent_calls_total{call="DescribeModel",code="OK"}'
    before = service.metric(name)
    newest.DescribeModel(handle="pair")
    assert service.metric(name) == before + 1
