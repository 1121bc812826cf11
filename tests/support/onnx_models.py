"""Small real ONNX models, made by the onnx package, with any inputs and outputs."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str | None] | None


def model(
    inputs: Mapping[str, tuple[int, Shape]], outputs: Mapping[str, tuple[int, Shape]], *, nodes: Sequence[object] = ()
) -> onnx.ModelProto:
    """Return a model with these tensors, by name: ONNX's datatype and shape; its graph is not checked."""
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def scaling(factor: float, *, shape: Shape = ("batch", 4), weights: int = 0) -> onnx.ModelProto:
    """Return a model that runs: y is x times the factor; it also carries so many bytes of weights without effect."""
    made = model({"x": (TensorProto.FLOAT, shape)}, {"y": (TensorProto.FLOAT, shape)})
    constants = [numpy_helper.from_array(np.array(factor, np.float32), "factor")]
    source = "factor"
    if weights:
        noise = np.random.default_rng(7).standard_normal(weights // 4).astype(np.float32)
        constants.append(numpy_helper.from_array(noise, "weights"))
        constants.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
        made.graph.node.append(helper.make_node("ReduceMax", ["weights"], ["most"], keepdims=0))
        made.graph.node.append(helper.make_node("Mul", ["most", "zero"], ["nothing"]))
        made.graph.node.append(helper.make_node("Add", ["factor", "nothing"], ["sum"]))
        source = "sum"
    made.graph.node.append(helper.make_node("Mul", ["x", source], ["y"]))
    made.graph.initializer.extend(constants)
    onnx.checker.check_model(made)
    return made
