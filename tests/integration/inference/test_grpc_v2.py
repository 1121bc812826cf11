"""The Open Inference Protocol over gRPC, asked by tritonclient as it is: what Triton answers, and what HTTP answers."""

import asyncio
import functools
import json
import queue
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_aio
from grpc_health.v1 import health_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as stubs
from tritonclient.utils import InferenceServerException, shared_memory

from lineside_inference.grpc_v2.contents import FIELDS
from tests.support import constant_models
from tests.support.identity_models import ALL_TYPES, write_any_identity, write_identity
from tests.support.inference_service import Inference
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.triton_server import TritonServer, running_triton
from tests.support.waiting import HANG_S, block_until

Start = Callable[..., Any]
Code = grpc.StatusCode
TOKEN = "a-token-for-the-tests-0123"  # noqa: S105 - opens nothing
PREFIX = "grpc-v2-test-"
WINDOW = np.random.default_rng(1).normal(size=(1, 64, 4)).astype(np.float32)
IMAGE = np.zeros((1, 3, constant_models.SIDE, constant_models.SIDE), np.float32)
LIMITS = {
    "client_shared_memory_prefixes": [PREFIX],
    "body_bytes": 4 << 20,
    "json_body_values": 1000,
    "tensors": 16,
    "strings": 1000,
}
SERVICE = "inference.GRPCInferenceService"
NO_PROXY = (("grpc.enable_http_proxy", 0),)


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A Triton with a model of the line, one of every datatype, a wide one, and one that takes its time."""
    repository = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "models" / "spindle-anomaly", repository / "spindle-anomaly")
    write_any_identity(repository, "every")
    write_identity(repository, "wide", {"x": ("FP32", [1, 3, 224, 224])})
    constant_models.write(repository, "slow", {"y": np.zeros(3, np.float32)}, {"name": "y", "head": "raw"}, work=12)
    with running_triton(tmp_path_factory.mktemp("triton"), repository) as server:
        yield server


def serving(start: Start, server: TritonServer, **more: Any) -> tuple[Inference, str]:
    """Start a service that serves gRPC too; return it and where."""
    port = free_port()
    given = {"triton": {"url": server.grpc}, "limits": LIMITS, "grpc": {"port": port}} | more
    given["model_repository"] = str(server.repository)
    return start(**given), f"127.0.0.1:{port}"


@pytest.fixture(scope="module", params=["http", "grpc-bytes"])
def both(request: Any, start_shared: Start, triton: TritonServer) -> tuple[Inference, str]:
    """The service, with tensors to Triton by its HTTP port and shared memory, or by its gRPC port and in bytes."""
    to_triton: dict[str, Any] = {"url": triton.grpc, "health_ms": 100}
    if request.param == "http":
        to_triton["http_url"] = triton.http.removeprefix("http://")
    else:
        to_triton["shared_memory"] = "off"
    return serving(start_shared, triton, triton=to_triton)


@pytest.fixture
def service(both: tuple[Inference, str]) -> Inference:
    return both[0]


@pytest.fixture
def client(both: tuple[Inference, str]) -> Iterator[triton_grpc.InferenceServerClient]:
    with triton_grpc.InferenceServerClient(both[1]) as made:
        yield made


@pytest.fixture
def theirs(triton: TritonServer) -> Iterator[triton_grpc.InferenceServerClient]:
    """Triton's own gRPC port."""
    with triton_grpc.InferenceServerClient(triton.grpc) as made:
        yield made


@pytest.fixture
def stub(both: tuple[Inference, str]) -> Iterator[Any]:
    """The protocol's calls without tritonclient's own checks."""
    with grpc.insecure_channel(both[1], options=NO_PROXY) as channel:
        made = stubs.GRPCInferenceServiceStub(channel)
        made.channel = channel
        yield made


def refused(call: Callable[[], Any]) -> tuple[Code, str]:
    """Return the code and the words of a call that fails."""
    with pytest.raises(grpc.RpcError) as failed:
        call()
    return failed.value.code(), failed.value.details()


def tensors(arrays: dict[str, np.ndarray]) -> list[Any]:
    """Return arrays as inputs of tritonclient's."""
    made = []
    for name, array in arrays.items():
        datatype = next(datatype for datatype, dtype in ALL_TYPES.items() if array.dtype == dtype)
        made.append(triton_grpc.InferInput(name, list(array.shape), datatype))
        made[-1].set_data_from_numpy(array)
    return made


@functools.cache
def samples() -> dict[str, np.ndarray]:
    """Return a tensor of each datatype, with its extremes."""
    found: dict[str, np.ndarray] = {}
    for kind, dtype in ALL_TYPES.items():
        if kind == "BOOL":
            values: Any = [[True, False], [False, True]]
        elif np.dtype(dtype).kind == "f":
            values = [[np.finfo(dtype).max, -0.0], [np.nan, np.inf]]
        else:
            values = [[np.iinfo(dtype).min, np.iinfo(dtype).max], [0, 1]]
        found[kind.lower()] = np.array(values, dtype)
    return found


def window() -> list[Any]:
    return tensors({"window": WINDOW})


def typed(name: str, datatype: str, shape: list[int], **contents: Any) -> Any:
    return pb.ModelInferRequest.InferInputTensor(
        name=name, datatype=datatype, shape=shape, contents=pb.InferTensorContents(**contents)
    )


def test_every_datatype_is_answered_as_http_answers_it(service: Inference, client: Any) -> None:
    wide = {"x": image()}
    for model, sent in (("every", samples()), ("wide", wide), ("wide", wide)):  # again: by memory that is shared now
        found = client.infer(model, tensors(sent)).get_response()
        by_http = asked_by_http(service, model, sent)
        assert len(found.outputs) == len(sent)
        for output, raw in zip(found.outputs, found.raw_output_contents, strict=True):
            assert (output.datatype, list(output.shape), raw) == by_http[output.name]
            assert raw == sent[output.name.removesuffix("_out")].tobytes()
    nothing_is_held(service)


@functools.cache
def image() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((1, 3, 224, 224), np.float32)


def asked_by_http(
    service: Inference, model: str, arrays: dict[str, np.ndarray]
) -> dict[str, tuple[str, list[int], bytes]]:
    """Return datatype, shape and bytes of each output, by name, of the same question over HTTP."""
    raw = {name: array.tobytes() for name, array in arrays.items()}
    inputs = [
        {
            "name": one.name(),
            "datatype": one.datatype(),
            "shape": list(one.shape()),
            "parameters": {"binary_data_size": len(raw[one.name()])},
        }
        for one in tensors(arrays)
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    answer = service.http.post(
        f"/v2/models/{model}/infer",
        content=head + b"".join(raw.values()),
        headers={"inference-header-content-length": str(len(head)), "accept-encoding": "identity"},
    )
    assert answer.status_code == 200, answer.text
    at = int(answer.headers["inference-header-content-length"])
    found = {}
    for output in json.loads(answer.content[:at])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = (output["datatype"], output["shape"], answer.content[at : at + size])
        at += size
    return found


def test_the_answer_is_triton_s(client: Any, theirs: Any) -> None:
    wanted = [triton_grpc.InferRequestedOutput("score")]
    for more in ({}, {"outputs": wanted}, {"request_id": "7"}, {"model_version": "1"}):
        answers = [one.infer("spindle-anomaly", window(), **more).get_response() for one in (client, theirs)]
        assert answers[0] == answers[1]


def test_typed_contents_are_the_same_question(stub: Any) -> None:
    inputs = [
        typed(name, name.upper(), [2, 2], **{FIELDS[name.upper()][0]: array.ravel().tolist()})
        for name, array in samples().items()
        if name != "fp16"
    ]
    found = stub.ModelInfer(pb.ModelInferRequest(model_name="every", inputs=inputs))
    for output, raw in zip(found.outputs, found.raw_output_contents, strict=True):
        assert raw == samples()[output.name.removesuffix("_out")].tobytes()


def test_classification_is_triton_s(client: Any, theirs: Any) -> None:
    given = tensors({"x": IMAGE})
    wanted = [triton_grpc.InferRequestedOutput("y", class_count=2)]
    answers = [one.infer("slow", given, outputs=wanted).get_response() for one in (client, theirs)]
    assert answers[0] == answers[1]
    assert answers[0].outputs[0].datatype == "BYTES"


def test_what_is_told_is_what_triton_tells(client: Any, theirs: Any) -> None:
    for ask in (
        lambda one: one.get_model_metadata("every"),
        lambda one: one.get_model_metadata("spindle-anomaly", "1"),
        lambda one: one.get_model_config("every"),
        lambda one: one.get_inference_statistics("every"),
        lambda one: one.get_inference_statistics(),
        lambda one: one.get_model_repository_index(),
        lambda one: one.is_model_ready("every"),
        lambda one: one.is_model_ready("every", "9"),
        lambda one: one.is_model_ready("nobody"),
        lambda one: one.is_server_live(),
        lambda one: one.is_server_ready(),
    ):
        assert told(ask, client) == told(ask, theirs)


def told(ask: Callable[[Any], Any], client: Any) -> Any:
    """Return what is answered, or that it is refused."""
    try:
        return ask(client)
    except InferenceServerException:
        return "refused"


def test_who_answers_says_so(service: Inference, client: Any) -> None:
    found, by_http = client.get_server_metadata(), service.http.get("/v2").json()
    assert {"name": found.name, "version": found.version, "extensions": list(found.extensions)} == by_http


def test_models_are_not_controlled_and_cuda_memory_is_not_taken(stub: Any, client: Any) -> None:
    for call, request in (
        (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="wide")),
        (stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest(model_name="wide")),
        (stub.TraceSetting, pb.TraceSettingRequest()),
        (stub.LogSettings, pb.LogSettingsRequest()),
    ):
        code, words = refused(functools.partial(call, request))
        assert code is Code.PERMISSION_DENIED
        assert words.startswith("model-control-refused: ")
    code, words = refused(lambda: stub.CudaSharedMemoryRegister(pb.CudaSharedMemoryRegisterRequest(name="a")))
    assert (code, words.partition(":")[0]) == (Code.PERMISSION_DENIED, "shared-memory-refused")
    client.unregister_cuda_shared_memory()
    assert not client.get_cuda_shared_memory_status().regions


RAW = pb.ModelInferRequest(model_name="spindle-anomaly", raw_input_contents=[WINDOW.tobytes()])
RAW.inputs.add(name="window", datatype="FP32", shape=[1, 64, 4])


def changed(**fields: Any) -> pb.ModelInferRequest:
    """Return a good request with other fields; those of its input begin with `input_`."""
    request = pb.ModelInferRequest()
    request.CopyFrom(RAW)
    for name, value in fields.items():
        at, field = (request.inputs[0], name.removeprefix("input_")) if name.startswith("input_") else (request, name)
        at.ClearField(field)
        at.MergeFrom(type(at)(**{field: value}))
    return request


STRINGS = pb.InferTensorContents(bytes_contents=[b"a", b"b"])


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        (changed(model_name="nobody"), Code.NOT_FOUND, "model-unknown"),
        (changed(model_name=""), Code.INVALID_ARGUMENT, "model_name"),
        (changed(model_version="9"), Code.NOT_FOUND, "9"),
        (changed(model_version="newest"), Code.NOT_FOUND, "version-unknown"),
        (changed(id="i" * 257), Code.INVALID_ARGUMENT, "id must be"),
        (changed(inputs=[]), Code.INVALID_ARGUMENT, "raw_input_contents has 1 entries"),
        (changed(raw_input_contents=[]), Code.INVALID_ARGUMENT, "0 bytes"),
        (changed(raw_input_contents=[b"", b""]), Code.INVALID_ARGUMENT, "2 entries"),
        (changed(raw_input_contents=[b"abc"]), Code.INVALID_ARGUMENT, "3 bytes"),
        (changed(raw_input_contents=[b""] * 500), Code.INVALID_ARGUMENT, "inference.limits.tensors"),
        (
            changed(inputs=list(RAW.inputs) * 2, raw_input_contents=[WINDOW.tobytes()] * 2),
            Code.INVALID_ARGUMENT,
            "twice",
        ),
        (changed(inputs=list(RAW.inputs) * 17, raw_input_contents=[b""] * 17), Code.INVALID_ARGUMENT, "at most 16"),
        (changed(input_datatype="FP31"), Code.INVALID_ARGUMENT, "FP31"),
        (changed(input_datatype="INT32"), Code.INVALID_ARGUMENT, "window"),
        (changed(input_shape=[1, 64, -4]), Code.INVALID_ARGUMENT, "shape must be"),
        (changed(input_shape=[2**62] * 5000), Code.INVALID_ARGUMENT, "shape must be"),
        (changed(input_name="x" * 300), Code.INVALID_ARGUMENT, "name of 1 to"),
        (changed(input_contents=STRINGS), Code.INVALID_ARGUMENT, "give one of them"),
        (changed(raw_input_contents=[], input_contents=STRINGS), Code.INVALID_ARGUMENT, "fp32_contents"),
        (
            changed(raw_input_contents=[], input_contents=pb.InferTensorContents(fp32_contents=[1.0] * 1001)),
            Code.INVALID_ARGUMENT,
            "json_body_values",
        ),
        (
            changed(raw_input_contents=[], input_contents=pb.InferTensorContents(fp32_contents=[1.0])),
            Code.INVALID_ARGUMENT,
            "4 bytes",
        ),
        (
            changed(
                raw_input_contents=[],
                input_datatype="INT8",
                input_contents=pb.InferTensorContents(int_contents=[1, 128]),
            ),
            Code.INVALID_ARGUMENT,
            "-128 to 127",
        ),
        (
            changed(raw_input_contents=[], input_datatype="FP16", input_contents=STRINGS),
            Code.INVALID_ARGUMENT,
            "raw_input_contents",
        ),
        (
            changed(input_datatype="BYTES", input_shape=[1], raw_input_contents=[b"\x09\0\0\0a"]),
            Code.INVALID_ARGUMENT,
            "do not give 1 elements",
        ),
        (
            changed(input_datatype="BYTES", input_shape=[1001], raw_input_contents=[bytes(4004)]),
            Code.INVALID_ARGUMENT,
            "inference.limits.strings",
        ),
        (changed(parameters={"a": pb.InferParameter()}), Code.INVALID_ARGUMENT, "has no value"),
        (
            changed(parameters={"a": pb.InferParameter(double_param=float("nan"))}),
            Code.INVALID_ARGUMENT,
            "must be finite",
        ),
        (
            changed(parameters={"a": pb.InferParameter(uint64_param=2**63)}),
            Code.INVALID_ARGUMENT,
            "64-bit number",
        ),
        (changed(parameters={"triton_x": pb.InferParameter(bool_param=True)}), Code.INVALID_ARGUMENT, "Triton's own"),
        (
            changed(outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="nothing")]),
            Code.INVALID_ARGUMENT,
            "nothing",
        ),
        (
            changed(input_parameters={"shared_memory_region": pb.InferParameter(string_param="other")}),
            Code.INVALID_ARGUMENT,
            "raw_input_contents has 1 entries",
        ),
        (
            changed(
                raw_input_contents=[],
                input_parameters={"shared_memory_region": pb.InferParameter(string_param="other")},
            ),
            Code.PERMISSION_DENIED,
            "shared-memory-refused",
        ),
    ],
)
def test_what_is_wrong_is_refused_by_name(stub: Any, request_: Any, code: Code, said: str) -> None:
    found, words = refused(lambda: stub.ModelInfer(request_))
    assert found is code, words
    assert said in words


def test_the_same_request_unchanged_is_taken(stub: Any) -> None:
    kept = {
        "binary_data": pb.InferParameter(bool_param=False),  # what only HTTP has a use for
        "priority": pb.InferParameter(uint64_param=1),
        "sequence_id": pb.InferParameter(int64_param=7),
        "own": pb.InferParameter(double_param=0.5),
        "name": pb.InferParameter(string_param="a"),
        "flag": pb.InferParameter(bool_param=True),
    }
    del kept["sequence_id"]
    assert stub.ModelInfer(changed(parameters=kept)).outputs


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 1400), put=st.binary(max_size=12))
def test_damaged_messages_are_refused(stub: Any, cut: int, put: bytes) -> None:
    sent = RAW.SerializeToString()
    sent = sent[: cut % len(sent)] + put + sent[cut % len(sent) + len(put) :]
    infer = stub_of_bytes(stub)
    try:
        infer(sent, timeout=HANG_S)
    except grpc.RpcError as error:
        allowed = (Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.PERMISSION_DENIED)
        assert error.code() in allowed, (error.code(), error.details())  # noqa: PT017 - most fail, some are well


def stub_of_bytes(stub: Any) -> Any:
    """Return ModelInfer of bytes as they are, on the stub's channel."""
    return stub.channel.unary_unary(f"/{SERVICE}/ModelInfer")


def test_a_message_above_the_bound_is_refused(stub: Any, client: Any) -> None:
    code, words = refused(lambda: stub.ModelInfer(changed(raw_input_contents=[bytes(5 << 20)])))
    assert code is Code.RESOURCE_EXHAUSTED, words
    with pytest.raises(InferenceServerException, match="ompress"):
        client.infer("spindle-anomaly", window(), compression_algorithm="gzip")
    client.infer("spindle-anomaly", window())


def test_a_stream_answers_in_order_and_goes_on_after_errors(client: Any, theirs: Any) -> None:
    for one in (client, theirs):
        answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
        one.start_stream(callback=lambda result, error, answers=answers: answers.put((result, error)))
        for number in range(6):
            model = "nobody" if number == 2 else "spindle-anomaly"
            one.async_stream_infer(model, window(), request_id=str(number), enable_empty_final_response=number == 3)
        found = [answers.get(timeout=HANG_S) for _ in range(6)]
        one.stop_stream()
        if one is client:
            assert "nobody" in str(found[2][1])
            good = [result.get_response() for result, error in found if error is None]
            assert [response.id for response in good] == ["0", "1", "3", "4", "5"]
            assert all(response.parameters["triton_final_response"].bool_param for response in good)
        else:
            wanted = {result.get_response().id: result.get_response() for result, error in found if error is None}
    assert all(response.raw_output_contents == wanted[response.id].raw_output_contents for response in good)
    assert all(response == wanted[response.id] for response in good)


def test_a_failed_request_of_a_stream_says_which(stub: Any) -> None:
    sent = [changed(id="a", model_name="nobody"), changed(id="b")]
    first, second = list(stub.ModelStreamInfer(iter(sent)))
    assert (first.infer_response.id, first.error_message.partition(":")[0]) == ("a", "model-unknown")
    assert (second.infer_response.id, second.error_message) == ("b", "")


async def test_the_asynchronous_client_works_too(both: tuple[Inference, str]) -> None:
    async with triton_aio.InferenceServerClient(both[1]) as client:
        assert await client.is_server_ready()
        answers = await asyncio.gather(
            *(client.infer("spindle-anomaly", window(), request_id=str(n)) for n in range(8))
        )
        assert [answer.get_response().id for answer in answers] == list(map(str, range(8)))

        async def requests() -> Any:
            for number in range(4):
                yield {"model_name": "spindle-anomaly", "inputs": window(), "request_id": str(number)}

        seen = [result.get_response().id async for result, error in client.stream_infer(requests()) if error is None]
        assert seen == list(map(str, range(4)))


def place(tensor: Any, size: int, offset: int = 0) -> Any:
    tensor.set_shared_memory("mine", size, offset=offset)
    return tensor


@pytest.fixture
def region(client: Any) -> Iterator[Any]:
    """A region with the window in it, and room for an answer behind it."""
    key = f"/{PREFIX}window"
    handle = shared_memory.create_shared_memory_region("mine", key, 2 * WINDOW.nbytes)
    shared_memory.set_shared_memory_region(handle, [WINDOW])
    yield handle
    client.unregister_system_shared_memory()
    shared_memory.destroy_shared_memory_region(handle)


def until_forgotten(theirs: Any) -> None:
    """Triton answers a request before it lets go of its memory, and refuses to forget a region until then."""

    def is_forgotten() -> bool:
        try:
            theirs.unregister_system_shared_memory("mine")
        except InferenceServerException as error:
            if "currently in use" not in str(error):
                raise
            return False
        return True

    block_until(is_forgotten)


def test_shared_memory_is_taken_as_by_http(service: Inference, client: Any, theirs: Any, region: Any) -> None:
    answers = []
    for one in (theirs, client):
        shared_memory.set_shared_memory_region(region, [WINDOW, np.zeros(4, np.float32)])
        one.register_system_shared_memory("mine", f"/{PREFIX}window", 2 * WINDOW.nbytes)
        status = one.get_system_shared_memory_status().regions["mine"]
        assert (status.key, status.byte_size) == (f"/{PREFIX}window", 2 * WINDOW.nbytes)
        given = [place(triton_grpc.InferInput("window", [1, 64, 4], "FP32"), WINDOW.nbytes)]
        wanted = [place(triton_grpc.InferRequestedOutput("score"), 4, WINDOW.nbytes)]
        found = one.infer("spindle-anomaly", given, outputs=wanted).get_response()
        answers.append((found, shared_memory.get_contents_as_numpy(region, np.float32, [1], WINDOW.nbytes).tolist()))
        if one is client:
            assert [region["name"] for region in service.http.get("/v2/systemsharedmemory/status").json()] == ["mine"]
        until_forgotten(one) if one is theirs else one.unregister_system_shared_memory("mine")
    assert answers[0] == answers[1]
    assert answers[0][1] != [0.0]


@pytest.mark.usefixtures("region")
@pytest.mark.parametrize(
    ("told_", "code", "said"),
    [
        ({"key": "/other"}, Code.PERMISSION_DENIED, "shared-memory-refused"),
        ({"key": f"/{PREFIX}none"}, Code.INVALID_ARGUMENT, "shared-memory-invalid"),
        ({"byte_size": 2 * WINDOW.nbytes + 1}, Code.INVALID_ARGUMENT, "shared-memory-invalid"),
        ({"byte_size": 0}, Code.INVALID_ARGUMENT, "byte_size"),
        ({"offset": 2**63}, Code.INVALID_ARGUMENT, "2^63"),
        ({"name": ""}, Code.INVALID_ARGUMENT, "shared-memory-invalid"),
    ],
)
def test_what_cannot_be_registered(stub: Any, told_: dict[str, Any], code: Code, said: str) -> None:
    good = {"name": "mine", "key": f"/{PREFIX}window", "byte_size": 2 * WINDOW.nbytes}
    found, words = refused(
        lambda: stub.SystemSharedMemoryRegister(pb.SystemSharedMemoryRegisterRequest(**good | told_))
    )
    assert found is code
    assert said in words
    assert not stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest()).regions
    code, words = refused(lambda: stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest(name="mine")))
    assert (code, words.partition(":")[0]) == (Code.NOT_FOUND, "shared-memory-unknown")


def nothing_is_held(service: Inference) -> None:
    """Wait until every slot is free again."""
    for state in ("used", "quarantined"):
        sample = f'lineside_inference_arena_slots{{state="{state}"}}'
        block_until(lambda sample=sample: service.metric(sample) == 0, sample)


@pytest.fixture
def narrow(start_inference: Start, triton: TritonServer) -> Iterator[tuple[Inference, Any, Any]]:
    """A service with one place and one that waits, a client of it, and a request that takes its time."""
    limits = {"v2_concurrency": 1, "queue": 1}
    service, target = serving(start_inference, triton, limits=limits)
    with grpc.insecure_channel(target, options=NO_PROXY) as channel:
        request = pb.ModelInferRequest(model_name="slow", raw_input_contents=[IMAGE.tobytes()])
        request.inputs.add(name="x", datatype="FP32", shape=IMAGE.shape)
        stub = stubs.GRPCInferenceServiceStub(channel)
        stub.channel = channel
        yield service, stub, request


def ran(triton: TritonServer, at_least: int = 0) -> int:
    """Return how often Triton ran the slow model, which it counts a moment after it has answered."""

    def counted() -> int:
        told = httpx.get(f"{triton.http}/v2/models/slow/stats", trust_env=False).json()["model_stats"][0]
        return int(told["inference_count"])

    block_until(lambda: counted() >= at_least, f"{at_least} runs")
    return counted()


def test_above_the_queue_is_resource_exhausted_and_what_ended_waiting_never_runs(
    narrow: tuple[Inference, Any, Any], triton: TritonServer
) -> None:
    service, stub, request = narrow
    before = ran(triton)
    stub.ModelInfer(request, timeout=HANG_S)  # what is learned of a model once
    before = ran(triton, before + 1)
    running = [stub.ModelInfer.future(request, timeout=HANG_S) for _ in range(8)]
    codes = [call.code() for call in running]
    assert set(codes) == {Code.OK, Code.RESOURCE_EXHAUSTED}
    refusal = next(call for call in running if call.code() is Code.RESOURCE_EXHAUSTED)
    assert refusal.details().startswith("overloaded: ")
    expected = before + codes.count(Code.OK)
    before = ran(triton, expected)
    assert before == expected
    first, second = (stub.ModelInfer.future(request, timeout=HANG_S) for _ in range(2))
    second.cancel()
    assert first.code() is Code.OK
    stub.ModelInfer(request, timeout=HANG_S)
    assert ran(triton, before + 2) <= before + 3  # the other one was cancelled before or behind its turn
    late = changed(parameters={"timeout": pb.InferParameter(int64_param=1)})
    assert refused(lambda: stub.ModelInfer(late))[0] is Code.DEADLINE_EXCEEDED
    assert refused(lambda: stub.ModelInfer(request, timeout=0.001))[0] is Code.DEADLINE_EXCEEDED
    nothing_is_held(service)


def test_what_runs_ends_and_streams_at_rest_end_when_the_service_stops(
    narrow: tuple[Inference, Any, Any],
) -> None:
    service, stub, request = narrow
    sent: queue.Queue[Any] = queue.Queue()
    stream = stub.ModelStreamInfer(iter(sent.get, None))
    sent.put(RAW)
    assert next(stream).infer_response.outputs
    watch = stub.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )(health_pb2.HealthCheckRequest(service=SERVICE))
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    stub.ModelInfer(request, timeout=HANG_S)
    running = stub.ModelInfer.future(request, timeout=HANG_S)
    service.process.send_signal(signal.SIGTERM)
    assert running.code() in {Code.OK, Code.UNAVAILABLE}
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    with pytest.raises(grpc.RpcError) as ended:
        next(stream)
    assert ended.value.code() is Code.UNAVAILABLE
    sent.put(None)
    assert refused(lambda: stub.ModelInfer(RAW))[0] is Code.UNAVAILABLE
    assert service.process.wait(HANG_S) == 0


def test_only_who_has_a_token_may_call(start_inference: Start, triton: TritonServer, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    port = free_port()
    service = start_inference(
        triton={"url": triton.grpc},
        model_repository=str(triton.repository),
        http={"token_file": str(tokens)},
        grpc={"host": "0.0.0.0", "port": port},  # noqa: S104 - with a token
    )
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        assert client.is_server_live(headers={"authorization": f"Bearer {TOKEN}"})
        assert client.infer("spindle-anomaly", window(), headers={"authorization": f"bearer {TOKEN}"})
        for headers, said in (
            ({}, "token-missing"),
            ({"authorization": "Bearer wrong-token-0123456"}, "token-unknown"),
        ):
            for call in (client.is_server_live, lambda **more: client.infer("spindle-anomaly", window(), **more)):
                with pytest.raises(InferenceServerException, match=said):
                    call(headers=headers)
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=NO_PROXY) as channel:
        stub = stubs.GRPCInferenceServiceStub(channel)
        assert refused(lambda: next(stub.ModelStreamInfer(iter([RAW]))))[0] is Code.UNAUTHENTICATED
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"") == health_pb2.HealthCheckResponse(status="SERVING").SerializeToString()
        assert (
            refused(lambda: next(channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")))[0] is Code.UNAUTHENTICATED
        )
    assert TOKEN not in service.log.read_text()
