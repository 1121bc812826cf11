"""What a Jetson's kernel says below /sys and /proc: readable in a container without tegrastats or privileges.

Where a figure stands differs between boards and JetPacks; each place that is known is looked at, and what is nowhere is
absent. `root` is `/`, or another folder with such a tree.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from lineside_exporter.device.figures import Figures, Gpu, is_connected_rail, is_real_temperature, sensor

_MAX_BYTES = 4096
_MAX_FILES = 128
_PER_MILLE = 1000.0

_GPU_FOLDERS = tuple(
    f"sys/devices/{folder}{gpu}/load"
    for folder in ("", "platform/", "platform/bus@0/", "platform/host1x/")
    for gpu in ("gpu.0", "*.ga10b", "*.gv11b", "*.gp10b", "*.gm20b", "*.gpu")
)
_EVENTS = {"oc1": "under-voltage", "oc2": "average-over-current", "oc3": "over-current"}
"""What the over-current counters of an Orin count, from the power chapter of NVIDIA's developer guide."""
_CHANNEL = re.compile(r"(?:in|power)(\d{1,2})_label")
_CAPS = re.compile(r"throttle-alert|hot-surface|-balanced$|cpufreq|devfreq|^tegra-heavy$")
"""Cooling devices that slow something down; fans are cooling devices too."""


def is_jetson(root: Path = Path("/")) -> bool:
    """Return whether this is one; a container sees no device tree, but the family of the chip."""
    return (
        _text(root / "sys/devices/soc0/family").lower() == "tegra"
        or "jetson" in _model(root).lower()
        or bool(_text(root / "etc/nv_tegra_release"))
    )


def gpu_load_file(root: Path = Path("/")) -> Path | None:
    """Return the file with the GPU's load, None where there is none: Thor has it in NVML only."""
    return next((path for pattern in _GPU_FOLDERS for path in sorted(root.glob(pattern))), None)


def read(root: Path = Path("/")) -> Figures:
    """Return all that can be read now; never raises for what cannot."""
    gpu = Gpu(
        load=_load(root),
        temperatures=dict(_temperatures(root)),
        power={**dict(_old_rails(root)), **dict(_rails(root))},
        throttled=_capped(root),
        throttle_events=dict(_events(root)),
    )
    return Figures((gpu,), about=_about(root))


def _load(root: Path) -> float | None:
    path = gpu_load_file(root)
    value = _number(path) if path else None
    return None if value is None else min(1.0, max(0.0, value / _PER_MILLE))


def _temperatures(root: Path) -> Iterator[tuple[str, float]]:
    for zone in _some(root, "sys/class/thermal/thermal_zone*"):
        name, value = sensor(_text(zone / "type")), _number(zone / "temp")
        if name and value is not None and is_real_temperature(name, value / 1000):
            yield name, value / 1000


def _rails(root: Path) -> Iterator[tuple[str, float]]:
    """Yield the rails of JetPack 5 and later: each labelled channel of a monitor with watts, or volts and amperes.

    An INA3221 has three channels with a label each, an INA238 (Thor) one channel and one label for all of it.
    """
    for monitor in _some(root, "sys/class/hwmon/hwmon*"):
        labels = {label: match[1] for label in _some(monitor, "*_label") if (match := _CHANNEL.fullmatch(label.name))}
        for label, channel in (labels or {monitor / "label": "1"}).items():
            name, watts = _text(label), _watts(monitor, channel)
            if watts is not None and is_connected_rail(name):
                yield name, watts


def _watts(monitor: Path, channel: str) -> float | None:
    """Return a channel's power, in files of microwatts, or of millivolts and milliamperes."""
    microwatts = _number(monitor / f"power{channel}_input")
    if microwatts is not None:
        return microwatts / 1e6
    millivolts, milliamperes = _number(monitor / f"in{channel}_input"), _number(monitor / f"curr{channel}_input")
    return None if millivolts is None or milliamperes is None else millivolts * milliamperes / 1e6


def _old_rails(root: Path) -> Iterator[tuple[str, float]]:
    """Yield the rails of JetPack 4, which has the product ready."""
    for label in _some(root, "sys/bus/i2c/drivers/ina3221x/*/iio[_:]device*/rail_name_*"):
        milliwatts = _number(label.parent / f"in_power{label.name.removeprefix('rail_name_')}_input")
        name = _text(label)
        if milliwatts is not None and is_connected_rail(name):
            yield name, milliwatts / 1000


def _capped(root: Path) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for device in _some(root, "sys/class/thermal/cooling_device*"):
        kind, state = _text(device / "type").lower(), _number(device / "cur_state")
        if state is not None and _CAPS.search(kind):
            found[kind] = found.get(kind, False) or state > 0
    return found


def _events(root: Path) -> Iterator[tuple[str, int]]:
    for path in _some(root, "sys/class/hwmon/hwmon*/oc*_event_cnt"):
        count = _number(path)
        if count is not None and count >= 0:
            which = path.name.removesuffix("_event_cnt")
            yield _EVENTS.get(which, which), int(count)


def _about(root: Path) -> dict[str, str]:
    release = re.search(r"R(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)", _text(root / "etc/nv_tegra_release"))
    found = {"model": _model(root), "release": f"R{release[1]}.{release[2]}" if release else ""}
    return {name: value for name, value in found.items() if value}


def _model(root: Path) -> str:
    return _text(root / "proc/device-tree/model") or _text(root / "sys/devices/soc0/machine")


def _some(root: Path, pattern: str) -> list[Path]:
    try:
        return sorted(root.glob(pattern))[:_MAX_FILES]
    except OSError:
        return []


def _number(path: Path) -> float | None:
    """Return a file's whole number; a sensor without power has a file that cannot be read."""
    text = _text(path)
    return float(text) if re.fullmatch(r"-?[0-9]{1,12}", text) else None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_BYTES).decode("utf-8", "replace").strip("\0 \n\t")
    except OSError:
        return ""
