"""A driver as NVML shows it: a table of C functions with NVML's own signatures, called by the real pynvml.

It stands where libnvidia-ml.so.1 is loaded, so everything from the call on is NVIDIA's module and the C interface.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pynvml
import pytest

SUCCESS, NOT_SUPPORTED, GPU_IS_LOST, DRIVER_NOT_LOADED = 0, 3, 15, 9

_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "nvmlInitWithFlags": (ctypes.c_uint,),
    "nvmlShutdown": (),
    "nvmlDeviceGetCount_v2": (ctypes.c_void_p,),
    "nvmlDeviceGetHandleByIndex_v2": (ctypes.c_uint, ctypes.c_void_p),
    "nvmlDeviceGetTemperature": (ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p),
}
"""The C types of the functions' arguments; a handle and a place for the answer where not named."""


@dataclass
class FakeGpu:
    """What one GPU says; None: it does not support the question."""

    load: int | None = 0
    memory: tuple[int, int] | None = (0, 8 << 30)
    celsius: int | None = 40
    milliwatts: int | None = 20_000
    reasons: int | None = 0


@dataclass
class Driver:
    """The library. `status` is what entering it answers, `lost` which GPUs fell off the bus."""

    gpus: list[FakeGpu] = field(default_factory=lambda: [FakeGpu()])
    status: int = SUCCESS
    lost: set[int] = field(default_factory=set)
    knows_event_reasons: bool = True
    entered: int = 0
    before_entering: Callable[[], Any] = lambda: None
    _kept: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        """Return one of its C functions, as ctypes' CDLL does."""
        make = type(self).__dict__.get(f"c_{name}")
        if make is None or (name == "nvmlDeviceGetCurrentClocksEventReasons" and not self.knows_event_reasons):
            raise AttributeError(name)
        if name not in self._kept:
            arguments = _ARGUMENTS.get(name, (ctypes.c_void_p, ctypes.c_void_p))
            self._kept[name] = ctypes.CFUNCTYPE(ctypes.c_int, *arguments)(make.__get__(self))
        return self._kept[name]

    def c_nvmlInitWithFlags(self, _flags: int) -> int:  # noqa: N802 - NVML's names
        self.before_entering()
        self.entered += self.status == SUCCESS
        return self.status

    def c_nvmlShutdown(self) -> int:  # noqa: N802
        self.entered -= 1
        return SUCCESS

    def c_nvmlDeviceGetCount_v2(self, count: int) -> int:  # noqa: N802
        ctypes.c_uint.from_address(count).value = len(self.gpus)
        return SUCCESS

    def c_nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: int) -> int:  # noqa: N802
        if index in self.lost:
            return GPU_IS_LOST
        ctypes.c_void_p.from_address(handle).value = index + 1
        return SUCCESS

    def c_nvmlDeviceGetUtilizationRates(self, handle: int, answer: int) -> int:  # noqa: N802
        return self._say(self._gpu(handle).load, ctypes.c_uint, answer)

    def c_nvmlDeviceGetMemoryInfo(self, handle: int, answer: int) -> int:  # noqa: N802
        memory = self._gpu(handle).memory
        if memory is None:
            return NOT_SUPPORTED
        used, total = memory
        (ctypes.c_ulonglong * 3).from_address(answer)[:] = [total, total - used, used]
        return SUCCESS

    def c_nvmlDeviceGetTemperature(self, handle: int, _sensor: int, answer: int) -> int:  # noqa: N802
        return self._say(self._gpu(handle).celsius, ctypes.c_uint, answer)

    def c_nvmlDeviceGetPowerUsage(self, handle: int, answer: int) -> int:  # noqa: N802
        return self._say(self._gpu(handle).milliwatts, ctypes.c_uint, answer)

    def c_nvmlDeviceGetCurrentClocksEventReasons(self, handle: int, answer: int) -> int:  # noqa: N802
        return self._say(self._gpu(handle).reasons, ctypes.c_ulonglong, answer)

    def c_nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int, answer: int) -> int:  # noqa: N802
        return self._say(self._gpu(handle).reasons, ctypes.c_ulonglong, answer)

    def _gpu(self, handle: int) -> FakeGpu:
        return self.gpus[handle - 1]

    def _say(self, value: int | None, kind: Any, answer: int) -> int:
        if value is None:
            return NOT_SUPPORTED
        kind.from_address(answer).value = value
        return SUCCESS


def load(driver: Driver, patch: pytest.MonkeyPatch) -> Driver:
    """Let pynvml find this driver where it looks for the library."""
    patch.setattr(pynvml, "nvmlLib", None)
    patch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    patch.setattr(pynvml, "CDLL", lambda _name: driver)
    return driver
