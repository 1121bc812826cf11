"""The bytes of requests and answers against those of Protocol Buffers' own library."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from lineside_inference.errors import MessageInvalid
from lineside_inference.grpc_v2.wire import in_stream, join, split

RAW = st.lists(st.binary(max_size=300), max_size=5)


@given(RAW, st.text(max_size=200), st.lists(st.text(max_size=5), max_size=3))
def test_a_request_is_parted_into_its_head_and_its_tensors(raw: list[bytes], known: str, names: list[str]) -> None:
    message = pb.ModelInferRequest(model_name="m", id=known, raw_input_contents=raw)
    for name in names:
        message.inputs.add(name=name, datatype="FP32", shape=[1, 2])
    head, parts = split(message.SerializeToString(), 64)
    assert [bytes(part) for part in parts] == raw
    assert all(not len(part) or part.obj is not None for part in parts)
    message.ClearField("raw_input_contents")
    assert pb.ModelInferRequest.FromString(head) == message


def test_tensors_are_found_wherever_they_stand() -> None:
    first, last = (
        pb.ModelInferRequest(raw_input_contents=[b"a"]).SerializeToString(),
        pb.ModelInferRequest(raw_input_contents=[b"b"]).SerializeToString(),
    )
    head, parts = split(first + pb.ModelInferRequest(model_name="m").SerializeToString() + last, 8)
    assert [bytes(part) for part in parts] == [b"a", b"b"]
    assert pb.ModelInferRequest.FromString(head).model_name == "m"


@given(st.binary(max_size=40))
def test_whatever_comes_is_parted_or_refused_as_the_library_does(body: bytes) -> None:
    try:
        head, parts = split(body, 64)
    except MessageInvalid:
        return
    try:
        whole = pb.ModelInferRequest.FromString(body)
    except DecodeError:  # what the head says wrongly is found when that is read
        return
    assert [bytes(part) for part in parts] == list(whole.raw_input_contents)
    whole.ClearField("raw_input_contents")
    assert pb.ModelInferRequest.FromString(head) == whole


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\x3a\x05abc", "2 bytes too early"),
        (b"\x3a", "no whole number"),
        (b"\xff" * 11, "no whole number"),
        (b"\x3b", "begins no field"),
        (b"\x3a\x00" * 9, "more than 8 fields"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(MessageInvalid, match=said):
        split(body, 8)


@given(RAW)
def test_an_answer_is_the_library_s(raw: list[bytes]) -> None:
    message = pb.ModelInferResponse(model_name="m", model_version="1")
    head = message.SerializeToString()
    message.raw_output_contents.extend(raw)
    assert pb.ModelInferResponse.FromString(join(head, raw)) == message
    told = pb.ModelStreamInferResponse.FromString(in_stream(head, raw))
    assert told == pb.ModelStreamInferResponse(infer_response=message)
