"""What processes take of this machine: processor time and memory, with their children, as Linux counts them."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM, _CHILDREN_USER, _CHILDREN_SYSTEM = 11, 12, 13, 14
"""Places in /proc/PID/stat behind the name, see proc(5)."""


@dataclass(frozen=True)
class Usage:
    """Processor time since the start, in seconds, and memory in bytes (PSS: of what is shared, its part)."""

    cpu_s: float = 0.0
    memory_bytes: int = 0

    def since(self, before: "Usage") -> "Usage":
        """Return what was taken since then; of a process that was started again since its start."""
        taken = self.cpu_s - before.cpu_s
        return Usage(taken if taken >= 0 else self.cpu_s, self.memory_bytes)


def usage_of(pid: int | None, *, children: bool = True) -> Usage:
    """Return what a process takes, and those that it started; nothing of one that is gone."""
    processes = [pid, *(_below(pid) if children else ())] if pid is not None else []
    each = [_usage(one) for one in processes]
    return Usage(sum(one.cpu_s for one in each), sum(one.memory_bytes for one in each))


def machine_busy_s() -> float:
    """Return the processor time that all processes of this machine took since its start, in seconds."""
    line = (PROC / "stat").read_text().split("\n")[0]
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, line.split()[1:])
    return (user + nice + system + irq + softirq) * _TICK_S


def taken(now: Mapping[str, Usage], before: Mapping[str, Usage]) -> dict[str, Usage]:
    """Return what each has taken since `before`."""
    return {name: one.since(before.get(name, Usage())) for name, one in now.items()}


def _below(pid: int) -> Iterator[int]:
    try:
        files = list((PROC / str(pid) / "task").glob("*/children"))
        found = [int(child) for file in files for child in file.read_text().split()]
    except OSError:
        return
    for child in found:
        yield child
        yield from _below(child)


def _usage(pid: int) -> Usage:
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        ticks = sum(int(fields[place]) for place in (_USER, _SYSTEM, _CHILDREN_USER, _CHILDREN_SYSTEM))
        rollup = (PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return Usage()
    shares = [int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")]
    return Usage(ticks * _TICK_S, sum(shares) * 1024)
