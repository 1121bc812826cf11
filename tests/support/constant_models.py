"""Models whose answer is exact, made by the tests: an ONNX graph that gives constants, its configuration and card.

A graph adds the mean of its input, 0 times where not said otherwise, to each constant: batching and shapes are real.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

SIDE = 64  # of the models' input
WIDTH, HEIGHT = 640, 480  # of the picture: ten times the input's width, with 8 rows of padding above and below
WORK = 1024  # rows of a matrix to multiply
LABELS = ["nothing", "scratch", "pit"]
DEFECTS = ["scratch", "pit"]
TYPES = {np.dtype("f4"): ("FP32", TensorProto.FLOAT), np.dtype("f2"): ("FP16", TensorProto.FLOAT16)}
TYPES |= {np.dtype("i8"): ("INT64", TensorProto.INT64), np.dtype("u1"): ("UINT8", TensorProto.UINT8)}
TYPES |= {np.dtype("i4"): ("INT32", TensorProto.INT32)}
Outputs = dict[str, np.ndarray]


def graph(outputs: Outputs, shape: tuple[int, ...], datatype: str, gain: float, work: int) -> onnx.ModelProto:
    """Return a model from x of this shape to these arrays; both with a batch dimension in front.

    To each value it adds `gain` times the mean of x. `work` is how many large matrices it multiplies before.
    """
    given = helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT)
    mean = helper.make_node("ReduceMean", ["floats"], ["mean"], keepdims=1)
    nodes, constants, infos = [given, mean], [numpy_helper.from_array(np.array([gain], np.float32), "gain")], []
    nodes.append(helper.make_node("Mul", ["mean", "gain"], ["nil"]))
    if work:
        constants.append(numpy_helper.from_array(np.zeros((WORK, WORK), np.float32), "matrix"))
        constants.append(numpy_helper.from_array(np.ones(2, np.int64), "pair"))
        nodes.append(helper.make_node("Reshape", ["nil", "pair"], ["cell"]))
        nodes.append(helper.make_node("Add", ["matrix", "cell"], ["product0"]))
        nodes += [
            helper.make_node("MatMul", [f"product{step}", "matrix"], [f"product{step + 1}"]) for step in range(work)
        ]
        nodes.append(helper.make_node("ReduceMean", [f"product{work}"], ["worked"], keepdims=1))
        nodes.append(helper.make_node("Reshape", ["worked", "single"], ["worked1"]))
        constants.append(numpy_helper.from_array(np.ones(1, np.int64), "single"))
        nodes.append(helper.make_node("Add", ["nil", "worked1"], ["done"]))
    source = "done" if work else "nil"
    for name, array in outputs.items():
        kind = TYPES[array.dtype][1]
        constants.append(numpy_helper.from_array(array, f"{name}_value"))
        constants.append(numpy_helper.from_array(np.ones(array.ndim + 1, np.int64), f"{name}_ones"))
        nodes.append(helper.make_node("Reshape", [source, f"{name}_ones"], [f"{name}_nil"]))
        nodes.append(helper.make_node("Cast", [f"{name}_nil"], [f"{name}_cast"], to=kind))
        nodes.append(helper.make_node("Add", [f"{name}_value", f"{name}_cast"], [name]))
        infos.append(helper.make_tensor_value_info(name, kind, [1, *array.shape]))
    kind = next(kind for name, kind in TYPES.values() if name == datatype)
    taken = helper.make_tensor_value_info("x", kind, [1, *shape])
    made = helper.make_model(
        helper.make_graph(nodes, "constant", [taken], infos, constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )
    onnx.checker.check_model(made)
    return made


def write(
    repository: Path,
    name: str,
    outputs: Outputs,
    heads: Any,
    *,
    datatype: str = "FP32",
    layout: str = "chw",
    fixed: bool = False,
    gain: float = 0.0,
    work: int = 0,
    config: str = "",
    **fields: Any,
) -> None:
    """Write one model with its configuration and card; an output whose name begins with `any` has an open shape.

    `fixed` has its batch of one in the shapes, as the usual export, else Triton adds it. `config` ends config.pbtxt.
    """
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    shape = (3, SIDE, SIDE) if layout == "chw" else (SIDE, SIDE, 3)
    data = graph(outputs, shape, datatype, gain, work).SerializeToString()
    (folder / "1" / "model.onnx").write_bytes(data)
    described = ", ".join(
        tensor(output, TYPES[array.dtype][0], [-1] * array.ndim if output.startswith("any") else array.shape, fixed)
        for output, array in outputs.items()
    )
    (folder / "config.pbtxt").write_text(
        f'name: "{name}"\nbackend: "onnxruntime"\nmax_batch_size: {0 if fixed else 1}\n'
        "instance_group [ { count: 1 kind: KIND_CPU } ]\n"
        f"input [ {tensor('x', datatype, shape, fixed)} ]\noutput [ {described} ]\n{config}\n"
    )
    image = {"width": SIDE, "height": SIDE, "fit": "letterbox", "layout": layout}
    card = {
        "schema": "lineside/card/1",
        "name": name,
        "version": "1",
        "description": "A constant.",
        "task": "raw",
        "input": {"name": "x", "kind": "image", "datatype": datatype, "shape": list(shape), "image": image},
        "labels": LABELS,
        "defects": DEFECTS,
        "files": [{"path": "1/model.onnx", "sha256": hashlib.sha256(data).hexdigest()}],
        "licence": "Apache-2.0",
    }
    card |= {"outputs": heads} if isinstance(heads, list) else {"output": heads}
    (folder / "card.yaml").write_text(yaml.safe_dump(card | fields))


def tensor(name: str, datatype: str, shape: Sequence[int], fixed: bool) -> str:
    """Return a tensor as config.pbtxt describes it."""
    dims = ", ".join(map(str, (1, *shape) if fixed else shape))
    return f'{{ name: "{name}" data_type: TYPE_{datatype} dims: [ {dims} ] }}'
