from pathlib import Path

import pytest

from lineside.connections import Connection
from lineside_exporter.device import discovery, tegrastats
from lineside_exporter.device.jetson import LASTS_S, Events, JetsonSource
from lineside_exporter.device.nvml import NvmlSource
from lineside_exporter.device.tegrastats import Line
from lineside_exporter.errors import SourceAway
from tests.support.clocks import ManualClock
from tests.support.jetson_tree import grow, recorded
from tests.support.nvml_table import Driver, load


async def read(source: JetsonSource) -> dict[str, float]:
    return {
        sample.name.removeprefix("lineside_device_")
        + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in await source.read()
        for sample in family.samples
    }


async def test_sysfs_alone(tmp_path: Path) -> None:
    found = await read(JetsonSource(grow("agx-orin-jetpack-6", tmp_path)))

    assert found["gpu_load_ratio"] == 0.99
    assert found["temperature_celsius tj"] == 52.562
    assert found["throttled cpu-throttle-alert"] == 1
    assert found["throttled over-current"] == 0  # counted before we looked
    assert found["throttle_events_total over-current"] == 37
    assert found["info NVIDIA Jetson AGX Orin Developer Kit"] == 1
    assert not [name for name in found if name.startswith(("memory_controller", "tegrastats", "gpu_memory"))]


async def test_tegrastats_says_what_sysfs_lacks_and_no_more(tmp_path: Path) -> None:
    line = recorded("xavier-nx-jetpack-5")
    found = await read(JetsonSource(grow("xavier-nx-jetpack-5", tmp_path), lambda: line))

    assert found["gpu_load_ratio"] == 0.504  # sysfs; the line says 0
    assert found["power_watts VDD_IN"] == pytest.approx(2.7776)
    assert found["power_watts VDD_SOC"] == 0.65  # its channel cannot be read
    assert found["temperature_celsius ao"] == 45.0
    assert found["memory_controller_load_ratio"] == 0.02
    assert found["tegrastats_unknown_fields"] == 0


async def test_tegrastats_alone(tmp_path: Path) -> None:
    found = await read(JetsonSource(tmp_path, lambda: tegrastats.parse("GR3D_FREQ 7% cpu@40C NEW x")))

    assert found == {"gpu_load_ratio": 0.07, "temperature_celsius cpu": 40.0, "tegrastats_unknown_fields": 2}


@pytest.mark.parametrize("line", [None, Line()])
async def test_where_nothing_can_be_read_it_is_away(line: Line | None, tmp_path: Path) -> None:
    with pytest.raises(SourceAway, match=r"nothing of a Jetson can be read below .*/sys\. see that the container"):
        await JetsonSource(tmp_path, lambda: line).read()


async def test_an_event_is_shown_for_a_while(tmp_path: Path) -> None:
    clock, root = ManualClock(100.0), grow("agx-orin-jetpack-6", tmp_path)
    source = JetsonSource(root, monotonic=clock)
    assert (await read(source))["throttled over-current"] == 0

    (root / "sys/class/hwmon/hwmon0/oc3_event_cnt").write_text("38\n")
    found = await read(source)
    assert found["throttled over-current"] == 1
    assert found["throttled under-voltage"] == 0
    assert found["throttle_events_total over-current"] == 38

    clock.now += LASTS_S - 1
    assert (await read(source))["throttled over-current"] == 1
    clock.now += 1
    assert (await read(source))["throttled over-current"] == 0


def test_a_counter_that_begins_again_is_no_event() -> None:
    events = Events(ManualClock(100.0))
    events.now({"over-current": 5})

    assert events.now({"over-current": 0}) == {"over-current": False}
    assert events.now({"over-current": 1}) == {"over-current": True}


class Registered:
    """Connections, as a service keeps them."""

    def __init__(self) -> None:
        self.made: list[Connection] = []

    def __call__(self, name: str, target: str, **options: object) -> Connection:
        self.made.append(Connection(name, target, required=bool(options["required"])))
        return self.made[-1]


async def test_a_jetson_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "tegrastats"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    registered = Registered()

    devices = await discovery.discover(registered, grow("agx-orin-jetpack-6", tmp_path), period_s=7.0, timeout_s=3.0)

    assert [(source.name, source.period_s, source.timeout_s) for source in devices.sources] == [("jetson", 7.0, 3.0)]
    assert devices.tegrastats is not None
    assert [(link.name, link.target, link.required) for link in registered.made] == [
        ("tegrastats", f"{program} --interval 1000", False)
    ]


async def test_a_jetson_without_the_program_is_read_by_sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    devices = await discovery.discover(Registered(), grow("nano-jetpack-4", tmp_path))

    assert [source.name for source in devices.sources] == ["jetson"]
    assert devices.tegrastats is None


async def test_thor_is_asked_by_nvml_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(Driver(), monkeypatch)
    (tmp_path / "sys/devices/soc0").mkdir(parents=True)
    (tmp_path / "sys/devices/soc0/family").write_text("Tegra\n")

    devices = await discovery.discover(Registered(), tmp_path)

    assert [type(source) for source in devices.sources] == [JetsonSource, NvmlSource]


async def test_a_machine_with_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(Driver(), monkeypatch)

    devices = await discovery.discover(Registered(), tmp_path)

    assert [source.name for source in devices.sources] == ["nvml"]


async def test_a_machine_without_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = load(Driver(), monkeypatch)
    driver.status = 9  # the driver is not loaded

    devices = await discovery.discover(Registered(), tmp_path)

    assert devices == discovery.Devices(())
