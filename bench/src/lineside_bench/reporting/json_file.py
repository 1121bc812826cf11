"""JSON files replaced in one step: a reader sees the whole old content or the whole new one."""

import json
import os
from pathlib import Path
from typing import Any

from lineside.durable_files import replace_file
from lineside_bench.errors import BenchError


def check_writable(path: Path, option: str) -> None:
    """Raise BenchError where the file could not be written at the end of a long run."""
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise BenchError(f"{option} {path} cannot be written", remedy="Name a file in an existing folder of yours")


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file in one step; raises BenchError where it cannot be written."""
    content = f"{json.dumps(document, indent=2)}\n".encode()
    try:
        replace_file(path, content, mode=0o644, draft=path.with_name(f".{path.name}.{os.getpid()}"))
    except OSError as error:
        raise BenchError(f"{path} cannot be written: {error.strerror}", remedy="Name another file") from None
