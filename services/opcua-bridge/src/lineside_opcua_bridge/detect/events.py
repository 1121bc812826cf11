"""An OPC UA event: each one is a part, if it comes from the right source and is severe enough."""

from lineside_opcua_bridge.detect.debouncer import Debouncer
from lineside_opcua_bridge.detect.decisions import Decision, Detection
from lineside_opcua_bridge.detect.detector import Detector
from lineside_opcua_bridge.samples import Sample


class EventDetector(Detector):
    """The events of one notifier. `min_severity` 1 to 1000; `source_name` None takes every source."""

    def __init__(self, debouncer: Debouncer, *, min_severity: int, source_name: str | None) -> None:
        super().__init__(debouncer)
        self._min_severity = min_severity
        self._source_name = source_name

    def see(self, sample: Sample) -> Detection:
        """Return what an event means; its value is its fields by name."""
        fields = sample.value
        if sample.quality == "bad" or not isinstance(fields, dict):
            return Detection(Decision.BAD)
        self._take_usable(sample)
        severity = fields.get("Severity")
        if isinstance(severity, int) and severity < self._min_severity:
            return Detection(Decision.NONE)
        if self._source_name is not None and fields.get("SourceName") != self._source_name:
            return Detection(Decision.NONE)
        return self._admit(sample, continuous=True)  # events are independent of one another: none is recovered
