from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lineside_inference.agent.packages import onnx_file
from lineside_inference.agent.packages.onnx_file import NotOnnx, Signature, Tensor, read_signature, signature_of
from tests.support import onnx_models
from tests.support.paths import ROOT

F32 = TensorProto.FLOAT


def read(data: bytes) -> Signature:
    return signature_of(lambda size, at: data[at : at + size], len(data))


def read_model(made: onnx.ModelProto) -> Signature:
    return read(made.SerializeToString())


def test_it_says_names_types_and_shapes_in_order() -> None:
    made = onnx_models.model(
        {"image": (F32, [1, 3, 224, 224]), "größe": (TensorProto.INT64, [2])},
        {"scores": (TensorProto.FLOAT16, ["batch", 10]), "labels": (TensorProto.STRING, [])},
    )
    assert read_model(made) == Signature(
        (Tensor("image", "TYPE_FP32", (1, 3, 224, 224)), Tensor("größe", "TYPE_INT64", (2,))),
        (Tensor("scores", "TYPE_FP16", (-1, 10)), Tensor("labels", "TYPE_STRING", ())),
        (),
    )


@pytest.mark.parametrize(("number", "name"), onnx_file.DATATYPES.items())
def test_the_datatypes_are_onnx_own(number: int, name: str) -> None:
    words = {"FLOAT": "FP32", "DOUBLE": "FP64", "FLOAT16": "FP16", "BFLOAT16": "BF16"}
    said = TensorProto.DataType.Name(number)
    assert name == f"TYPE_{words.get(said, said)}"
    assert read_model(onnx_models.model({"x": (number, [1])}, {"y": (F32, [1])})).inputs[0].datatype == name


def test_open_axes_are_minus_one_and_an_open_rank_is_none() -> None:
    made = onnx_models.model({"x": (F32, ["n", None, 4, 0])}, {"y": (F32, None)})
    made.graph.input[0].type.tensor_type.shape.dim.add().dim_value = -1  # as some exporters write an open axis
    found = read_model(made)
    assert found.inputs[0].shape == (-1, -1, 4, -1, -1)
    assert found.outputs[0].shape is None


def test_an_initializer_that_is_an_input_too_is_not_asked_for() -> None:
    made = onnx_models.model({"x": (F32, [1]), "weight": (F32, [1])}, {"y": (F32, [1])})
    made.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "weight"))
    assert [tensor.name for tensor in read_model(made).inputs] == ["x"]


def test_a_sparse_initializer_is_not_asked_for_either() -> None:
    made = onnx_models.model({"x": (F32, [1]), "weight": (F32, [3])}, {"y": (F32, [1])})
    values = helper.make_tensor("weight", F32, [1], [1.0])
    made.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, helper.make_tensor("places", TensorProto.INT64, [1], [2]), [3])
    )
    assert [tensor.name for tensor in read_model(made).inputs] == ["x"]


def test_files_with_tensors_beside_it_are_named_once(tmp_path: Path) -> None:
    made = onnx_models.scaling(2.0, weights=40_000)
    onnx.save_model(made, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    with (tmp_path / "m.onnx").open("rb") as stream:
        assert read_signature(stream.fileno()).external == ("m.data",)


@pytest.mark.parametrize("name", ["surface-defect", "spindle-anomaly"])
def test_it_agrees_with_the_onnx_package_on_the_models_of_the_bench(name: str) -> None:
    path = ROOT / "models" / name / "1" / "model.onnx"
    graph = onnx.load(path).graph
    with path.open("rb") as stream:
        found = read_signature(stream.fileno())
    for tensors, infos in ((found.inputs, graph.input), (found.outputs, graph.output)):
        assert [tensor.name for tensor in tensors] == [info.name for info in infos]
        assert [tensor.shape for tensor in tensors] == [
            tuple(axis.dim_value or -1 for axis in info.type.tensor_type.shape.dim) for info in infos
        ]


def test_weights_are_not_read() -> None:
    data = onnx_models.scaling(2.0, weights=20_000_000).SerializeToString()
    read_bytes = 0

    def read_at(size: int, at: int) -> bytes:
        nonlocal read_bytes
        read_bytes += size
        return data[at : at + size]

    assert signature_of(read_at, len(data)).inputs[0].name == "x"
    assert read_bytes < 100_000


def test_what_is_no_tensor_is_refused_by_its_name() -> None:
    made = onnx_models.model({"x": (F32, [1])}, {"label": (TensorProto.INT64, [1])})
    made.graph.output.append(
        helper.make_value_info(
            "probabilities", helper.make_sequence_type_proto(helper.make_tensor_type_proto(F32, [1]))
        )
    )
    with pytest.raises(NotOnnx, match="output 'probabilities' is no tensor"):
        read_model(made)


def test_a_datatype_that_triton_does_not_have_is_refused_by_its_number() -> None:
    made = onnx_models.model({"x": (TensorProto.COMPLEX64, [1])}, {"y": (F32, [1])})
    with pytest.raises(NotOnnx, match="input 'x' has ONNX's datatype 14"):
        read_model(made)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no graph"),
        (b"\x00", "not a protobuf field"),
        (b"\x3a\x0a\x00", "damaged, or cut off"),
        (b"\x3a", "within a number"),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "not a protobuf number"),
        (b"\x0b\x0c", "not a protobuf field"),  # a group, which proto3 does not have
        (b"\x3a\x02\x62\x00", "an output has no name"),
        (b"\x3a\x02\x0a\x00", "no output"),
        (b"PK\x03\x04 and so on", "not a protobuf field"),
    ],
)
def test_what_is_no_onnx_is_refused_with_a_reason(data: bytes, why: str) -> None:
    with pytest.raises(NotOnnx, match=why):
        read(data)


def test_a_file_that_is_cut_off_is_refused_wherever_it_ends() -> None:
    whole = onnx_models.model({"x": (F32, [1, 4])}, {"y": (F32, [1, 4])}).SerializeToString()
    expected = read(whole)
    for end in range(len(whole)):
        try:
            found = read(whole[:end])
        except NotOnnx:
            continue
        assert found == expected  # only what comes after the graph is missing


def test_a_file_that_shrinks_while_it_is_read_is_refused() -> None:
    data = onnx_models.scaling(2.0, weights=40_000).SerializeToString()
    with pytest.raises(NotOnnx, match="cut off while it was read"):
        signature_of(lambda size, at: data[at : min(at + size, 20_000)], len(data))


def test_fields_without_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "_MAX_FIELDS", 1000)
    with pytest.raises(NotOnnx, match="more than 1000 fields"):
        read(b"\x08\x01" * 1001)


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_nothing_else_happens(data: bytes) -> None:
    for bytes_ in (data, b"\x3a" + bytes([min(len(data), 127)]) + data[:127]):
        try:
            read(bytes_)
        except NotOnnx as error:
            assert str(error)  # noqa: PT017 - it may also be one


@given(st.data())
def test_a_damaged_model_is_refused_or_read(data: st.DataObject) -> None:
    whole = bytearray(onnx_models.scaling(2.0).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(whole))
    except NotOnnx as error:
        assert str(error)  # noqa: PT017 - it may also be one


names = st.text(min_size=1, max_size=12).filter(lambda name: name.encode("utf-8", "ignore").decode() == name)
shapes = st.lists(st.one_of(st.integers(1, 2**31 - 1), st.just("open"), st.none()), max_size=6)
tensors = st.dictionaries(
    names, st.tuples(st.sampled_from(sorted(onnx_file.DATATYPES)), shapes), min_size=1, max_size=4
)


@given(tensors, tensors)
def test_every_model_reads_as_the_onnx_package_wrote_it(inputs: dict, outputs: dict) -> None:
    found = read_model(onnx_models.model(inputs, outputs))
    for read_back, written in ((found.inputs, inputs), (found.outputs, outputs)):
        assert {tensor.name: (tensor.datatype, tensor.shape) for tensor in read_back} == {
            name: (onnx_file.DATATYPES[kind], tuple(axis if isinstance(axis, int) else -1 for axis in shape))
            for name, (kind, shape) in written.items()
        }
