"""CaptureData's message as a capture: what its clients send, what is refused, and by which of the protocol's names."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sysv_ipc
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from lineside.edge_manager.protocol import agent_pb2 as pb
from lineside.errors import LinesideError
from lineside_inference.agent.capture_message import names_shared_memory, read
from lineside_inference.capture.capture_request import CaptureRequest, entry
from lineside_inference.errors import (
    CaptureInFuture,
    MessageInvalid,
    ModelHandle,
    SharedMemoryInvalid,
    SharedMemoryRefused,
)

NOW = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
FLOATS = struct.pack("<2f", 1.0, 2.0)
MIB = 1024 * 1024


def tensor(data: bytes = FLOATS, **metadata: Any) -> pb.Tensor:
    about = {"name": b"x", "data_type": pb.FLOAT32, "shape": [1, 2]} | metadata
    return pb.Tensor(tensor_metadata=pb.TensorMetadata(**about), byte_data=data)


def message(**fields: Any) -> pb.CaptureDataRequest:
    return pb.CaptureDataRequest(**{"model_handle": "surface-defect", "capture_id": "capture1700000000"} | fields)


def taken(*, strict: bool = False, max_bytes: int = MIB, **fields: Any) -> CaptureRequest:
    return read(message(**fields), NOW, strict=strict, max_bytes=max_bytes)


@pytest.fixture
def segment() -> Iterator[sysv_ipc.SharedMemory]:
    made = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=64, mode=0o600)
    made.write(FLOATS + bytes(range(56)))
    yield made
    made.detach()
    made.remove()


@pytest.mark.parametrize(
    "capture_id", ["capture1700000000", "ajap-1685563523430", "0198c1de-7a5f-7d9b-8f43-0a1b2c3d4e5f"]
)
def test_ids_of_edge_managers_clients_are_taken(capture_id: str) -> None:
    assert taken(capture_id=capture_id).capture_id == capture_id


@pytest.mark.parametrize("capture_id", ["", "-a", "a.b", "a b", "a" * 129, "ä"])
def test_other_ids_are_refused(capture_id: str) -> None:
    with pytest.raises(MessageInvalid, match=r"^capture_id"):
        taken(capture_id=capture_id)


@pytest.mark.parametrize("fields", [{"model_handle": "", "model_name": "m"}, {"model_handle": "m", "model_name": "m"}])
def test_a_model_is_named_by_handle_or_name(fields: dict[str, str]) -> None:
    assert taken(**fields).model == "m"


@pytest.mark.parametrize("fields", [{"model_handle": ""}, {"model_handle": "a", "model_name": "b"}])
def test_no_model_or_two_are_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ModelHandle):
        taken(**fields)


@pytest.mark.parametrize("timestamp", [None, pb.Timestamp(), pb.Timestamp(seconds=0, nanos=0)])
def test_without_a_timestamp_the_arrival_counts(timestamp: pb.Timestamp | None) -> None:
    capture = taken(inference_timestamp=timestamp)
    assert capture.inference_timestamp is None
    made = entry(capture, NOW, fleet="f", device="d", version=None, embed_limit=3072)
    assert b'"inferenceTime":"2026-11-22T02:30:00"' in made.body


def test_a_timestamp_is_read_to_the_microsecond() -> None:
    at = int(NOW.timestamp())
    capture = taken(inference_timestamp=pb.Timestamp(seconds=at, nanos=123_456_789))
    assert capture.inference_timestamp == NOW + timedelta(microseconds=123_456)


@pytest.mark.parametrize(
    ("seconds", "nanos", "kind"),
    [
        (int(NOW.timestamp()) + 5, 0, None),
        (int(NOW.timestamp()) + 6, 0, CaptureInFuture),
        (2**63 - 1, 0, CaptureInFuture),
        (-1, 0, MessageInvalid),
        (-(2**63), 0, MessageInvalid),
        (1, -1, MessageInvalid),
        (1, 1_000_000_000, MessageInvalid),
    ],
)
def test_a_timestamp_out_of_range_is_refused(seconds: int, nanos: int, kind: type[LinesideError] | None) -> None:
    timestamp = pb.Timestamp(seconds=seconds, nanos=nanos)
    if kind is None:
        taken(inference_timestamp=timestamp)
        return
    with pytest.raises(kind, match="inference_timestamp"):
        taken(inference_timestamp=timestamp)


def test_tensors_keep_name_datatype_shape_and_bytes() -> None:
    capture = taken(
        input_tensors=[tensor()], output_tensors=[tensor(b"\1\0", name=b"y", data_type=pb.INT16, shape=[1])]
    )
    one, other = capture.inputs[0], capture.outputs[0]
    assert (one.name, one.datatype, one.shape, one.data) == ("x", "FLOAT32", (1, 2), FLOATS)
    assert (other.name, other.datatype, other.shape, other.data) == ("y", "INT16", (1,), b"\1\0")
    assert capture.size == len(FLOATS) + 2


def test_a_tensor_without_metadata_is_its_bytes_under_its_usual_name() -> None:
    capture = taken(input_tensors=[tensor(), pb.Tensor(byte_data=b"abc")], output_tensors=[pb.Tensor(byte_data=b"")])
    assert [(one.name, one.datatype, one.shape) for one in capture.inputs] == [
        ("x", "FLOAT32", (1, 2)),
        ("Input-2", "UINT8", (3,)),
    ]
    assert (capture.outputs[0].name, capture.outputs[0].shape) == ("Output-1", (0,))


def test_a_tensor_without_a_shape_has_one_axis_unless_it_is_one_value() -> None:
    two, one = taken(input_tensors=[tensor(shape=[]), tensor(FLOATS[:4], shape=[])]).inputs
    assert (two.shape, one.shape) == ((2,), ())


def test_a_name_that_is_no_utf_8_is_kept_readable() -> None:
    capture = taken(input_tensors=[tensor(name=b"x\xff")])
    assert capture.inputs[0].name == r"x\xff"
    entry(capture, NOW, fleet="f", device="d", version=None, embed_limit=3072).body.decode()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"input_tensors": [tensor(FLOATS[:7])]},
            "^input_tensors.0: data has 7 bytes; FLOAT32 of shape .1, 2. needs 8",
        ),
        ({"input_tensors": [tensor(FLOATS[:7], shape=[])]}, "^input_tensors.0: data has 7 bytes"),
        ({"output_tensors": [tensor(shape=[-1, 2])]}, "^output_tensors.0: shape .* has a length below 0"),
        ({"output_tensors": [tensor(shape=[2**31 - 1] * 16)]}, "^output_tensors.0"),
        ({"output_tensors": [tensor(shape=[1] * 17)]}, "^output_tensors.0.shape"),
        ({"input_tensors": [tensor(), pb.Tensor()]}, "^input_tensors.1: has no data"),
        ({"inputs": [pb.AuxiliaryData(name="a")]}, "^inputs.0: has no data"),
        ({"outputs": [pb.AuxiliaryData(name="a" * 257, byte_data=b"")]}, "^outputs.0.name"),
        ({"input_tensors": [tensor()] * 65}, "^input_tensors"),
        ({"model_handle": "a/b"}, "^model_handle"),
    ],
)
def test_what_is_wrong_is_told_by_the_protocols_name(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(MessageInvalid, match=says):
        taken(**fields)


@pytest.mark.parametrize(
    ("field", "number", "says"),
    [
        ("data_type", 7, "data_type 7 is none of UINT8"),
        ("encoding", 4, "encoding 4 is none of CSV, JSON, NONE, BASE64"),
    ],
)
def test_words_that_the_protocol_has_not_are_refused(field: str, number: int, says: str) -> None:
    strange = (
        {"input_tensors": [tensor(data_type=number)]}
        if field == "data_type"
        else {"inputs": [pb.AuxiliaryData(encoding=number, byte_data=b"")]}
    )
    with pytest.raises(MessageInvalid, match=says):
        taken(**strange)


@pytest.mark.parametrize(
    ("encoding", "data", "written"),
    [
        ("CSV", b"1,2", ("CSV", "1,2")),
        ("JSON", b'{"a":1}', ("JSON", '{"a":1}')),
        ("JSON", b"{'a': 1}", ("JSON", "{'a': 1}")),
        ("CSV", b"\xff\xd8", ("BASE64", "/9g=")),
        ("JSON", b"\xff\xd8", ("BASE64", "/9g=")),
        ("NONE", b"\xff\xd8", ("NONE", "/9g=")),
        ("BASE64", b"\xff\xd8", ("BASE64", "/9g=")),
    ],
)
def test_auxiliary_data_is_written_as_its_encoding_says(encoding: str, data: bytes, written: tuple[str, str]) -> None:
    given = pb.AuxiliaryData(name="out.jpg", encoding=pb.Encoding.Value(encoding), byte_data=data)
    made = entry(taken(outputs=[given]), NOW, fleet="f", device="d", version=None, embed_limit=3072)
    assert f'"encoding":"{written[0]}","observedContentType":"jpg"'.encode() in made.body
    shown = written[1].replace('"', '\\"')
    assert f'"data":"{shown}"'.encode() in made.body


def test_shared_memory_is_copied_as_far_as_the_shape_or_the_size_says(segment: sysv_ipc.SharedMemory) -> None:
    segment.mode = 0o400
    handle = pb.SharedMemoryHandle(segment_id=segment.id)
    about = pb.TensorMetadata(name=b"x", data_type=pb.FLOAT32, shape=[1, 2])
    request = message(
        input_tensors=[pb.Tensor(tensor_metadata=about, shared_memory_handle=handle)],
        inputs=[
            pb.AuxiliaryData(shared_memory_handle=pb.SharedMemoryHandle(segment_id=segment.id, offset=8, size=3)),
            pb.AuxiliaryData(shared_memory_handle=pb.SharedMemoryHandle(segment_id=segment.id, offset=8)),
        ],
    )
    assert names_shared_memory(request)
    capture = read(request, NOW, strict=True, max_bytes=MIB)
    assert capture.inputs[0].data == FLOATS
    assert [one.data for one in capture.auxiliary_inputs] == [bytes(range(3)), bytes(range(56))]
    assert not names_shared_memory(message(input_tensors=[tensor()]))


def test_shared_memory_that_may_be_written_is_refused_with_strict_only(segment: sysv_ipc.SharedMemory) -> None:
    files = [pb.AuxiliaryData(shared_memory_handle=pb.SharedMemoryHandle(segment_id=segment.id, size=8))]
    assert taken(inputs=files).auxiliary_inputs[0].data == FLOATS
    with pytest.raises(SharedMemoryRefused):
        taken(inputs=files, strict=True)


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 65), (64, 1), (65, 0), (2**64 - 1, 0), (2**64 - 1, 2**64 - 1), (1, 2**64 - 1)]
)
def test_shared_memory_out_of_bounds_is_refused(segment: sysv_ipc.SharedMemory, offset: int, size: int) -> None:
    handle = pb.SharedMemoryHandle(segment_id=segment.id, offset=offset, size=size)
    with pytest.raises(SharedMemoryInvalid, match="64"):
        taken(inputs=[pb.AuxiliaryData(shared_memory_handle=handle)])


def test_shared_memory_of_one_message_is_bounded(segment: sysv_ipc.SharedMemory) -> None:
    files = [pb.AuxiliaryData(shared_memory_handle=pb.SharedMemoryHandle(segment_id=segment.id))] * 3
    assert taken(inputs=files[:2], max_bytes=128).size == 128
    with pytest.raises(MessageInvalid, match=r"inputs\.2: the capture names more shared memory"):
        taken(inputs=files, max_bytes=191)


def answered(request: pb.CaptureDataRequest) -> CaptureRequest | None:
    """Return the capture, None where it is refused; any other error is a fault."""
    with suppress(LinesideError):
        return read(request, NOW, strict=False, max_bytes=MIB)
    return None


@given(st.binary(max_size=200))
def test_no_message_is_answered_by_a_fault(noise: bytes) -> None:
    with suppress(DecodeError):
        answered(pb.CaptureDataRequest.FromString(noise))


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "model_handle": st.text(max_size=8),
        "model_name": st.text(max_size=8),
        "capture_id": st.text(max_size=8),
        "inference_timestamp": st.builds(
            pb.Timestamp, seconds=st.integers(-(2**63), 2**63 - 1), nanos=st.integers(-(2**31), 2**31 - 1)
        ),
        "input_tensors": st.lists(
            st.builds(
                lambda name, kind, shape, data: tensor(data, name=name, data_type=kind, shape=shape),
                st.binary(max_size=4),
                st.integers(-1, 9),
                st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
                st.binary(max_size=16),
            ),
            max_size=2,
        ),
        "inputs": st.lists(
            st.builds(
                pb.AuxiliaryData,
                name=st.text(max_size=4),
                encoding=st.integers(-1, 5),
                byte_data=st.binary(max_size=16),
            ),
            max_size=2,
        ),
    },
)


@given(FIELDS)
def test_no_field_is_answered_by_a_fault(fields: dict[str, Any]) -> None:
    capture = answered(message(**fields))
    if capture is not None:
        entry(capture, NOW, fleet="f", device="d", version=None, embed_limit=3072)


def test_ids_of_segments_that_cannot_be_are_refused() -> None:
    for segment_id in (2**31, 2**64 - 1):
        handle = pb.SharedMemoryHandle(segment_id=segment_id)
        with pytest.raises(SharedMemoryInvalid, match=str(segment_id)):
            taken(inputs=[pb.AuxiliaryData(shared_memory_handle=handle)])
