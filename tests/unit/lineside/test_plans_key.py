import dataclasses
from typing import Any

import pytest

from lineside.plans.device import Device
from lineside.plans.key import Options, Shapes, is_key, is_sha256, key_of

MODEL = "a" * 64
DEVICE = Device("10.3.0", "12.6", "Orin", "8.7", 8, "36.4.3", "Orin NX")
OPTIONS = Options("fp16", 1024, {"image": Shapes((1, 3, 8, 8), (1, 3, 8, 8), (4, 3, 8, 8))})
OTHERS = {"tensorrt": "10.7.0", "cuda": "12.8", "gpu": "Thor", "cc": "11.0", "sms": 16, "l4t": "36.5", "module": "AGX"}


def test_the_key_is_a_name_for_triton_and_the_same_in_every_process() -> None:
    key = key_of(MODEL, DEVICE, OPTIONS)
    assert is_key(key)
    assert key == "lineside-plan-6a53677bc9f2fcd2a4a730cee1315309e5dac27d"
    assert key == key_of(MODEL, dataclasses.replace(DEVICE), Options.of_document(OPTIONS.as_document()))


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_any_other_fact_of_the_device_is_another_key(name: str) -> None:
    assert set(OTHERS) == {each.name for each in dataclasses.fields(Device)}, "a fact that no key is proven by"
    other = dataclasses.replace(DEVICE, **{name: OTHERS[name]})
    assert key_of(MODEL, other, OPTIONS) != key_of(MODEL, DEVICE, OPTIONS)


@pytest.mark.parametrize(
    "other",
    [
        Options("fp32", 1024, OPTIONS.shapes),
        Options("fp16", 512, OPTIONS.shapes),
        Options("fp16", 1024, {}),
        Options("fp16", 1024, {"image": Shapes((1, 3, 8, 8), (1, 3, 8, 8), (8, 3, 8, 8))}),
        Options("fp16", 1024, {"picture": OPTIONS.shapes["image"]}),
    ],
)
def test_any_other_option_is_another_key(other: Options) -> None:
    assert key_of(MODEL, DEVICE, other) != key_of(MODEL, DEVICE, OPTIONS)


def test_another_model_is_another_key() -> None:
    assert key_of("b" * 64, DEVICE, OPTIONS) != key_of(MODEL, DEVICE, OPTIONS)


def test_options_are_the_same_after_their_document() -> None:
    assert Options.of_document(OPTIONS.as_document()) == OPTIONS


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"precision": "fp8"}, "precision is 'fp8'; use fp32, fp16, int8, best"),
        ({"workspace_mb": True}, "workspace_mb is True"),
        ({"workspace_mb": 0}, "workspace_mb is 0; from 1"),
        ({"shapes": []}, "expected inputs by name"),
        ({"shapes": {"a b": [[1], [1], [1]]}}, "'a b' cannot be named"),
        ({"shapes": {"a,b": [[1], [1], [1]]}}, "cannot be named"),
        ({"shapes": {"x": [[1], [1]]}}, "expected three shapes"),
        ({"shapes": {"x": [[1], [1], [1, 2]]}}, "as many axes"),
        ({"shapes": {"x": [[4], [1], [4]]}}, "none be larger than the next"),
        ({"shapes": {"x": [[0], [1], [1]]}}, "is no shape"),
        ({"shapes": {"x": [[True], [1], [1]]}}, "is no shape"),
        ({"more": 1}, "expected options with"),
    ],
)
def test_what_no_command_line_should_see_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Options.of_document(OPTIONS.as_document() | changes)


@pytest.mark.parametrize("name", ["", "lineside-plan-", "lineside-plan-" + "g" * 40, "../" + "a" * 51, ".."])
def test_what_is_no_key(name: str) -> None:
    assert not is_key(name)


def test_what_is_a_sha256() -> None:
    assert is_sha256("0" * 64)
    assert not is_sha256("0" * 63 + "G")
    assert not is_sha256(None)
