"""Counts of the run so far, for the progress display."""

from collections import Counter, deque
from dataclasses import dataclass, field

from lineside_bench.reporting.records import PartRecord

LATEST = 500


@dataclass
class Tally:
    """Counts since the start; latencies of the latest parts only."""

    fed: int = 0
    judged: int = 0
    missing: int = 0
    behind_s: float = 0.0
    """Longest delay of a trigger after the time at which it was due, in seconds."""
    verdicts: Counter[str] = field(default_factory=Counter)
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATEST))

    def take(self, record: PartRecord) -> None:
        """Count a part that has left its station."""
        if record.verdict is None or record.latency_ms is None:
            self.missing += 1
            return
        self.judged += 1
        self.verdicts[record.verdict] += 1
        self.latencies_ms.append(record.latency_ms)
