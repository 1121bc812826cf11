"""A plan's key: the hash of all that makes it valid. Another model, option, TensorRT or GPU is another key.

Nothing about the key is a matter of time or place, so that a plan is found again after a restart, and one that came
from another machine never is.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from lineside.plans.device import Device

Precision = Literal["fp32", "fp16", "int8", "best"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
PREFIX = "lineside-plan-"
_FORM = 1
"""Raised where a plan of before would not be what is built now for the same parts."""
_HEX = 40
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TENSOR = re.compile(r"[^\s,:=\x00-\x1f]{1,256}")
"""What trtexec's own syntax leaves a tensor's name: `name:1x3x224x224,name:...`."""
_MAX_AXES, _MAX_SIZE, _MAX_WORKSPACE_MB = 16, 2**31, 1024 * 1024


@dataclass(frozen=True)
class Shapes:
    """The profile of one input with an open batch: the shapes that it may have, and the usual one."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]


@dataclass(frozen=True)
class Options:
    """How a plan is built."""

    precision: Precision = "fp32"
    workspace_mb: int = 1024
    """Most memory that one layer may use, while it is built and while it runs; MiB."""
    shapes: Mapping[str, Shapes] = field(default_factory=dict)
    """By input; none for a model whose shapes are fixed."""

    def as_document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "precision": self.precision,
            "workspace_mb": self.workspace_mb,
            "shapes": {
                name: [list(each.least), list(each.usual), list(each.most)]
                for name, each in sorted(self.shapes.items())
            },
        }

    @classmethod
    def of_document(cls, found: Any) -> "Options":
        """Read it; raises ValueError that names what is wrong. What it returns is fit for a command line."""
        if not isinstance(found, dict) or set(found) != {"precision", "workspace_mb", "shapes"}:
            raise ValueError("expected options with precision, workspace_mb and shapes")
        precision, workspace, shapes = found["precision"], found["workspace_mb"], found["shapes"]
        if precision not in PRECISIONS:
            raise ValueError(f"precision is {precision!r:.40}; use {', '.join(PRECISIONS)}")
        if type(workspace) is not int or not 1 <= workspace <= _MAX_WORKSPACE_MB:
            raise ValueError(f"workspace_mb is {workspace!r:.40}; from 1 to {_MAX_WORKSPACE_MB}")
        if not isinstance(shapes, dict):
            raise ValueError("shapes: expected inputs by name")  # noqa: TRY004 - of a document, as all that is wrong
        return cls(precision, workspace, {name: _shapes(name, given) for name, given in shapes.items()})


def key_of(model_sha256: str, device: Device, options: Options) -> str:
    """Return the name of the plan's folder, which is Triton's name for it: a prefix and 40 hexadecimal digits."""
    parts = {
        "form": _FORM,
        "model": model_sha256,
        "device": device.as_document(),
        "options": options.as_document(),
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return PREFIX + hashlib.sha256(text.encode()).hexdigest()[:_HEX]


def is_key(name: str) -> bool:
    """Whether this could be a plan's name."""
    return re.fullmatch(rf"{PREFIX}[0-9a-f]{{{_HEX}}}", name) is not None


def is_sha256(text: object) -> bool:
    """Whether this is a SHA-256 in lower-case hexadecimal digits."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def _shapes(name: object, given: object) -> Shapes:
    if not isinstance(name, str) or _TENSOR.fullmatch(name) is None:
        raise ValueError(
            f"input {name!r:.80} cannot be named on trtexec's command line: it has a blank, comma or colon"
        )
    if not isinstance(given, list) or len(given) != 3:  # noqa: PLR2004 - least, usual, most
        raise ValueError(f"input {name!r}: expected three shapes")
    least, usual, most = (_shape(name, each) for each in given)
    if not len(least) == len(usual) == len(most) or not all(
        low <= mid <= high for low, mid, high in zip(least, usual, most, strict=True)
    ):
        raise ValueError(f"input {name!r}: the shapes must have as many axes, and none be larger than the next")
    return Shapes(least, usual, most)


def _shape(name: str, given: object) -> tuple[int, ...]:
    if (
        not isinstance(given, list)
        or not 1 <= len(given) <= _MAX_AXES
        or any(type(size) is not int or not 1 <= size < _MAX_SIZE for size in given)
    ):
        raise ValueError(f"input {name!r}: {given!r:.80} is no shape")
    return tuple(given)
