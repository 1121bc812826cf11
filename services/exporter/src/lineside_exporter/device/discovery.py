"""Which sources of the device this machine has; what it does not have is said once and is no source."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from lineside.connections import Connection
from lineside_exporter.device import nvml, sysfs, tegrastats_process
from lineside_exporter.device.jetson import JetsonSource
from lineside_exporter.device.nvml import NvmlSource
from lineside_exporter.device.tegrastats_process import TegrastatsProcess
from lineside_exporter.single_flight import SingleFlight

log = structlog.get_logger("lineside.exporter.device")

_PROBE_S = 5.0


@dataclass(frozen=True)
class Devices:
    """The sources, and tegrastats' process where it is to be kept running (`run` for the service's whole life)."""

    sources: tuple[JetsonSource | NvmlSource, ...]
    tegrastats: TegrastatsProcess | None = None


async def discover(
    connection: Callable[..., Connection], root: Path = Path("/"), *, period_s: float = 5.0, timeout_s: float = 2.0
) -> Devices:
    """Return what this machine has, to be read every `period_s`; takes at most five seconds.

    `connection` registers one, as Service.connection.
    """
    sources: list[JetsonSource | NvmlSource] = []
    process: TegrastatsProcess | None = None
    wants_nvml = True
    if sysfs.is_jetson(root):
        program = tegrastats_process.find()
        if program is not None:
            command = (program, "--interval", str(tegrastats_process.INTERVAL_MS))
            link = connection("tegrastats", " ".join(command), required=False, longest_s=60.0)
            process = TegrastatsProcess(command, link)
        newest = process.newest if process else lambda: None
        sources.append(JetsonSource(root, newest, period_s=period_s, timeout_s=timeout_s))
        # An Orin's NVML says nothing that sysfs does not; Thor's is the only one that knows the GPU's load.
        wants_nvml = sysfs.gpu_load_file(root) is None
        log.info("this is a Jetson", reads=str(root / "sys"), tegrastats=program or "not here: sysfs alone is read")
    if wants_nvml:
        why: str | None = None
        try:
            why = await asyncio.wait_for(SingleFlight("nvml probe").call(nvml.absence), _PROBE_S)
        except TimeoutError:
            log.warning("NVML does not answer; it is asked again", after_s=_PROBE_S)
        if why is None:
            sources.append(NvmlSource(period_s=period_s, timeout_s=timeout_s))
        else:
            log.info("no NVIDIA GPU is watched here", reason=why)
    return Devices(tuple(sources), process)
