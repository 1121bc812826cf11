"""What this process may use of the machine: its container's quota of processors and memory, or all there is.

A container's limits stand in its control group: version 2 in `cpu.max` and `memory.max`, version 1 in
`cpu/cpu.cfs_quota_us`, `cpu/cpu.cfs_period_us` and `memory/memory.limit_in_bytes` (Linux, Documentation/admin-guide).
Inside a container its own group is the root that is mounted.
"""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cores(root: Path = CGROUP) -> int:
    """Return how many threads can run at once: the processors allowed, at most the quota rounded up, at least 1."""
    allowed = len(os.sched_getaffinity(0))
    quota = _cpu_quota(root)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def memory_bytes(root: Path = CGROUP) -> int:
    """Return the bytes of memory that this process may have: the container's limit, at most the machine's memory."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    given = [_number(root / name) for name in ("memory.max", "memory/memory.limit_in_bytes")]
    return min([physical, *(limit for limit in given if limit is not None and limit > 0)])


def _cpu_quota(root: Path) -> float | None:
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        quota, period = str(_number(root / "cpu/cpu.cfs_quota_us")), str(_number(root / "cpu/cpu.cfs_period_us"))
    if not (quota.isdigit() and period.isdigit()) or int(period) == 0 or int(quota) == 0:
        return None  # `max`, -1, or nothing there
    return int(quota) / int(period)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
