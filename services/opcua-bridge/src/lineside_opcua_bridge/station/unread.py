"""A trigger whose value cannot be used, until it is seen to stand or not: it may be a part, which must be answered."""

import asyncio
import time
from collections.abc import Callable

from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.station.handshake_signal import HandshakeSignal


class UnreadTrigger:
    """One trigger; `due` is told of the value that may be a part, once that part would have to be answered."""

    def __init__(self, settings: TriggerSettings, due: Callable[[Sample], None]) -> None:
        self._settings = settings
        self._due = due
        self._timer: asyncio.TimerHandle | None = None
        """Set while a value that cannot be used may be a part."""
        self._was_active = False
        """Whether the trigger was active by its last usable value, or was taken for a part without one."""

    @property
    def is_pending(self) -> bool:
        """Whether a value may be a part and nothing usable has come since."""
        return self._timer is not None

    def hold(self, sample: Sample, level: HandshakeSignal) -> None:
        """Take a value that cannot be used; one after an active trigger is no new part."""
        may_be_one = sample.value is level.active or self._settings.overrun == "newest"
        if self._timer is None and may_be_one and not self._was_active:
            left_s = sample.ticks + (self._settings.deadline_ms - self._settings.margin_ms) / 1000 - time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(left_s, self._due, sample)

    def know(self, active: bool | None) -> None:
        """Take it that the trigger is seen to be active or not: what could not be read before is settled."""
        if active is None:
            return
        self._was_active = active
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def answered(self) -> None:
        """Take it that the value was taken for a part."""
        self._timer, self._was_active = None, True
