"""Detects parts in a trigger's values: one detector for each kind, and the conditions that hold a trigger back.

All of it is pure: time is in the values.
"""

from lineside_opcua_bridge.detect.changes import ChangeDetector
from lineside_opcua_bridge.detect.conditions import unmet
from lineside_opcua_bridge.detect.counters import CounterDetector
from lineside_opcua_bridge.detect.debouncer import Debouncer
from lineside_opcua_bridge.detect.decisions import Decision, Detection
from lineside_opcua_bridge.detect.detector import Detector
from lineside_opcua_bridge.detect.edges import EdgeDetector
from lineside_opcua_bridge.detect.events import EventDetector
from lineside_opcua_bridge.detect.limits import LimitDetector
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.settings.triggers import (
    ChangeTrigger,
    CounterTrigger,
    EdgeTrigger,
    EventTrigger,
    LimitTrigger,
    PeriodTrigger,
    WindowTrigger,
)

__all__ = ["Decision", "Detection", "Detector", "detector_of", "unmet"]


def detector_of(settings: TriggerSettings, *, has_done: bool) -> Detector | None:
    """Return the detector of a trigger, or None for one by the clock or by a window, which has no values.

    `has_done`: there is a done flag, which tells whether a part waits when values are missing.
    """
    debouncer = Debouncer(settings.debounce_s(), settings.min_interval_ms / 1000)
    match settings.when:
        case EdgeTrigger() as when:
            return EdgeDetector(debouncer, active=when.edge == "rising", has_done=has_done)
        case ChangeTrigger():
            return ChangeDetector(debouncer)
        case LimitTrigger() as when:
            return LimitDetector(debouncer, above=when.above, below=when.below, hysteresis=when.hysteresis)
        case CounterTrigger() as when:
            return CounterDetector(debouncer, wraps_at=when.wraps_at)
        case EventTrigger() as when:
            return EventDetector(debouncer, min_severity=when.min_severity, source_name=when.source_name)
        case PeriodTrigger() | WindowTrigger():
            return None
