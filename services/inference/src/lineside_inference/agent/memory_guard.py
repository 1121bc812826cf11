"""Whether there is memory for one more model: this machine's, and this service's own for the moment of loading.

Its bytes are in this service twice while they are on their way, in Triton once more, and then in the model's weights.
"""

from pathlib import Path

from lineside import machine
from lineside_inference.errors import MemoryShort

MIB = 1024 * 1024
_HERE = 2
_IN_ALL = 4
_RESERVE = 64 * MIB
"""What is left for all else."""
_MAX = 2000 * MIB
"""Largest message of gRPC, less than 2 GiB."""


def check_room(name: str, size: int, proc: Path = Path("/proc"), cgroup: Path = machine.CGROUP) -> None:
    """Raise MemoryShort where a model of `size` bytes cannot be loaded now."""
    if size > _MAX:
        raise MemoryShort(
            f"model {name!r} has {size} bytes, and {_MAX} at most are loaded over the socket",
            remedy="Put it into the model repository",
        )
    free = _available(proc)
    if free is not None and size * _IN_ALL + _RESERVE > free:
        raise MemoryShort(
            f"model {name!r} has {size} bytes and needs about {size * _IN_ALL} to be loaded; {free} are free here",
            remedy="Unload another model first",
        )
    own = _own(proc, cgroup)
    if own is not None and size * _HERE + _RESERVE > own:
        raise MemoryShort(
            f"model {name!r} has {size} bytes; this service's container has {own} left for it",
            remedy="Raise its limit of memory",
        )


def _available(proc: Path) -> int | None:
    """Return the machine's available memory in bytes; None where it cannot be told."""
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _own(proc: Path, cgroup: Path) -> int | None:
    """Return what this process may still take of its container's limit."""
    try:
        lines = (proc / "self" / "status").read_text().splitlines()
        resident = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    return machine.memory_bytes(cgroup) - resident
