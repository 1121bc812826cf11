"""Models whose answer is exact, made by the tests: an ONNX graph that gives constants, its configuration and card.

A graph adds 0 times the mean of its input to each constant, so that batching and shapes are real.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

SIDE = 64  # of the models' input
WIDTH, HEIGHT = 640, 480  # of the picture: ten times the input's width, with 8 rows of padding above and below
LABELS = ["nothing", "scratch", "pit"]
DEFECTS = ["scratch", "pit"]
TYPES = {np.dtype("f4"): ("FP32", TensorProto.FLOAT), np.dtype("f2"): ("FP16", TensorProto.FLOAT16)}
TYPES |= {np.dtype("i8"): ("INT64", TensorProto.INT64), np.dtype("u1"): ("UINT8", TensorProto.UINT8)}
Outputs = dict[str, np.ndarray]


def graph(outputs: Outputs) -> onnx.ModelProto:
    """Return a model from x [batch, 3, SIDE, SIDE] to these arrays, each with a batch dimension in front."""
    axes = helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=1)
    nodes, constants, infos = [axes], [numpy_helper.from_array(np.zeros(1, np.float32), "zero")], []
    nodes.append(helper.make_node("Mul", ["mean", "zero"], ["nil"]))
    for name, array in outputs.items():
        kind = TYPES[array.dtype][1]
        constants.append(numpy_helper.from_array(array, f"{name}_value"))
        constants.append(numpy_helper.from_array(np.ones(array.ndim + 1, np.int64), f"{name}_ones"))
        nodes.append(helper.make_node("Reshape", ["nil", f"{name}_ones"], [f"{name}_nil"]))
        nodes.append(helper.make_node("Cast", [f"{name}_nil"], [f"{name}_cast"], to=kind))
        nodes.append(helper.make_node("Add", [f"{name}_value", f"{name}_cast"], [name]))
        infos.append(helper.make_tensor_value_info(name, kind, [1, *array.shape]))
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    made = helper.make_model(
        helper.make_graph(nodes, "constant", [given], infos, constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )
    onnx.checker.check_model(made)
    return made


def write(repository: Path, name: str, outputs: Outputs, heads: Any, **fields: Any) -> None:
    """Write one model with its configuration and card; an output whose name begins with `any` has an open shape."""
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    data = graph(outputs).SerializeToString()
    (folder / "1" / "model.onnx").write_bytes(data)
    described = ", ".join(
        f'{{ name: "{output}" data_type: TYPE_{TYPES[array.dtype][0]} '
        f"dims: [ {', '.join(str(-1 if output.startswith('any') else size) for size in array.shape)} ] }}"
        for output, array in outputs.items()
    )
    (folder / "config.pbtxt").write_text(
        f'name: "{name}"\nbackend: "onnxruntime"\nmax_batch_size: 1\n'
        "instance_group [ { count: 1 kind: KIND_CPU } ]\n"
        f'input [ {{ name: "x" data_type: TYPE_FP32 dims: [ 3, {SIDE}, {SIDE} ] }} ]\noutput [ {described} ]\n'
    )
    image = {"width": SIDE, "height": SIDE, "fit": "letterbox"}
    card = {
        "schema": "lineside/card/1",
        "name": name,
        "version": "1",
        "description": "A constant.",
        "task": "raw",
        "input": {"name": "x", "kind": "image", "datatype": "FP32", "shape": [3, SIDE, SIDE], "image": image},
        "labels": LABELS,
        "defects": DEFECTS,
        "files": [{"path": "1/model.onnx", "sha256": hashlib.sha256(data).hexdigest()}],
        "licence": "Apache-2.0",
    }
    card |= {"outputs": heads} if isinstance(heads, list) else {"output": heads}
    (folder / "card.yaml").write_text(yaml.safe_dump(card | fields))
