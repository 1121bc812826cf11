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
