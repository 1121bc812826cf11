from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2 as pb

from lineside.plans.device import Device
from lineside.plans.documents import Plan
from lineside.plans.key import Options, Shapes
from lineside_inference.models.card import Card
from lineside_inference.models.configuration import override
from lineside_inference.models.plan_choice import as_models, options, why_none
from lineside_inference.models.store import Model
from lineside_inference.models.variants import UNKNOWN, Hardware

DEVICE = Device("10.3.0", "12.6", "Orin", "8.7", 8)
ONNX = {"path": "1/model.onnx", "sha256": "0" * 64}


def model(make_card: Callable[..., Card], *files: dict[str, str], hardware: Hardware = UNKNOWN, **config: Any) -> Model:
    card = make_card(files=list(files) or [ONNX])
    return Model.of(card, hardware, pb.ModelConfig(name=card.name, backend="onnxruntime", **config))


def test_one_onnx_file_for_every_hardware_gets_an_engine(make_card: Callable[..., Card]) -> None:
    assert why_none(model(make_card), ()) == ""
    assert "onnx_only" in why_none(model(make_card), ("surface-defect",))


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([ONNX, {"path": "1/orin.plan", "variant": "gpu=Orin", "sha256": "1" * 64}], "has a file for this hardware"),
        ([{"path": "1/model.pt", "sha256": "0" * 64}], "is no ONNX file"),
        ([{"path": "1/deep/model.onnx", "sha256": "0" * 64}], "more for every hardware than one ONNX file"),
        ([ONNX, {"path": "1/weights.bin", "sha256": "1" * 64}], "more for every hardware than one ONNX file"),
    ],
)
def test_others_say_why_they_get_none(make_card: Callable[..., Card], files: list[dict[str, str]], why: str) -> None:
    assert why in why_none(model(make_card, *files, hardware=Hardware(gpu="Orin")), ())


def test_an_open_batch_has_a_profile_up_to_tritons(make_card: Callable[..., Card]) -> None:
    given = model(make_card, max_batch_size=8)
    assert options(given, (-1, 3, 8, 12), "fp16", 512) == Options(
        "fp16", 512, {"image": Shapes((1, 3, 8, 12), (1, 3, 8, 12), (8, 3, 8, 12))}
    )
    assert options(model(make_card), (-1, 3, 8, 12), "fp32", 1).shapes["image"].most == (1, 3, 8, 12)
    assert options(model(make_card), (3, -1, -1), "fp32", 1).shapes["image"].most == (3, 8, 12)


def test_fixed_shapes_have_none(make_card: Callable[..., Card]) -> None:
    assert options(model(make_card), (1, 3, 8, 12), "fp32", 1).shapes == {}


def test_the_engine_judges_by_the_models_own_card_under_a_name_of_its_own(make_card: Callable[..., Card]) -> None:
    base = model(
        make_card,
        max_batch_size=4,
        instance_group=[pb.ModelInstanceGroup(kind=pb.ModelInstanceGroup.KIND_CPU)],
        parameters={"enable_mem_arena": pb.ModelParameter(string_value="0")},
        optimization=pb.ModelOptimizationPolicy(priority=pb.ModelOptimizationPolicy.PRIORITY_MAX),
    )
    plan = Plan("0" * 64, DEVICE, Options(), "a" * 64, 10, 1.0)
    engine, in_triton = as_models(base, plan, Path("/plans/models") / plan.key)
    assert engine.card is base.card
    assert engine.fallback is base
    assert engine.in_flight is base.in_flight
    assert engine.ref.digest == "sha256:" + "a" * 64
    assert (in_triton.card.name, in_triton.card.version, in_triton.file) == (plan.key, "1", "model.plan")
    sent = override(in_triton.config, ["1"], in_triton.file)
    assert '"backend": "tensorrt"' in sent
    assert '"default_model_filename": "model.plan"' in sent
    assert '"max_batch_size": 4' in sent
    for theirs in ("KIND_CPU", "enable_mem_arena", "PRIORITY_MAX", base.card.name):
        assert theirs not in sent, "what is ONNX Runtime's alone is left away"
