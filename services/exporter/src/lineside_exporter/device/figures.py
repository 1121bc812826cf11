"""A device's figures as metrics, whichever source they come from. What could not be read is absent."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

MAX_SERIES = 32
"""Most sensors, rails or reasons of one GPU that are shown; what more there is, by name, is left out."""

_COLDEST_C, _HOTTEST_C = -100.0, 200.0
_UNREAL_PMIC_C = (50.0, 100.0)
_SENSOR_TAILS = re.compile(r"[-_](therm|thermal|die|tegra)$")


@dataclass(frozen=True)
class Gpu:
    """One GPU and what is measured around it; `index` is None where the machine can only have one."""

    index: int | None = None
    load: float | None = None
    """0 to 1."""
    memory_used: int | None = None
    """Bytes of its own memory; None where it shares the machine's."""
    memory_total: int | None = None
    temperatures: Mapping[str, float] = field(default_factory=dict)
    """Degrees Celsius by sensor."""
    power: Mapping[str, float] = field(default_factory=dict)
    """Watts by rail."""
    throttled: Mapping[str, bool] = field(default_factory=dict)
    """By reason, whether it slows the device down now."""
    throttle_events: Mapping[str, int] = field(default_factory=dict)
    """By reason, how often it has since the device started."""


@dataclass(frozen=True)
class Figures:
    """All that one source says of the device at one time."""

    gpus: tuple[Gpu, ...] = ()
    memory_controller_load: float | None = None
    """0 to 1; how busy the way to the memory is."""
    about: Mapping[str, str] = field(default_factory=dict)
    """What the device is: `model`, `release`."""


def sensor(name: str) -> str:
    """Return a sensor's name as all JetPacks would have it: `CPU-therm`, `cpu-thermal` and `CPU` are `cpu`."""
    short = _SENSOR_TAILS.sub("", name.strip().lower())
    return "fan-estimate" if short in {"thermal", "thermal-fan-est"} else short


def is_real_temperature(name: str, celsius: float) -> bool:
    """Return whether a sensor's value is a measurement, by the name that `sensor` gave it.

    A sensor without power reads -256. The power controller of JetPack 4 and 5 has no driver and reads 100 or 50 always.
    """
    if name == "pmic" and celsius in _UNREAL_PMIC_C:
        return False
    return _COLDEST_C < celsius < _HOTTEST_C


def is_connected_rail(name: str) -> bool:
    """Return whether a rail's name is one: a channel that leads nowhere is called NC."""
    return name.strip() not in {"", "NC"}


def families(found: Figures) -> Iterator[Metric]:
    """Yield the metrics; a family of which nothing was read is left out."""
    indexed = any(gpu.index is not None for gpu in found.gpus)
    for metric in (*_gpus(found.gpus, indexed=indexed), *_device(found)):
        if metric.samples:
            yield metric


_ONE: Final[tuple[tuple[str, str, Callable[[Gpu], float | None]], ...]] = (
    ("gpu_load_ratio", "How busy the GPU is, 0 to 1.", lambda gpu: gpu.load),
    ("gpu_memory_used_bytes", "Bytes of the GPU's own memory in use.", lambda gpu: gpu.memory_used),
    ("gpu_memory_total_bytes", "Bytes of memory that the GPU has of its own.", lambda gpu: gpu.memory_total),
)
_MANY: Final[tuple[tuple[str, str, str, Callable[[Gpu], Mapping[str, float]]], ...]] = (
    ("temperature_celsius", "Temperature at a sensor.", "sensor", lambda gpu: gpu.temperatures),
    ("power_watts", "Power on a rail.", "rail", lambda gpu: gpu.power),
    ("throttled", "1 while the device is slowed down for this reason.", "reason", lambda gpu: gpu.throttled),
)


def _gpus(gpus: Sequence[Gpu], *, indexed: bool) -> Iterator[Metric]:
    label = ["gpu"] if indexed else []
    numbered = [([str(gpu.index)] if indexed else [], gpu) for gpu in gpus]
    for name, text, value in _ONE:
        gauge = GaugeMetricFamily(f"lineside_device_{name}", text, labels=label)
        for number, gpu in numbered:
            figure = value(gpu)
            if figure is not None:
                gauge.add_metric(number, figure)
        yield gauge
    for name, text, what, values in _MANY:
        gauge = GaugeMetricFamily(f"lineside_device_{name}", text, labels=[*label, what])
        for number, gpu in numbered:
            for word, figure in sorted(values(gpu).items())[:MAX_SERIES]:
                gauge.add_metric([*number, word], float(figure))
        yield gauge
    counter = CounterMetricFamily(
        "lineside_device_throttle_events",
        "How often the device was slowed down for this reason since it started.",
        labels=[*label, "reason"],
    )
    for number, gpu in numbered:
        for word, count in sorted(gpu.throttle_events.items())[:MAX_SERIES]:
            counter.add_metric([*number, word], count)
    yield counter


def _device(found: Figures) -> Iterator[Metric]:
    load = GaugeMetricFamily(
        "lineside_device_memory_controller_load_ratio", "How busy the way to the memory is, 0 to 1."
    )
    if found.memory_controller_load is not None:
        load.add_metric([], found.memory_controller_load)
    yield load
    if found.about:
        yield InfoMetricFamily("lineside_device", "What the device is.", value=dict(found.about))
