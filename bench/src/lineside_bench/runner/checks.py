"""What would make the line fail to start, checked before anything starts."""

import importlib.util
import os
import re
from collections.abc import Sequence
from pathlib import Path

from lineside_bench.errors import BenchError
from lineside_bench.peers import triton

SERVICES = (
    "lineside_inference",
    "lineside_topic_bridge",
    "lineside_opcua_bridge",
    "lineside_forwarder",
    "lineside_exporter",
)
LEAST_SHARED_MEMORY = 64 * 1024 * 1024


def check(*, repository: Path, models: Sequence[str], triton_environment: Path) -> None:
    """Raise BenchError for the first thing that is missing: services, models, shared memory, the CPU Triton."""
    for service in SERVICES:
        if importlib.util.find_spec(service) is None or importlib.util.find_spec(f"{service}.__main__") is None:
            raise BenchError(
                f"{service} is not installed beside the bench", remedy="Run `make setup` in the repository"
            )
    for model in models:
        if not any((repository / model).glob("*/model.onnx")):
            raise BenchError(
                f"model {model!r} has no version with a model.onnx in {repository}",
                remedy="Restore it with `git checkout models`, or make it with its train.py",
            )
    triton.preflight(triton_environment)
    remove_leftovers()
    space = os.statvfs(triton.SHARED_MEMORY)
    free = space.f_bavail * space.f_frsize
    if free < LEAST_SHARED_MEMORY:
        raise BenchError(
            f"{triton.SHARED_MEMORY} has {free // 1024**2} MiB free, "
            "and Triton and the inference service share memory there",
            remedy=f"Free some, or give the container more (--shm-size): {LEAST_SHARED_MEMORY // 1024**2} MiB",
        )


def remove_leftovers() -> int:
    """Remove the shared memory of benches that were killed; return how many regions that were.

    A region's name carries the id of the process that launched its Triton; one that still runs is left alone.
    """
    prefixes = {prefix for region in triton.SHARED_MEMORY.iterdir() if (prefix := _orphaned(region.name))}
    return sum(triton.clean_shared_memory(prefix) for prefix in sorted(prefixes))


def _orphaned(name: str) -> str | None:
    """Return the launch's prefix of a region whose bench is gone, else None."""
    found = re.match(rf"{triton.PREFIX}(\d+)_[0-9a-f]+_", name)
    return found[0] if found and not Path(f"/proc/{found[1]}").exists() else None
