"""Models that give each of their tensors back."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

TYPES = {
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
}
ALL_TYPES = TYPES | {"BOOL": np.bool_}
"""And what the ONNX backend of the bench does not serve. BYTES end Triton's Python backend of 2024 beside numpy 2."""


def write_identity(repository: Path, name: str, tensors: dict[str, tuple[str, list[int]]]) -> None:
    """Put a model there that gives each of its tensors back, as `<name>_out`."""
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    nodes, sides = [], {"input": [], "output": []}
    config = [f'name: "{name}"', 'backend: "onnxruntime"']
    for tensor, (datatype, shape) in tensors.items():
        nodes.append(helper.make_node("Identity", [tensor], [f"{tensor}_out"]))
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(TYPES[datatype]))
        for side, called in (("input", tensor), ("output", f"{tensor}_out")):
            axes = [f"{tensor}{axis}" if length < 0 else length for axis, length in enumerate(shape)]
            sides[side].append(helper.make_tensor_value_info(called, kind, axes))
            config.append(f'{side} {{ name: "{called}" data_type: TYPE_{datatype} dims: {shape} }}')
    graph = helper.make_graph(nodes, name, sides["input"], sides["output"])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )
    (repository / name / "config.pbtxt").write_text("\n".join(config) + "\n")


def write_any_identity(repository: Path, name: str) -> None:
    """Put a model there that gives back what it gets of a tensor of each datatype, named as these in small letters."""
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    config = [f'name: "{name}"', 'backend: "python"']
    for datatype in ALL_TYPES:
        tensor = datatype.lower()
        config.append(f'input {{ name: "{tensor}" data_type: TYPE_{datatype} dims: [ -1, 2 ] optional: true }}')
        config.append(f'output {{ name: "{tensor}_out" data_type: TYPE_{datatype} dims: [ -1, 2 ] }}')
    (repository / name / "config.pbtxt").write_text("\n".join(config) + "\n")
    (folder / "model.py").write_text(_ANY)


_ANY = """
import triton_python_backend_utils as triton


class TritonPythonModel:
    def execute(self, requests):
        return [
            triton.InferenceResponse([triton.Tensor.from_dlpack(f"{one.name()}_out", one) for one in request.inputs()])
            for request in requests
        ]
"""
_PASSING = """
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        return [pb.InferenceResponse(output_tensors=request.inputs()) for request in requests]
"""


def write_passing(repository: Path, name: str, tensors: Mapping[str, tuple[str, Sequence[int]]]) -> None:
    """Put a model there that gives its tensors back under their own names, of whatever Triton's configuration has.

    A model of STRING can be described, and not run: see ALL_TYPES.
    """
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(_PASSING)
    config = [f'name: "{name}"', 'backend: "python"']
    config += [
        f'{side} {{ name: "{tensor}" data_type: TYPE_{datatype} dims: {list(shape)} }}'
        for tensor, (datatype, shape) in tensors.items()
        for side in ("input", "output")
    ]
    (repository / name / "config.pbtxt").write_text("\n".join(config) + "\n")
