"""Cards to test with, as their YAML would be."""

from collections.abc import Callable
from typing import Any

import pytest

from lineside_inference.models.card import Card


def _document() -> Any:
    return {
        "schema": "lineside/card/1",
        "name": "surface-defect",
        "version": "1",
        "description": "Finds defects.",
        "task": "classification",
        "input": {
            "name": "image",
            "kind": "image",
            "datatype": "FP32",
            "shape": [3, 8, 12],
            "image": {"width": 12, "height": 8, "scale": 0.5, "mean": [1, 2, 3], "std": [1, 2, 4]},
        },
        "output": {"name": "logits", "head": "classification", "activation": "softmax"},
        "labels": ["good", "scratch", "pit"],
        "defects": ["scratch", "pit"],
        "thresholds": {"default": 0.5, "scratch": 0.6},
        "files": [{"path": "1/model.onnx", "sha256": "0" * 64}],
        "licence": "Apache-2.0",
    }


@pytest.fixture
def document() -> Any:
    return _document()


@pytest.fixture
def make_card() -> Callable[..., Card]:
    """Make a card with some top-level fields replaced."""

    def make(**fields: Any) -> Card:
        return Card.model_validate(_document() | fields)

    return make


@pytest.fixture(scope="session")
def head_card() -> Callable[..., Card]:
    """Make a card with one head, or several: `output` is one or a list, the input a picture of `size`."""

    def make(
        output: Any, labels: list[str], defects: list[str] | None = None, size: tuple[int, int] = (64, 48)
    ) -> Card:
        width, height = size
        image = {"width": width, "height": height, "fit": "letterbox"}
        background = None if isinstance(output, list) else output.get("background")
        outputs = {"outputs": output} if isinstance(output, list) else {"output": output}
        fields = {
            "task": "raw",
            "input": {"name": "x", "kind": "image", "datatype": "FP32", "shape": [3, height, width], "image": image},
            "labels": labels,
            "defects": [label for label in labels if label != background] if defects is None else defects,
            "thresholds": {},
        }
        document = {name: value for name, value in _document().items() if name != "output"}
        return Card.model_validate(document | fields | outputs)

    return make
