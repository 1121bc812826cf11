"""DLRBackendOptions: flags of the runtime DLR, as `NAME=value; NAME=value`.

They mean the engines of `inference.tensorrt` here. Source: the public documentation of the component
aws.greengrass.SageMakerEdgeManager, configuration; TVM's of its TensorRT integration.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CACHE_DIR = "TVM_TENSORRT_CACHE_DIR"
CACHE_MB = "TVM_TENSORRT_CACHE_DISK_SIZE_MB"
FP16 = "TVM_TENSORRT_USE_FP16"
WORKSPACE = "TVM_TENSORRT_MAX_WORKSPACE_SIZE"
_FLAG = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.DOTALL)
_USUAL_MB = 512
_MAX_MB = 1024 * 1024
_MIB = 1024 * 1024
_SWITCH: dict[str, Literal["fp16", "fp32"]] = {"1": "fp16", "true": "fp16", "0": "fp32", "false": "fp32"}


@dataclass(frozen=True, slots=True)
class DlrOptions:
    """The flags that the component's documentation or TVM's names, and the names of others."""

    cache_dir: Path | None = None
    """Folder of the TensorRT cache; absolute. None: no cache."""
    cache_mb: int = _USUAL_MB
    """Most that the cache may hold, in MB; the engine that was used least goes first."""
    precision: Literal["fp16", "fp32"] | None = None
    workspace_mb: int | None = None
    """Most MiB that a layer of an engine may use."""
    unknown: tuple[str, ...] = ()
    """Other flags, in their order."""


def parse(text: str) -> DlrOptions:
    """Read the flags; raises ValueError that names the flag, its value and what is allowed."""
    flags: dict[str, str] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        found = _FLAG.fullmatch(part.strip())
        if found is None:
            raise ValueError(f"expected NAME=value; NAME=value (got {part.strip()!r:.80})")
        name, value = found[1], found[2].strip()
        if name in flags:
            raise ValueError(f"{name} is given twice: write one of them")
        flags[name] = value
    folder, size = flags.pop(CACHE_DIR, None), flags.pop(CACHE_MB, None)
    precision, workspace = flags.pop(FP16, None), flags.pop(WORKSPACE, None)
    if folder is not None and not folder.startswith("/"):
        raise ValueError(f"{CACHE_DIR}: must be an absolute path (got {folder!r:.80})")
    if size is not None and not _is_whole(size, _MAX_MB):
        raise ValueError(f"{CACHE_MB}: expected a whole number of MB from 1 to {_MAX_MB} (got {size!r:.80})")
    if precision is not None and precision.lower() not in _SWITCH:
        raise ValueError(f"{FP16}: expected 1 or 0 (got {precision!r:.80})")
    if workspace is not None and not _is_whole(workspace, _MAX_MB * _MIB):
        raise ValueError(f"{WORKSPACE}: expected a whole number of bytes from 1 (got {workspace!r:.80})")
    return DlrOptions(
        Path(folder) if folder is not None else None,
        int(size) if size is not None else _USUAL_MB,
        _SWITCH[precision.lower()] if precision is not None else None,
        max(1, int(workspace) // _MIB) if workspace is not None else None,
        tuple(flags),
    )


def _is_whole(text: str, most: int) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and 0 < int(text) <= most
