"""What a camera's stream does not tell by itself: its temperature, and packets that this machine dropped at the socket.

Both are asked for now and then, and where it can be while no frame is awaited, since a camera answers one question at a
time.
"""

import math
import time
from collections.abc import Callable

from lineside_inference.sources.cameras.genicam.advice import Channel
from lineside_inference.sources.cameras.genicam.device import Device
from lineside_inference.sources.cameras.genicam.way import look

TEMPERATURES = ("DeviceTemperature", "TemperatureAbs")
"""Features in degrees Celsius: the standard's name, and that of older cameras; of the place that is selected."""
_PERIOD_S = 5.0
_LONGEST_S = 15.0
"""Where frames follow one another without a pause it is asked for between two of them."""
_COLDEST, _HOTTEST = -60.0, 200.0


class Vitals:
    """Reads them of one opened camera; `is_due` says when."""

    def __init__(self, device: Device, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._device = device
        self._clock = clock
        self._at = float("-inf")
        self._channel: Channel | None = None
        self._drops = 0

    def is_due(self, *, is_idle: bool) -> bool:
        """Return whether to read now; `is_idle` is whether no frame came just now."""
        return self._clock() - self._at >= (_PERIOD_S if is_idle else _LONGEST_S)

    def read(self) -> tuple[float | None, int]:
        """Return degrees Celsius, None where it tells none, and the packets dropped since the reading before."""
        self._at = self._clock()
        self._channel = self._channel or self._device.channel()
        drops = look(self._channel, None).socket_drops
        new, self._drops = max(0, drops - self._drops), drops
        return temperature(self._device), new


def temperature(device: Device) -> float | None:
    """Return degrees Celsius; None where the camera has no such feature, or says what no camera has."""
    for name in TEMPERATURES:
        told = device.read(name)
        if isinstance(told, int | float) and math.isfinite(told) and _COLDEST <= told <= _HOTTEST:
            return float(told)
    return None
