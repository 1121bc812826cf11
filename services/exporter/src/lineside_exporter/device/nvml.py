"""Discrete NVIDIA GPUs, and Thor's, by NVML: the library that comes with NVIDIA's driver.

Its calls may hang for as long as a driver does: they are made in a daemon thread, which is never waited for.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import pynvml
from prometheus_client.core import Metric

from lineside_exporter.device.figures import Figures, Gpu, families, is_real_temperature
from lineside_exporter.errors import SourceAway
from lineside_exporter.single_flight import SingleFlight

MAX_GPUS = 16

# By bit of NVML's clock event reasons; idle clocks and clocks that were asked for are no throttling.
_REASONS: Final = {
    "power-cap": pynvml.nvmlClocksEventReasonSwPowerCap,
    "hardware-slowdown": pynvml.nvmlClocksEventReasonHwSlowdown,
    "thermal-software": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
    "thermal-hardware": pynvml.nvmlClocksEventReasonHwThermalSlowdown,
    "power-brake": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
}
_NOT_HERE: Final = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "there is no NVML library (libnvidia-ml.so.1)",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "NVIDIA's driver is not loaded",
}
_NOT_SAID: Final = {pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND}


def absence() -> str | None:
    """Return why this machine has no NVML, None where it has; the library stays loaded. May block."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return _NOT_HERE.get(error.value)
    _shut_down()
    return None


def read() -> Figures:
    """Return what every GPU says now; raises SourceAway where one is lost or the driver is away. May block.

    The library is entered and left each time: a driver that was loaded anew, or a GPU that came back, is found so.
    """
    try:
        pynvml.nvmlInit()
        try:
            count = min(pynvml.nvmlDeviceGetCount(), MAX_GPUS)
            return Figures(tuple(_gpu(index) for index in range(count)))
        finally:
            _shut_down()
    except pynvml.NVMLError as error:
        raise SourceAway(f"NVML: {error}", remedy="see what nvidia-smi says on this machine") from None


class NvmlSource:
    """See lineside_exporter.sources.source.Source."""

    name = "nvml"
    target = "libnvidia-ml.so.1"

    def __init__(self, *, period_s: float = 5.0, timeout_s: float = 2.0) -> None:
        self.period_s = period_s
        self.timeout_s = timeout_s
        self._blocking = SingleFlight("nvml")

    async def read(self) -> Sequence[Metric]:
        """Return what is true now; raises where the driver is away, hangs or has lost a GPU."""
        found = await self._blocking.call(read)
        return list(families(found))


def _gpu(index: int) -> Gpu:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        load = _said(pynvml.nvmlDeviceGetUtilizationRates, handle)
        memory = _said(pynvml.nvmlDeviceGetMemoryInfo, handle)
        celsius = _said(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
        milliwatts = _said(pynvml.nvmlDeviceGetPowerUsage, handle)
        reasons = _said(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
        if reasons is None:  # drivers before 535 know it by its old name
            reasons = _said(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    except pynvml.NVMLError as error:
        raise SourceAway(f"NVML: GPU {index}: {error}", remedy="see what nvidia-smi says on this machine") from None
    return Gpu(
        index=index,
        load=None if load is None else min(1.0, load.gpu / 100),
        memory_used=None if memory is None else memory.used,
        memory_total=None if memory is None else memory.total,
        temperatures={} if celsius is None or not is_real_temperature("gpu", celsius) else {"gpu": float(celsius)},
        power={} if milliwatts is None else {"gpu": milliwatts / 1000},
        throttled={} if reasons is None else {name: bool(reasons & bit) for name, bit in _REASONS.items()},
    )


def _said(ask: Callable[..., Any], *arguments: Any) -> Any | None:
    """Return the answer; None: this GPU or driver has none."""
    try:
        return ask(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _NOT_SAID:
            return None
        raise


def _shut_down() -> None:
    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlShutdown()
