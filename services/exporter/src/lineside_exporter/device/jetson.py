"""A Jetson as a source: sysfs first, and tegrastats for what sysfs does not say."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric

from lineside_exporter.device import figures, sysfs, tegrastats
from lineside_exporter.device.figures import Figures, Gpu
from lineside_exporter.device.tegrastats import Line
from lineside_exporter.errors import SourceAway
from lineside_exporter.single_flight import SingleFlight

LASTS_S = 60.0
"""How long a counted event is shown as throttling: longer than from one scrape to the next, so that each is seen."""


class Events:
    """Turns event counters into current states: an event counts as present for `LASTS_S` after its counter grew."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._counts: dict[str, int] = {}
        self._seen: dict[str, float] = {}

    def now(self, counts: Mapping[str, int]) -> dict[str, bool]:
        """Return by reason whether its counter grew within `LASTS_S`; what was there at the first call did not."""
        at = self._monotonic()
        for reason, count in counts.items():
            if count > self._counts.get(reason, count):
                self._seen[reason] = at
            self._counts[reason] = count
        return {reason: at - self._seen.get(reason, -LASTS_S) < LASTS_S for reason in counts}


def merged(first: Figures, second: Figures) -> Figures:
    """Return all that two sources of one Jetson say; where both do, the first is believed."""
    one, other = first.gpus[0], second.gpus[0]
    gpu = Gpu(
        load=other.load if one.load is None else one.load,
        temperatures={**other.temperatures, **one.temperatures},
        power={**other.power, **one.power},
        throttled=one.throttled,
        throttle_events=one.throttle_events,
    )
    return Figures((gpu,), memory_controller_load=second.memory_controller_load, about=first.about)


def says_something(found: Figures) -> bool:
    """Return whether anything was measured."""
    return any(gpu.load is not None or gpu.temperatures or gpu.power or gpu.throttled for gpu in found.gpus)


class JetsonSource:
    """See lineside_exporter.sources.source.Source. `newest` is tegrastats' newest line, None where there is none."""

    name = "jetson"

    def __init__(
        self,
        root: Path = Path("/"),
        newest: Callable[[], Line | None] = lambda: None,
        *,
        period_s: float = 5.0,
        timeout_s: float = 2.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.period_s = period_s
        self.timeout_s = timeout_s
        self.target = str(root / "sys")
        self._root = root
        self._newest = newest
        self._events = Events(monotonic)
        self._blocking = SingleFlight("jetson")

    async def read(self) -> Sequence[Metric]:
        """Return what is true now; raises where nothing can be read."""
        found = await self._blocking.call(lambda: sysfs.read(self._root))
        gpu = found.gpus[0]
        found = replace(
            found, gpus=(replace(gpu, throttled={**gpu.throttled, **self._events.now(gpu.throttle_events)}),)
        )
        line = self._newest()
        if line is not None:
            found = merged(found, tegrastats.figures(line))
        if not says_something(found):
            raise SourceAway(
                f"nothing of a Jetson can be read below {self.target}",
                remedy="see that the container has the host's /sys, or that nothing else hides it",
            )
        families = list(figures.families(found))
        if line is not None:
            families.append(_unknown(line))
        return families


def _unknown(line: Line) -> Metric:
    return GaugeMetricFamily(
        "lineside_device_tegrastats_unknown_fields",
        "Fields of tegrastats' newest line that this version does not know.",
        value=line.unknown,
    )
