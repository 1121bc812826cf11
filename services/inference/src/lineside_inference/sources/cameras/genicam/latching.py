"""Reads a camera's clock: latches it between two instants of ours, and asks whether PTP keeps it."""

import time
from contextlib import suppress

from lineside_inference.errors import CameraFailed
from lineside_inference.sources.cameras.genicam.clock import Latch
from lineside_inference.sources.cameras.genicam.device import Device

_TICKS_HIGH, _TICKS_LOW = 0x093C, 0x0940
_CONTROL, _LATCH = 0x0944, 0x2
_VALUE_HIGH, _VALUE_LOW = 0x0948, 0x094C
"""Bootstrap registers of GigE Vision: ticks a second, latch, what was latched."""
_NS = 1_000_000_000
_PTP = (("PtpEnable", "PtpStatus"), ("GevIEEE1588", "GevIEEE1588Status"))
_READS = 3


class ClockReader:
    """A camera's clock, as it is read; `tick_hz` are its ticks a second."""

    def __init__(self, device: Device) -> None:
        """Find out how; raises CameraFailed where it has no clock that can be latched."""
        self._device = device
        self._by_register = False
        self._latches_ptp = "PtpDataSetLatch" in device.names()
        if device.is_gige:
            self.tick_hz = (device.read_register(_TICKS_HIGH) << 32) + device.read_register(_TICKS_LOW)
            self._by_register = self.tick_hz > 0
        if not self._by_register:
            self.tick_hz = _NS
            if device.read("TimestampLatchValue") is None:
                raise CameraFailed(
                    "it has no clock that can be read, so that no frame can be given to a part by its time",
                    remedy="Use acquisition software or free",
                )

    def latch(self) -> Latch | None:
        """Return what its clock shows; None where it did not answer, which the loss of control will say."""
        with suppress(CameraFailed):
            before = time.monotonic()
            if self._by_register:
                self._device.write_register(_CONTROL, _LATCH)
                after = time.monotonic()
                ticks = (self._device.read_register(_VALUE_HIGH) << 32) + self._device.read_register(_VALUE_LOW)
                return Latch(ticks * _NS // self.tick_hz, before, after)
            self._device.execute("TimestampLatch")
            after = time.monotonic()
            value = self._device.read("TimestampLatchValue")
            if isinstance(value, int):
                return Latch(value, before, after)
        return None

    def follow_ptp(self) -> None:
        """Let PTP keep its clock; raises CameraFailed where it cannot."""
        for enable, _ in _PTP:
            if self._device.read(enable) is not None:
                self._device.write(enable, value=True)
                return
        raise CameraFailed("its clock cannot be kept by PTP", remedy="Leave hardware_trigger.ptp out of the settings")

    def is_kept_by_ptp(self) -> bool:
        """Return whether it is a slave of PTP now."""
        if self._latches_ptp:
            with suppress(CameraFailed):
                self._device.execute("PtpDataSetLatch")
        return any(self._device.read(status) == "Slave" for _, status in _PTP)


def host_clocks() -> tuple[int, float]:
    """Return this host's time in ns since 1970, and time.monotonic(), of the same instant as nearly as can be read."""
    best = (float("inf"), 0, 0.0)
    for _ in range(_READS):
        before = time.monotonic()
        wall_ns = time.time_ns()
        after = time.monotonic()
        best = min(best, (after - before, wall_ns, (before + after) / 2))
    return best[1], best[2]
