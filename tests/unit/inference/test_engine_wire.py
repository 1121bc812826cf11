from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from lineside_inference.engine.arena import Arena
from lineside_inference.engine.message import Reply
from lineside_inference.engine.wire import Layout, ask, batch_axes, input_view, read_outputs
from lineside_inference.errors import EngineFailed
from lineside_inference.models.card import Card


def metadata(shape: list[int], datatype: str = "FP32", name: str = "image", output: str = "logits") -> object:
    tensor = pb.ModelMetadataResponse.TensorMetadata
    return pb.ModelMetadataResponse(
        inputs=[tensor(name=name, datatype=datatype, shape=shape)], outputs=[tensor(name=output, datatype="FP32")]
    )


def test_the_batch_dimension_is_known_by_the_shape(make_card: Callable[..., Card]) -> None:
    for served, axes in (
        ([-1, 3, 8, 12], 1),
        ([3, 8, 12], 0),
        ([-1, 3, -1, -1], 1),
        ([1, 3, 8, 12], 1),  # max_batch_size 0, dims [1, 3, 8, 12]: the commonest export
        ([-1, 1, 3, 8, 12], 2),
    ):
        assert batch_axes(make_card(), metadata(served)) == axes


@pytest.mark.parametrize(
    ("served", "said"),
    [
        (metadata([-1, 3, 9, 12]), r"shape \[-1, 3, 9, 12\] in Triton, \[3, 8, 12\] in its card"),
        (metadata([4, 3, 8, 12]), r"shape \[4, 3, 8, 12\] in Triton.*Export it with a batch of 1"),
        (metadata([8, 12]), r"shape \[8, 12\] in Triton"),
        (metadata([3, 8, 12], "FP16"), "is FP16 in Triton, FP32 in its card"),
        (metadata([3, 8, 12], name="x"), r"takes \['x'\]"),
        (metadata([3, 8, 12], output="y"), r"gives \['y'\]"),
    ],
)
def test_a_model_unlike_its_card_is_named(make_card: Callable[..., Card], served: object, said: str) -> None:
    with pytest.raises(EngineFailed, match=said):
        batch_axes(make_card(), served)


def test_shared_memory_carries_names_and_offsets_only(make_card: Callable[..., Card], tmp_path: Path) -> None:
    card, arena = make_card(), Arena(slot_bytes=10_000, slots=2, folder=tmp_path)
    layout, slot = Layout.of(card), arena.slots[1]
    request = ask(card, layout, slot, region="r", axes=1)
    place = request.inputs[0].parameters
    assert list(request.inputs[0].shape) == [1, 3, 8, 12]
    assert place["shared_memory_offset"].int64_param == slot.offset
    assert place["shared_memory_byte_size"].int64_param == 3 * 8 * 12 * 4
    assert request.outputs[0].parameters["shared_memory_offset"].int64_param == slot.offset + layout.outputs[0].at
    assert not request.raw_input_contents


def test_a_request_has_the_axes_of_the_model(make_card: Callable[..., Card], tmp_path: Path) -> None:
    card, arena = make_card(), Arena(slot_bytes=10_000, slots=1, folder=tmp_path)
    for axes, shape in ((0, [3, 8, 12]), (1, [1, 3, 8, 12]), (2, [1, 1, 3, 8, 12])):
        request = ask(card, Layout.of(card), arena.slots[0], region=None, axes=axes)
        assert list(request.inputs[0].shape) == shape


def test_the_output_is_read_from_either_place(make_card: Callable[..., Card], tmp_path: Path) -> None:
    card, arena = make_card(), Arena(slot_bytes=10_000, slots=1, folder=tmp_path)
    layout, slot = Layout.of(card), arena.slots[0]
    values = np.array([[1, 2, 3]], np.float32)
    described = [pb.ModelInferResponse.InferOutputTensor(name="logits", datatype="FP32", shape=[1, 3])]
    slot.memory[layout.outputs[0].at : layout.outputs[0].at + 12] = np.frombuffer(values.tobytes(), np.uint8)
    head = pb.ModelInferResponse(outputs=described)
    shared = read_outputs(Reply(head, ()), card, layout, slot)
    inside = read_outputs(Reply(head, [values.tobytes()]), card, layout, None)
    slot.memory[:] = 0
    assert shared["logits"].tolist() == inside["logits"].tolist() == [[1, 2, 3]]


def test_an_answer_without_the_output_is_named(make_card: Callable[..., Card]) -> None:
    card = make_card()
    with pytest.raises(EngineFailed, match="no output 'logits'"):
        read_outputs(Reply(pb.ModelInferResponse(), ()), card, Layout.of(card), None)
    described = [pb.ModelInferResponse.InferOutputTensor(name="logits", datatype="FP32", shape=[1, 3])]
    with pytest.raises(EngineFailed, match="more than came"):
        read_outputs(Reply(pb.ModelInferResponse(outputs=described), ()), card, Layout.of(card), None)


def test_the_input_is_a_view_of_the_slot(make_card: Callable[..., Card], tmp_path: Path) -> None:
    card, arena = make_card(), Arena(slot_bytes=10_000, slots=1, folder=tmp_path)
    input_view(card, Layout.of(card), arena.slots[0])[...] = 1.0
    assert arena.slots[0].memory[:4].tobytes() == np.float32(1).tobytes()
