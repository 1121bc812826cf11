"""DLRBackendOptions: flags of the runtime DLR, as `NAME=value; NAME=value`.

Source: the public documentation of the component aws.greengrass.SageMakerEdgeManager, configuration.
"""

import re
from dataclasses import dataclass
from pathlib import Path

CACHE_DIR = "TVM_TENSORRT_CACHE_DIR"
CACHE_MB = "TVM_TENSORRT_CACHE_DISK_SIZE_MB"
_FLAG = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.DOTALL)
_USUAL_MB = 512
_MAX_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class DlrOptions:
    """The flags that the component's documentation names, and the names of others."""

    cache_dir: Path | None = None
    """Folder of the TensorRT cache; absolute. None: no cache."""
    cache_mb: int = _USUAL_MB
    """Most that the cache may hold, in MB; the engine that was used least goes first."""
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
    if folder is not None and not folder.startswith("/"):
        raise ValueError(f"{CACHE_DIR}: must be an absolute path (got {folder!r:.80})")
    if size is not None and not (size.isascii() and size.isdecimal() and len(size) < 10 and 0 < int(size) <= _MAX_MB):  # noqa: PLR2004 - fewer digits than int() refuses
        raise ValueError(f"{CACHE_MB}: expected a whole number of MB from 1 to {_MAX_MB} (got {size!r:.80})")
    return DlrOptions(
        Path(folder) if folder is not None else None,
        int(size) if size is not None else _USUAL_MB,
        tuple(flags),
    )
