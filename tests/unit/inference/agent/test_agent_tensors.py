"""Where a client's tensors go, and what is refused by name."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.edge_manager.protocol import agent_pb2 as pb
from lineside.errors import LinesideError
from lineside_inference.agent.signature import ModelTensor, Signature
from lineside_inference.agent.tensors import place
from lineside_inference.errors import TensorDatatype, TensorName, TensorShape, TensorValues


def model_tensor(name: str, datatype: str, *shape: int) -> ModelTensor:
    return ModelTensor(name, name.encode(), datatype, shape)


IMAGE = model_tensor("image", "FP32", -1, 3, 4)
MASK = model_tensor("mask", "BOOL", 2)
WORDS = model_tensor("words", "BYTES", -1)


def signature(*inputs: ModelTensor, batched: bool = False) -> Signature:
    return Signature(inputs, (), batched)


def tensor(name: bytes = b"", data: bytes | None = None, kind: int = pb.FLOAT32, shape: Any = (), **handle: int) -> Any:
    made = pb.Tensor()
    if name or shape:
        made.tensor_metadata.CopyFrom(pb.TensorMetadata(name=name, data_type=kind, shape=shape))
    if data is not None:
        made.byte_data = data
    if handle:
        made.shared_memory_handle.CopyFrom(pb.SharedMemoryHandle(**handle))
    return made


def placed(inputs: Signature, *tensors: Any) -> list[tuple[str, tuple[int, ...], int]]:
    found = place(tensors, inputs, max_strings=100)
    return [(one.input.name, one.shape, one.size) for one in found]


def test_tensors_are_placed_by_their_names_in_the_models_order() -> None:
    given_ = (tensor(b"mask", bytes(2), pb.UINT8, (2,)), tensor(b"image", bytes(96), shape=(2, 3, 4)))
    assert placed(signature(IMAGE, MASK), *given_) == [("image", (2, 3, 4), 96), ("mask", (2,), 2)]


def test_without_names_they_are_placed_by_their_order() -> None:
    found = placed(signature(IMAGE, MASK), tensor(data=bytes(96)), tensor(data=bytes(2)))
    assert found == [("image", (2, 3, 4), 96), ("mask", (2,), 2)]


def test_a_batch_beside_another_open_length_is_one() -> None:
    open_ = model_tensor("x", "INT16", -1, -1, 2)
    assert placed(signature(open_, batched=True), tensor(data=bytes(20))) == [("x", (1, 5, 2), 20)]
    with pytest.raises(TensorShape, match="do not say it"):
        placed(signature(open_), tensor(data=bytes(20)))


def test_shared_memory_without_a_size_has_that_of_its_shape() -> None:
    found = placed(signature(IMAGE), tensor(b"image", shape=(2, 3, 4), segment_id=7))
    assert found == [("image", (2, 3, 4), 96)]
    assert placed(signature(IMAGE, batched=True), tensor(segment_id=7)) == [("image", (1, 3, 4), 48)]
    with pytest.raises(TensorShape, match="do not say it"):
        placed(signature(IMAGE), tensor(segment_id=7))
    with pytest.raises(TensorShape, match="95 bytes"):
        placed(signature(IMAGE), tensor(b"image", shape=(2, 3, 4), segment_id=7, size=95))


def test_words_are_counted_by_their_lengths() -> None:
    data = b"\1\0\0\0a\0\0\0\0\2\0\0\0bc"
    assert placed(signature(WORDS), tensor(data=data)) == [("words", (3,), 15)]
    assert placed(signature(WORDS), tensor(b"words", data, pb.UINT8, (15,))) == [("words", (3,), 15)]
    assert placed(signature(WORDS), tensor(b"words", data, pb.UINT8, (3,))) == [("words", (3,), 15)]
    for shape in ((2,), (4,)):
        with pytest.raises(TensorValues, match="do not give"):
            placed(signature(WORDS), tensor(b"words", data, pb.UINT8, shape))
    with pytest.raises(TensorValues, match="more than 100"):
        placed(signature(WORDS), tensor(data=bytes(4 * 101)))
    with pytest.raises(TensorValues, match="do not give"):
        placed(signature(WORDS), tensor(data=b"\xff\xff\xff\xffa"))
    with pytest.raises(TensorShape, match="without a size"):
        placed(signature(WORDS), tensor(segment_id=7))


@pytest.mark.parametrize(
    ("given_", "error", "says"),
    [
        ((tensor(b"image", bytes(96), shape=(2, 3, 4)),), TensorName, r"1 tensors .* 'mask' as UINT8 \(for BOOL\)"),
        ((tensor(b"other", bytes(96)), tensor(data=bytes(2))), TensorName, "no input b'other'"),
        ((tensor(b"mask", bytes(2), pb.UINT8), tensor(data=bytes(2))), TensorName, "'mask' is given twice"),
        ((tensor(b"image", bytes(96), 9), tensor(data=bytes(2))), TensorDatatype, "'image' is 9"),
        ((tensor(b"image", bytes(95), shape=(2, 3, 4)), tensor()), TensorShape, "95 bytes. FLOAT32 .* needs 96"),
        ((tensor(b"image", bytes(96), shape=(-2, 3, 4)), tensor()), TensorShape, "below 0"),
        ((tensor(b"image", bytes(4), shape=[1] * 17), tensor()), TensorShape, "more than 16"),
        ((tensor(b"image", shape=(2, 3, 4)), tensor()), TensorValues, "'image' has no data"),
    ],
)
def test_what_is_wrong_is_refused_by_name(given_: Any, error: type[LinesideError], says: str) -> None:
    with pytest.raises(error, match=says):
        placed(signature(IMAGE, MASK), *given_)


TENSORS = st.builds(
    tensor,
    st.sampled_from([b"", b"image", b"mask", b"words", b"\xff"]),
    st.one_of(st.none(), st.binary(max_size=120)),
    st.integers(-1, 8),
    st.lists(st.sampled_from([-1, 0, 1, 2, 3, 4, 2**31 - 1]), max_size=4),
)


@settings(max_examples=300)
@given(st.lists(TENSORS, max_size=4))
def test_whatever_comes_is_placed_or_refused(tensors: list[Any]) -> None:
    inputs = signature(IMAGE, MASK, WORDS)
    try:
        found = place(tensors, inputs, max_strings=100)
    except (TensorName, TensorDatatype, TensorShape, TensorValues):
        return
    assert [one.input for one in found] == [IMAGE, MASK, WORDS]
    assert all(one.size == len(one.tensor.byte_data) for one in found)


def test_the_batch_is_told_as_one_and_other_open_lengths_as_they_are() -> None:
    made = signature(IMAGE, WORDS, batched=True)
    assert [list(one.shape) for one in made.metadata(made.inputs)] == [[1, 3, 4], [1]]
    made = signature(IMAGE, WORDS)
    assert [list(one.shape) for one in made.metadata(made.inputs)] == [[-1, 3, 4], [-1]]
