"""The machine itself: system, processor, container or not, memory."""

import os
import platform
import re
import resource
from dataclasses import dataclass
from pathlib import Path

from lineside.checks import Check, container, ok, warn
from lineside.spool.findings import mebibytes

MACHINE, MEMORY = "machine", "memory"

_PROCESSORS = ("x86_64", "aarch64")
_MIN_FILES = 1024
_MIN_BYTES = 256 * 1024 * 1024
"""What should be left: a change of models holds two versions at once."""

_GROUP = "sys/fs/cgroup"
_GROUPS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)
"""Limit, use, and what of that is cache which the kernel gives back; by control groups 2 and 1."""


def machine(root: Path) -> Check:
    """Say what this is, and warn of what no image and no wheel is made for."""
    processor, files = platform.machine(), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    kind = container(root)
    what = f"{_system(root)}, {processor}, {len(os.sched_getaffinity(0))} cores, kernel {platform.release()}"
    what += f", in a container ({kind})" if kind else ""
    if processor not in _PROCESSORS:
        remedy = f"use one of {', '.join(_PROCESSORS)}: images and wheels exist for these"
        return warn(MACHINE, what, remedy)
    if 0 <= files < _MIN_FILES:
        return warn(MACHINE, f"{what}; {files} open files are allowed", f"allow {_MIN_FILES} (ulimit -n)")
    return ok(MACHINE, what)


@dataclass(frozen=True)
class Memory:
    """Bytes: all that there is for us, and what of it is available."""

    total: int
    available: int
    is_limited: bool
    """Whether a container's limit is what counts."""


def memory(root: Path) -> Check:
    """Say how much memory is left."""
    found = read_memory(root)
    whose = "of this container's limit of" if found.is_limited else "of"
    what = f"{mebibytes(found.available)} {whose} {mebibytes(found.total)} available"
    if found.available < _MIN_BYTES:
        return warn(
            MEMORY, what, "end what is not needed here, or raise the limit: the kernel kills what asks for more"
        )
    return ok(MEMORY, what)


def read_memory(root: Path) -> Memory:
    """Read the machine's memory, and the container's limit where that is less; raises OSError or ValueError."""
    text = (root / "proc/meminfo").read_text(encoding="utf-8")
    lines = {name: int(size) * 1024 for name, size in re.findall(r"^(\w+): +([0-9]+) kB$", text, re.MULTILINE)}
    if not {"MemTotal", "MemAvailable"} <= lines.keys():
        raise ValueError(f"{root / 'proc/meminfo'} has no MemTotal and MemAvailable")
    total, available = lines["MemTotal"], lines["MemAvailable"]
    for limit_file, in_use_file, cache in _GROUPS:
        try:
            limit, in_use = (
                (root / _GROUP / name).read_text(encoding="utf-8").strip() for name in (limit_file, in_use_file)
            )
            statistics = (root / _GROUP / in_use_file).with_name("memory.stat").read_text(encoding="utf-8")
        except OSError:
            continue
        if limit.isdigit() and int(limit) < total:  # else `max`, or a number above all memory: no limit
            cached = re.search(rf"^{cache} ([0-9]+)$", statistics, re.MULTILINE)
            left = int(limit) - int(in_use) + (int(cached[1]) if cached else 0)
            return Memory(int(limit), min(available, max(0, left)), is_limited=True)
    return Memory(total, available, is_limited=False)


def _system(root: Path) -> str:
    try:
        text = (root / "etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return "Linux"
    named = re.search(r'^PRETTY_NAME="?([^"\n]+)', text, re.MULTILINE)
    return named[1] if named else "Linux"
