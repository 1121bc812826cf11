"""Elements of BYTES, raw and typed, lie where Triton reads them; what does not fit is refused."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tritonclient.grpc import service_pb2 as pb

from lineside_inference.dataplane.admission import Bodies
from lineside_inference.dataplane.workers import Workers
from lineside_inference.deadline import Deadline
from lineside_inference.engine.client_memory import ClientMemory
from lineside_inference.errors import TensorValues
from lineside_inference.grpc_v2.intake import Intake
from lineside_inference.rpc.answering import Call
from lineside_inference.settings import LimitSettings

ELEMENTS = [b"", b"a", "\u00e9".encode(), b"\x00\xff"]
PACKED = b"".join(len(one).to_bytes(4, "little") + one for one in ELEMENTS)


@pytest.fixture
def intake(tmp_path: Path) -> Iterator[Intake]:
    workers = Workers(1)
    limits = LimitSettings()
    link: Any = SimpleNamespace()
    yield Intake(limits, workers, ClientMemory(link, limits, tmp_path))
    workers.close()


def call(*, is_clients: bool = False) -> Call:
    with Bodies(1 << 20, small=1 << 20).one(1) as body:
        return Call(time.monotonic(), Deadline(time.monotonic() + 60), is_clients, body)


def request(*, raw: bytes | None = None, **contents: Any) -> pb.ModelInferRequest:
    made = pb.ModelInferRequest(model_name="m", raw_input_contents=[] if raw is None else [raw])
    made.inputs.add(name="x", datatype="BYTES", shape=[2, 2])
    if contents:
        made.inputs[0].contents.CopyFrom(pb.InferTensorContents(**contents))
    return made


@pytest.mark.parametrize("given", [request(raw=PACKED), request(bytes_contents=ELEMENTS)])
async def test_elements_of_bytes(intake: Intake, given: pb.ModelInferRequest) -> None:
    asked, buffers = await intake.take(given.SerializeToString(), call(), None)
    assert (asked.name, asked.version, asked.request.binary) == ("m", "", True)
    assert bytes(buffers.memory[: len(PACKED)]) == PACKED
    assert buffers.spans == [(0, len(PACKED))]


@pytest.mark.parametrize("given", [request(raw=PACKED + b"\0\0\0\0"), request(bytes_contents=[*ELEMENTS, b""])])
async def test_another_number_of_elements_is_refused(intake: Intake, given: pb.ModelInferRequest) -> None:
    with pytest.raises(TensorValues, match="do not give 4 elements"):
        await intake.take(given.SerializeToString(), call(), None)


async def test_a_head_that_comes_again_is_the_same_request_and_a_deadline_goes_with_it(intake: Intake) -> None:
    body = request(raw=PACKED).SerializeToString()
    first, _ = await intake.take(body, call(), None)
    again, buffers = await intake.take(body, call(is_clients=True), None)
    assert again is first
    assert buffers.request.parameters["timeout"] in range(1, 60_000_001)
    named = request(raw=PACKED)
    named.parameters["timeout"].int64_param = 5
    _, buffers = await intake.take(named.SerializeToString(), call(is_clients=True), None)
    assert buffers.request.parameters == {"timeout": 5}
