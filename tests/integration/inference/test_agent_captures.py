"""CaptureData and GetCaptureDataStatus over the agent's socket, by clients of both versions, on a real spool."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import sysv_ipc

from lineside.spool import Spool, SpoolSettings
from tests.support.agent_client import AgentClient, code_of
from tests.support.agent_service import agent_settings
from tests.support.triton_server import TritonServer, running_triton
from tests.support.waiting import block_until

Start = Callable[..., Any]
Code = grpc.StatusCode
MODEL = "surface-defect"
X = np.arange(6, dtype=np.float32).reshape(1, 6)
IN_PROGRESS, SUCCESS, FAILURE = 2, 1, 0


def capture_id() -> str:
    return f"capture{os.urandom(6).hex()}"


def spool_of(folder: Path, **settings: Any) -> Spool:
    return Spool.open(SpoolSettings.model_validate({"folder": folder, **settings}))


def capture(client: AgentClient, key: str | None = None, *, model: str = MODEL, **fields: Any) -> str:
    named = {"model_handle": model} if client.version == "2022" else {"model_name": model}
    key = key or capture_id()
    client.CaptureData(capture_id=key, **named, **fields)
    return key


def status(client: AgentClient, key: str) -> int:
    return int(client.GetCaptureDataStatus(capture_id=key).status)


def auxiliary(client: AgentClient) -> Any:
    return client.of.AuxiliaryData if client.version == "2022" else client.of.AuxilaryData


def deliver(spool: Spool, *, refuse: bool = False) -> None:
    """Have destination cloud take all that waits, or refuse it for good."""
    for run in spool.unsealed():
        spool.seal(run, 1000, 10**9)
    while lease := spool.lease("cloud"):
        if refuse:
            spool.refuse(lease, "400 MalformedXML")
        else:
            spool.confirm(lease)


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with running_triton(tmp_path_factory.mktemp("triton")) as server:
        yield server


def started(start: Start, triton: TritonServer, place: Path, **edge_manager: Any) -> Any:
    service = start(
        "/livez",
        thing="box-7",
        triton={"url": triton.grpc},
        spool={"folder": str(place / "spool")},
        edge_manager=agent_settings(place / "agent.sock", **edge_manager),
    )
    block_until((place / "agent.sock").exists)
    return service


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agent")


@pytest.fixture(scope="module")
def service(start_shared: Start, triton: TritonServer, place: Path) -> Any:
    return started(start_shared, triton, place)


@pytest.fixture(params=["2021", "2022"])
def client(request: Any, service: Any, place: Path) -> Iterator[AgentClient]:
    assert service.process.poll() is None
    with AgentClient(place / "agent.sock", request.param) as client:
        yield client


@pytest.fixture
def forwarder(place: Path, service: Any) -> Iterator[Spool]:
    """The forwarder's side of the service's spool, with everything delivered so far."""
    assert service.process.poll() is None
    with spool_of(place / "spool", refusals=1) as spool:
        spool.register(["cloud"])
        deliver(spool)
        yield spool


def test_a_capture_is_on_the_disk_when_it_is_answered(client: AgentClient, forwarder: Spool) -> None:
    made = auxiliary(client)
    key = capture(
        client,
        f"ajap-{capture_id()}",
        input_tensors=[client.tensor("x", X)],
        output_tensors=[client.tensor("y", X[:, :1])],
        inputs=[made(name="in.jpg", encoding=2, byte_data=b"\xff\xd8" + bytes(10_000))],
        outputs=[made(name="Output-2", encoding=1, byte_data=b'{"a": 1}')],
    )
    (record,) = forwarder.iterate()
    about = json.loads(record.body)
    assert (record.key, record.stream, about["eventMetadata"]["deviceFleetName"]) == (key, MODEL, "test-fleet")
    assert (about["eventMetadata"]["deviceId"], about["eventMetadata"]["modelVersion"]) == ("box-7", "1")
    (tensor,) = about["deviceFleetInputs"]
    assert (tensor["name"], tensor["observedContentType"]) == ("x", "Tensor[FLOAT32; 1, 6]")
    assert about["deviceFleetOutputs"][0]["data"] == "AAAAAA=="
    assert about["deviceFleetAuxiliaryOutputs"][0]["data"] == '{"a": 1}'
    with forwarder.open_blob(record.blobs[0]) as blob:
        assert blob.read() == b"\xff\xd8" + bytes(10_000)


def test_its_status_follows_it_to_the_destination(client: AgentClient, forwarder: Spool) -> None:
    key = capture(client)
    assert status(client, key) == IN_PROGRESS
    deliver(forwarder)
    assert status(client, key) == SUCCESS
    refused = capture(client)
    deliver(forwarder, refuse=True)
    assert status(client, refused) == FAILURE
    forwarder.retry("cloud")
    deliver(forwarder)


def test_tensors_and_files_of_shared_memory_are_copied(client: AgentClient, forwarder: Spool) -> None:
    segment = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=64, mode=0o600)
    try:
        segment.write(X.tobytes())
        segment.mode = 0o400
        handle = client.of.SharedMemoryHandle(segment_id=segment.id)
        tensor = client.of.Tensor(tensor_metadata=client.metadata("x", X), shared_memory_handle=handle)
        file = auxiliary(client)(name="raw", encoding=3, shared_memory_handle=handle)
        capture(client, input_tensors=[tensor], inputs=[file])
        segment.detach()
    finally:
        segment.remove()
    (record,) = forwarder.iterate()
    about = json.loads(record.body)
    assert len(about["deviceFleetInputs"][0]["data"]) == 32
    assert len(about["deviceFleetAuxiliaryInputs"][0]["data"]) == 88


def test_an_id_is_taken_once_however_many_ask(client: AgentClient, forwarder: Spool) -> None:
    key = capture_id()
    with ThreadPoolExecutor(6) as threads:
        codes = [code for code, _words in threads.map(lambda _: code_of(lambda: capture(client, key)), range(6))]
    assert sorted(code.name for code in codes) == ["ALREADY_EXISTS"] * 5 + ["OK"]
    assert [record.key for record in forwarder.iterate()] == [key]
    deliver(forwarder)
    assert code_of(lambda: capture(client, key))[0] is Code.ALREADY_EXISTS


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        ({"key": "not.an.id"}, Code.INVALID_ARGUMENT, "capture_id"),
        ({"model": "never-seen"}, Code.NOT_FOUND, "never-seen"),
        ({"at": 32503680000}, Code.OUT_OF_RANGE, "inference_timestamp"),
        ({"shape": [7]}, Code.INVALID_ARGUMENT, "input_tensors.0: data has 24 bytes"),
    ],
)
def test_what_is_refused_has_the_protocols_code(
    client: AgentClient, forwarder: Spool, fields: dict[str, Any], code: Code, says: str
) -> None:
    tensor = client.tensor("x", X)
    if "shape" in fields:
        tensor.tensor_metadata.shape[:] = fields["shape"]
    at = client.of.Timestamp(seconds=fields.get("at", 0))
    found, words = code_of(
        lambda: capture(
            client,
            fields.get("key"),
            model=fields.get("model", MODEL),
            input_tensors=[tensor],
            inference_timestamp=at,
        )
    )
    assert (found, says in words) == (code, True), words
    assert list(forwarder.iterate()) == []


def test_an_id_that_was_never_taken_is_not_found(client: AgentClient) -> None:
    for key in ("never-seen", "", "a" * 300):
        assert code_of(lambda key=key: status(client, key))[0] is Code.NOT_FOUND


def test_without_network_a_capture_is_kept(client: AgentClient, forwarder: Spool) -> None:
    forwarder.report("cloud", "BACKOFF", "no route to host")
    assert status(client, capture(client)) == IN_PROGRESS


def test_strict_refuses_as_the_agent_did(start_inference: Start, triton: TritonServer, tmp_path: Path) -> None:
    cloud = {"CaptureDataDestination": "Cloud", "BucketName": "sagemaker-plant"}
    started(start_inference, triton, tmp_path, strict=True, CaptureDataBatchSize=1, CaptureDataBufferSize=2, **cloud)
    with AgentClient(tmp_path / "agent.sock") as client, spool_of(tmp_path / "spool") as spool:
        code, words = code_of(lambda: capture(client))
        assert (code, "no forwarder runs here" in words) == (Code.FAILED_PRECONDITION, True)
        spool.register(["cloud"])
        spool.report("cloud", "BACKOFF", "no route to host")
        code, words = code_of(lambda: capture(client))
        assert (code, "no route to host" in words) == (Code.FAILED_PRECONDITION, True)
        spool.report("cloud", "ONLINE", "")
        with ThreadPoolExecutor(5) as threads:
            codes = [code.name for code, _words in threads.map(lambda _: code_of(lambda: capture(client)), range(5))]
        assert sorted(codes) == ["OK"] * 2 + ["RESOURCE_EXHAUSTED"] * 3
        deliver(spool)
        capture(client)


def test_without_strict_more_than_the_buffer_s_size_is_kept(
    start_inference: Start, triton: TritonServer, tmp_path: Path
) -> None:
    """Where the agent refused the third, strict does (above); the spool's own bound counts here."""
    started(start_inference, triton, tmp_path, CaptureDataBatchSize=1, CaptureDataBufferSize=2)
    with AgentClient(tmp_path / "agent.sock") as client, spool_of(tmp_path / "spool") as spool:
        keys = [capture(client, input_tensors=[client.tensor("x", X)]) for _ in range(5)]
        assert [record.key for record in spool.iterate()] == keys
        assert {status(client, key) for key in keys} == {IN_PROGRESS}


def test_where_the_spool_is_full_a_capture_is_refused_and_what_is_kept_stays(
    start_inference: Start, triton: TritonServer, tmp_path: Path
) -> None:
    bound = {"folder": str(tmp_path / "spool"), "max_bytes": 1024 * 1024, "when_full": "refuse"}
    start_inference(
        "/livez", triton={"url": triton.grpc}, spool=bound, edge_manager=agent_settings(tmp_path / "agent.sock")
    )
    block_until((tmp_path / "agent.sock").exists)
    with AgentClient(tmp_path / "agent.sock") as client, spool_of(tmp_path / "spool") as spool:
        file = auxiliary(client)(name="in.jpg", encoding=2, byte_data=os.urandom(150_000))
        kept: list[str] = []
        while True:
            code, words = code_of(lambda: kept.append(capture(client, inputs=[file])))
            if code is not Code.OK:
                break
        assert (code, words.startswith("spool-full: ")) == (Code.RESOURCE_EXHAUSTED, True), words
        assert len(kept) > 3
        assert [record.key for record in spool.iterate()] == kept
        assert {status(client, key) for key in kept} == {IN_PROGRESS}


def test_without_a_spool_it_says_what_to_set(start_inference: Start, triton: TritonServer, tmp_path: Path) -> None:
    start_inference("/livez", triton={"url": triton.grpc}, edge_manager=agent_settings(tmp_path / "agent.sock"))
    block_until((tmp_path / "agent.sock").exists)
    with AgentClient(tmp_path / "agent.sock") as client:
        code, words = code_of(lambda: capture(client))
        assert (code, "spool.folder" in words) == (Code.UNAVAILABLE, True)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_what_was_acknowledged_survives(
    start_inference: Start, triton: TritonServer, tmp_path: Path, how: signal.Signals
) -> None:
    service = started(start_inference, triton, tmp_path)
    taken: list[str] = []
    enough = threading.Event()

    def send() -> None:
        with AgentClient(tmp_path / "agent.sock") as client:
            while True:
                try:
                    taken.append(capture(client, input_tensors=[client.tensor("x", X)]))
                except grpc.RpcError:
                    return
                if len(taken) > 50:
                    enough.set()

    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(send)
        block_until(enough.is_set)
        service.process.send_signal(how)
        service.process.wait()
    assert len(taken) == len(set(taken))
    with spool_of(tmp_path / "spool") as spool:
        kept = [record.key for record in spool.iterate()]
        assert len(kept) == len(set(kept))
        assert set(taken) <= set(kept)
    (tmp_path / "agent.sock").unlink(missing_ok=True)
    started(start_inference, triton, tmp_path)
    with AgentClient(tmp_path / "agent.sock") as client:
        assert {status(client, key) for key in taken} == {IN_PROGRESS}
        assert code_of(lambda: capture(client, taken[0]))[0] is Code.ALREADY_EXISTS
