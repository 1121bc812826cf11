from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside_exporter.device import sysfs
from tests.support.jetson_tree import TREES, grow

BOARDS = sorted(path.stem for path in TREES.glob("*.txt"))


@pytest.mark.parametrize("board", BOARDS)
def test_every_board_is_a_jetson_with_a_gpu(board: str, tmp_path: Path) -> None:
    root = grow(board, tmp_path)

    assert sysfs.is_jetson(root)
    assert sysfs.gpu_load_file(root) is not None


def test_another_machine_is_none(tmp_path: Path) -> None:
    (tmp_path / "sys/devices/soc0").mkdir(parents=True)
    (tmp_path / "sys/devices/soc0/family").write_text("Freescale i.MX\n")

    assert not sysfs.is_jetson(tmp_path)
    assert sysfs.gpu_load_file(tmp_path) is None


def test_nano(tmp_path: Path) -> None:
    figures = sysfs.read(grow("nano-jetpack-4", tmp_path))

    gpu = figures.gpus[0]
    assert gpu.load == 0.137
    assert gpu.temperatures == {"ao": 45.0, "cpu": 40.5, "gpu": 41.0, "pll": 39.0, "fan-estimate": 41.0}
    assert gpu.power == {"POM_5V_IN": 1.75, "POM_5V_GPU": 0.0, "POM_5V_CPU": 0.366}
    assert gpu.throttled == {"cpu-balanced": False, "gpu-balanced": True}
    assert gpu.throttle_events == {}
    assert figures.about == {"model": "NVIDIA Jetson Nano Developer Kit", "release": "R32.7.1"}


def test_xavier_and_what_cannot_be_read_there(tmp_path: Path) -> None:
    gpu = sysfs.read(grow("xavier-nx-jetpack-5", tmp_path)).gpus[0]

    assert gpu.load == 0.504
    assert gpu.temperatures == {"cpu": 46.5, "gpu": 45.5}
    assert gpu.power == pytest.approx({"VDD_IN": 2.7776, "VDD_CPU_GPU_CV": 0.653664})
    assert gpu.throttled == {"cpufreq-cpu0": False, "17000000.gv11b-devfreq": False}


def test_orin_in_a_container(tmp_path: Path) -> None:
    figures = sysfs.read(grow("agx-orin-jetpack-6", tmp_path))

    gpu = figures.gpus[0]
    assert gpu.load == 0.99
    assert gpu.temperatures == {"cpu": 52.562, "gpu": 49.75, "tj": 52.562}
    assert set(gpu.power) == {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"}
    assert gpu.power["VIN_SYS_5V0"] == pytest.approx(4.705)
    assert gpu.throttled == {"cpu-throttle-alert": True, "gpu-throttle-alert": False, "hot-surface-alert": False}
    assert gpu.throttle_events == {"under-voltage": 0, "average-over-current": 15, "over-current": 37}
    assert figures.about == {"model": "NVIDIA Jetson AGX Orin Developer Kit"}


def test_thor_has_power_monitors_of_two_kinds(tmp_path: Path) -> None:
    hwmon = tmp_path / "sys/class/hwmon"
    files = {
        "hwmon0/name": "nvme",
        "hwmon0/temp1_label": "Composite",
        "hwmon0/temp1_input": "40850",
        "hwmon1/name": "ina238",
        "hwmon1/label": "VIN",
        "hwmon1/in0_input": "3",
        "hwmon1/in1_input": "19980",
        "hwmon1/curr1_input": "1175",
        "hwmon1/power1_input": "23476000",
        "hwmon2/name": "ina3221",
        "hwmon2/in1_label": "VDD_GPU",
        "hwmon2/in1_input": "19600",
        "hwmon2/curr1_input": "-20",
        "hwmon2/in2_label": "VDD_CPU_SOC_MSS",
        "hwmon2/in2_input": "19600",
        "hwmon2/curr2_input": "212",
        "hwmon2/in7_label": "sum of shunt voltages",
        "hwmon2/in7_input": "99",
        "hwmon3/name": "ina226",
        "hwmon3/label": "VDD_AUX",
        "hwmon3/in1_input": "5000",
        "hwmon3/curr1_input": "100",
        "hwmon4/name": "ina238",
        "hwmon4/power1_input": "5000000",
    }
    for name, text in files.items():
        (hwmon / name).parent.mkdir(parents=True, exist_ok=True)
        (hwmon / name).write_text(f"{text}\n")

    power = sysfs.read(tmp_path).gpus[0].power

    assert power == pytest.approx({"VIN": 23.476, "VDD_GPU": -0.392, "VDD_CPU_SOC_MSS": 4.1552, "VDD_AUX": 0.5})


def test_a_machine_without_any_of_it_says_nothing(tmp_path: Path) -> None:
    figures = sysfs.read(tmp_path)

    gpu = figures.gpus[0]
    assert (gpu.load, gpu.temperatures, gpu.power, gpu.throttled) == (None, {}, {}, {})


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=64))
def test_nothing_that_a_file_holds_is_an_error(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = grow("agx-orin-jetpack-6", tmp_path_factory.mktemp("root"))
    files = [path for path in root.rglob("*") if path.is_file()]
    assert files
    for path in files:
        path.write_bytes(content)

    gpu = sysfs.read(root).gpus[0]

    assert gpu.load is None or 0 <= gpu.load <= 1
