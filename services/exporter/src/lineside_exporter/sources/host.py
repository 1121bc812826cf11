"""The machine itself: CPU, memory, disks. In a container too it is the whole machine's CPU and memory that is seen.

A disk is the one that a folder lies on: of a volume, the host's. A disk that hangs, as one on a network may, hides the
disks, not CPU and memory: those are a source of their own.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from prometheus_client.core import GaugeMetricFamily, Metric

from lineside_exporter.single_flight import SingleFlight


def cpu_seconds() -> tuple[float, float]:
    """Return for how long all CPUs were busy since the start, and the time of all states together."""
    times = psutil.cpu_times()
    # The guests' time is in user and nice already.
    every = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return every - times.idle - getattr(times, "iowait", 0.0), every


@dataclass
class HostSource:
    """CPU and memory of the machine."""

    period_s: float
    timeout_s: float
    name: str = "host"
    target: str = "this machine"
    cpu: Callable[[], tuple[float, float]] = cpu_seconds
    _blocking: SingleFlight = field(default_factory=lambda: SingleFlight("host"))
    _before: tuple[float, float] | None = None

    async def read(self) -> Sequence[Metric]:
        """Return the figures; the CPU's load is the one since the reading before, absent at the first."""
        return await self._blocking.call(self._families)

    def _families(self) -> list[Metric]:
        now = self.cpu()
        load = busy_share(self._before, now)
        self._before = now
        memory = psutil.virtual_memory()
        return families(load, (memory.total - memory.available, memory.total))


@dataclass
class DisksSource:
    """The disks of some folders."""

    paths: Sequence[Path]
    period_s: float
    timeout_s: float
    name: str = "disks"
    _blocking: SingleFlight = field(default_factory=lambda: SingleFlight("disks"))

    @property
    def target(self) -> str:
        """Return the folders."""
        return ", ".join(map(str, self.paths))

    async def read(self) -> Sequence[Metric]:
        """Return the figures of those that are there."""
        return await self._blocking.call(lambda: disks(self.paths))


def families(load: float | None, memory: tuple[int, int]) -> list[Metric]:
    """Return the metrics of the CPU's load and of (used, all) bytes of memory."""
    cpu = GaugeMetricFamily("lineside_host_cpu_load_ratio", "Share of all CPUs' time spent working, 0 to 1.", labels=[])
    if load is not None:
        cpu.add_metric([], load)
    used, total = memory
    return [
        cpu,
        GaugeMetricFamily(
            "lineside_host_memory_used_bytes", "Memory in use that cannot be given to others.", value=used
        ),
        GaugeMetricFamily("lineside_host_memory_total_bytes", "Memory of the machine.", value=total),
    ]


def busy_share(before: tuple[float, float] | None, now: tuple[float, float]) -> float | None:
    """Return the busy share between two readings of (busy, all) seconds, None where it cannot be known."""
    if before is None or now[1] <= before[1]:
        return None
    return min(1.0, max(0.0, (now[0] - before[0]) / (now[1] - before[1])))


def disks(paths: Sequence[Path]) -> list[Metric]:
    """Return size, use and room of the disks that the folders lie on; a folder that is not there has no sample."""
    used = GaugeMetricFamily("lineside_host_disk_used_bytes", "Bytes in use on the folder's disk.", labels=["path"])
    total = GaugeMetricFamily("lineside_host_disk_total_bytes", "Size of the folder's disk.", labels=["path"])
    free = GaugeMetricFamily(
        "lineside_host_disk_free_bytes", "Bytes that a service may still write on the folder's disk.", labels=["path"]
    )
    for path in paths:
        try:
            disk = os.statvfs(path)
        except OSError:
            continue
        total.add_metric([str(path)], disk.f_blocks * disk.f_frsize)
        used.add_metric([str(path)], (disk.f_blocks - disk.f_bfree) * disk.f_frsize)
        free.add_metric([str(path)], disk.f_bavail * disk.f_frsize)
    return [used, total, free]
