"""Triton's resident memory, watched across loads and unloads: several of its backends keep some of it each time.

Seen only where Triton runs on the same host under a process id that this service can see. Above
`triton.recycle_above_bytes` it is said, and with `triton.recycle: terminate` Triton gets SIGTERM, so that its
supervisor (systemd, Docker, Greengrass) starts it anew; requests wait meanwhile, as in any restart of Triton.
"""

import os
import signal
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily

from lineside_inference.settings import TritonSettings

log = structlog.get_logger("lineside.inference.triton")

_PROC = Path("/proc")
_PROCESS = "tritonserver"


class TritonMemory:
    """Reads the memory, tells and recycles; `resident` is None where the process cannot be seen."""

    def __init__(self, settings: TritonSettings, registry: CollectorRegistry | None = None, proc: Path = _PROC) -> None:
        self._settings = settings
        self._proc = proc
        self._recycled = Counter(
            "lineside_inference_triton_recycles_total",
            "Times that Triton's memory was above the bound after a change of models, by what was done.",
            ["action"],
            registry=registry,
        )
        if registry is not None and settings.pid_file is not None:
            registry.register(self)

    def collect(self) -> list[GaugeMetricFamily]:
        """Return the gauge; empty while the process is not seen."""
        gauge = GaugeMetricFamily("lineside_inference_triton_resident_bytes", "Triton's resident memory.")
        resident = self.resident()
        if resident is not None:
            gauge.add_metric([], resident)
        return [gauge]

    def resident(self) -> int | None:
        """Return Triton's resident bytes, or None."""
        pid = self._pid()
        if pid is None:
            return None
        try:
            return resident_of((self._proc / str(pid) / "status").read_text())
        except OSError:
            return None

    def check(self, after: str) -> None:
        """Compare it with the bound after a change; above it do what the settings say."""
        bound, resident = self._settings.recycle_above_bytes, self.resident()
        if resident is None:
            return
        log.info("triton's memory", after=after, resident_bytes=resident)
        if bound is None or resident <= bound:
            return
        action = self._settings.recycle
        log.warning(
            "triton's memory is above triton.recycle_above_bytes", resident_bytes=resident, bound=bound, action=action
        )
        self._recycled.labels(action).inc()
        pid = self._pid()
        if action == "terminate" and pid is not None:
            os.kill(pid, signal.SIGTERM)

    def _pid(self) -> int | None:
        """Return the process id from the file where a Triton runs under it: the file may be a leftover."""
        if self._settings.pid_file is None:
            return None
        try:
            pid = int(self._settings.pid_file.read_text().strip())
            name = (self._proc / str(pid) / "comm").read_text().strip()
        except (OSError, ValueError):
            return None
        return pid if name == _PROCESS else None


def resident_of(status: str) -> int | None:
    """Return the resident bytes of the text of a /proc/<pid>/status, None where it has none."""
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None
