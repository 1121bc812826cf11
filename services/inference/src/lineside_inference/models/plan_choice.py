"""Which TensorRT engine a model in force would have on this device, or why it has none; and that engine as a model."""

from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from tritonclient.grpc import model_config_pb2 as pb

from lineside.contract import ModelRef
from lineside.plans.documents import PLAN, Plan
from lineside.plans.key import Options, Precision, Shapes
from lineside.variants import ANY
from lineside_inference.models.card import CardFile
from lineside_inference.models.store import Model
from lineside_inference.models.variants import Choice

BUILT_HERE = "built here"
"""The variant of an engine that this device built."""
_VERSION = str(PurePosixPath(PLAN).parent)


def why_none(model: Model, onnx_only: Container[str]) -> str:
    """Return why a model gets no engine that is built here; empty where it may get one."""
    file = model.choice.files[0]
    if model.choice.variant != ANY:
        return f"the card has a file for this hardware: {file.path} ({model.choice.variant})"
    if PurePosixPath(file.path).suffix != ".onnx":
        return f"{file.path} is no ONNX file"
    if model.file is None or len(model.choice.files) > 1:
        return f"the card has more for every hardware than one ONNX file in the version's folder, beside {file.path}"
    if model.card.name in onnx_only:
        return "the settings say so (inference.tensorrt.onnx_only)"
    return ""


def options(model: Model, input_shape: Sequence[int], precision: Precision, workspace_mb: int) -> Options:
    """Return how the engine is built; `input_shape` is that of the ONNX file in Triton, -1 where an axis is open.

    A model whose batch is open takes up to Triton's max_batch_size at once; judging asks for one part at a time.
    """
    shapes = {}
    if any(size < 0 for size in input_shape):
        axes = len(input_shape) - len(model.card.input.shape)
        one = (1,) * axes + model.card.input.shape
        most = (max(1, model.config.max_batch_size), *one[1:]) if axes else one
        shapes[model.card.input.name] = Shapes(one, one, most)
    return Options(precision, workspace_mb, shapes)


def as_models(model: Model, plan: Plan, folder: Path) -> tuple[Model, Model]:
    """Return an engine as the store has it, with the model's own card, and as Triton knows it, by the plan's key."""
    file = CardFile(path=PLAN, variant=BUILT_HERE, sha256=plan.sha256)
    why = f"TensorRT engine {plan.key}, built of {model.choice.files[0].path} for {plan.device.describe()}"
    choice = Choice(BUILT_HERE, (file,), why)
    ref = ModelRef(name=model.card.name, version=model.card.version, digest=f"sha256:{plan.sha256}")
    card = model.card.model_copy(update={"name": plan.key, "version": _VERSION, "files": (file,)})
    in_triton = Model(card, ref, None, choice, _config(model.config, plan.key), folder=folder)
    # The same requests in flight: a version that waits for its last one waits for those on its engine as well.
    return replace(model, ref=ref, choice=choice, folder=folder, fallback=model), in_triton


def _config(config: pb.ModelConfig, name: str) -> pb.ModelConfig:
    """Return the model's configuration without what is ONNX Runtime's alone."""
    wanted = pb.ModelConfig()
    wanted.CopyFrom(config)
    wanted.name = name
    for field in ("optimization", "parameters", "cc_model_filenames", "model_operations"):
        wanted.ClearField(field)
    groups = [group for group in wanted.instance_group if group.kind != pb.ModelInstanceGroup.KIND_CPU]
    del wanted.instance_group[:]
    wanted.instance_group.extend(groups)
    return wanted
