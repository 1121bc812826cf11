"""Whether there is memory for one more model: what its files need by experience, against what is free.

Measured with a model of 200 MB: where its bytes go with the call, they are in this service twice while they are on
their way, and in Triton once more and in its temporary folder, beside the weights that its backend makes of them. From
a folder that Triton has too, the backend reads the file and makes its weights, with room to run.
"""

from pathlib import Path

from lineside import machine
from lineside_inference.errors import MemoryShort
from lineside_inference.models.hardware import ask_nvidia_smi
from lineside_inference.models.memory import resident_of

MIB = 1024 * 1024
_HERE = 2
_IN_ALL, _FROM_FOLDER = 4, 2.5
"""Times a model's files, on this machine; without the call's share on a GPU too."""
_RESERVE = 64 * MIB
"""What is left for all else."""
_MAX = 2000 * MIB
"""Largest message of gRPC, less than 2 GiB."""
_QUERY = ("--query-gpu=memory.free", "--format=csv,noheader,nounits")


def check_room(
    name: str, size: int, *, in_message: bool, proc: Path = Path("/proc"), cgroup: Path = machine.CGROUP
) -> None:
    """Raise MemoryShort where a model of `size` bytes cannot be loaded now; may block for five seconds.

    `in_message`: its bytes go with the call.
    """
    if in_message and size > _MAX:
        raise MemoryShort(
            f"model {name!r} has {size} bytes, and {_MAX} at most go to Triton with a call",
            remedy="Set edge_manager.model_folder, or put it into the model repository",
        )
    needed = round(size * (_IN_ALL if in_message else _FROM_FOLDER)) + _RESERVE
    _compare(name, size, needed, _available(proc), "of this machine's memory", "Unload another model first")
    if in_message:
        where = "of what this service's container may have"
        _compare(name, size, size * _HERE + _RESERVE, _own(proc, cgroup), where, "Raise its limit of memory")
    free = gpu_free_of(ask_nvidia_smi(*_QUERY))
    _compare(name, size, round(size * _FROM_FOLDER), free, "of the GPU's memory", "Unload another model first")


def gpu_free_of(answer: str) -> int | None:
    """Return the free bytes of the first GPU of nvidia-smi's answer; None where it has none of its own (Jetson)."""
    first = next(iter(answer.splitlines()), "").strip()
    return int(first) * MIB if first.isdecimal() else None


def _compare(name: str, size: int, needed: int, free: int | None, where: str, remedy: str) -> None:
    if free is not None and needed > free:
        raise MemoryShort(
            f"model {name!r} has {size} bytes and needs about {needed}; {free} are free {where}", remedy=remedy
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
        resident = resident_of((proc / "self" / "status").read_text())
    except (OSError, ValueError, IndexError):
        return None
    return None if resident is None else machine.memory_bytes(cgroup) - resident
