"""A trigger's value that cannot be used may be a part, which must be answered unless a usable value follows in time."""

import asyncio
import time

from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.station.event_queue import EventQueue, TriggerUnusable
from lineside_opcua_bridge.station.handshake_signal import HandshakeSignal


class UnusableTrigger:
    """One trigger; puts TriggerUnusable once the part of an unusable value would have to be answered."""

    def __init__(self, settings: TriggerSettings, events: EventQueue) -> None:
        self._settings = settings
        self._events = events
        self._timer: asyncio.TimerHandle | None = None
        """Set while an unusable value may be a part."""
        self._was_active = False
        """Whether the trigger was active by its last usable value, or an unusable one was taken for a part."""

    @property
    def is_pending(self) -> bool:
        """Whether an unusable value may be a part and no usable one has come since."""
        return self._timer is not None

    def hold(self, sample: Sample, signal: HandshakeSignal) -> None:
        """Take an unusable value; one after an active trigger is no new part."""
        may_be_part = sample.value is signal.active or self._settings.overrun == "newest"
        if self._timer is None and may_be_part and not self._was_active:
            left_s = sample.ticks + (self._settings.deadline_ms - self._settings.margin_ms) / 1000 - time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(left_s, self._events.put, TriggerUnusable(sample))

    def settle(self, *, is_active: bool | None) -> None:
        """Take it that the trigger is known to be active or not; None changes nothing."""
        if is_active is None:
            return
        self._was_active = is_active
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def answered(self) -> None:
        """Take it that the value was taken for a part."""
        self._timer, self._was_active = None, True
