import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_exporter.device import tegrastats
from lineside_exporter.device.tegrastats import MAX_CHARACTERS, Load, is_empty, parse
from tests.support.jetson_tree import RECORDED, recorded

LINES = [
    pytest.param(line, id=f"{path.stem}-{number}")
    for path in sorted(RECORDED.glob("*.txt"))
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines())
    if not line.startswith("#")
]
MB = 1024 * 1024
PIECES = ["RAM", "SWAP", "IRAM", "CPU", "[", "]", "12%@3", "off", ",", "/", "MB", "(lfb", "4x", "MTS", "fg"]
PIECES += ["GR3D_FREQ", "@[", "1,2", "EMC_FREQ", "cpu@", "-256C"]


@pytest.mark.parametrize("line", LINES)
def test_every_recorded_line_is_understood_whole(line: str) -> None:
    found = parse(line)

    assert found.unknown == 0
    assert not is_empty(found)
    assert found.ram is not None
    assert 0 < found.ram[0] < found.ram[1]
    assert found.swap is None or found.swap[0] <= found.swap[1]
    assert len(found.cpus) in {4, 6, 8, 12, 14}
    assert found.gpu is not None
    assert found.temperatures
    assert all(20 < celsius < 60 for celsius in found.temperatures.values())
    assert found.power
    assert all(0 <= watts < 25 for watts in found.power.values())


def test_nano() -> None:
    found = recorded("nano-jetpack-4", 1)

    assert found.ram == (1923 * MB, 3964 * MB)
    assert found.swap == (191 * MB, 1982 * MB)
    assert found.iram == (0, 252 * 1024)
    assert found.cpus == tuple(Load(percent / 100, (1224,)) for percent in (5, 4, 3, 6))
    assert found.memory_controller == Load(0.0, (1600,))
    assert found.gpu == Load(0.0, (76,))
    assert found.engines == {"ape": Load(None, (25,))}
    assert found.power == {"POM_5V_IN": 1.75, "POM_5V_GPU": 0.0, "POM_5V_CPU": 0.366}


def test_the_power_controller_of_old_boards_is_no_sensor() -> None:
    assert recorded("nano-jetpack-4").temperatures == {
        "pll": 39.0,
        "cpu": 40.5,
        "gpu": 41.0,
        "ao": 46.0,
        "fan-estimate": 41.0,
    }
    assert parse("PMIC@41.5C").temperatures == {"pmic": 41.5}


def test_cores_that_are_off() -> None:
    assert recorded("tx2-jetpack-4").cpus == (Load(0.02, (345,)), None, None, None, None, None)


def test_xavier_has_rails_named_as_what_they_feed() -> None:
    found = recorded("agx-xavier-jetpack-4")

    assert found.power == {"GPU": 0.463, "CPU": 0.618, "SOC": 2.936, "CV": 0.0, "VDDRQ": 0.309, "SYS5V": 3.306}
    assert found.cpus == (Load(0.0, (1190,)),) * 8


def test_sensors_and_channels_that_are_none_are_left_out() -> None:
    found = recorded("agx-orin-jetpack-5", 2)

    assert set(found.temperatures) == {"cpu", "tboard", "soc2", "tdiode", "soc0", "tj", "soc1"}
    assert set(found.power) == {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"}
    assert found.gpu == Load(0.0, (0, 0))


def test_of_two_clusters_the_busier_counts() -> None:
    assert recorded("agx-orin-jetpack-5", 1).gpu == Load(0.0, (114, 114))
    assert parse("GR3D_FREQ 12%@114 GR3D2_FREQ 78%@306").gpu == Load(0.78, (114, 306))


def test_engines() -> None:
    engines = recorded("agx-orin-jetpack-6").engines

    assert engines["nvenc"] == Load(0.79, (166,))
    assert engines["nvdec"] is None
    assert engines["pva0"] is None
    assert engines["ape"] == Load(None, (174,))


def test_a_load_that_is_not_said_is_absent() -> None:
    found = recorded("agx-thor-jetpack-7")

    assert found.gpu == Load(None, (0, 0, 0))
    assert tegrastats.figures(found).gpus[0].load is None


def test_thor_with_jetpack_7_2_prints_the_highest_value_behind_each_and_rails_just_below_0() -> None:
    found = parse(
        "07-02-2026 10:00:32 RAM 4208/125773MB (lfb 31x4MB) SWAP 0/2048MB (cached 0MB) CPU [1%@972,off] "
        "cpu@49.75C/51.125C tj@50.031C/51.5C gpu@-256C/-256C soc012@48C/49.5C "
        "VDD_GPU -392mW/-380mW/3920mW VDD_CPU_SOC_MSS 4165mW/4100mW/9804mW VIN 23500mW/23100mW"
    )

    assert found.unknown == 0
    assert found.temperatures == {"cpu": 49.75, "tj": 50.031, "soc012": 48.0}
    assert found.power == {"VDD_GPU": -0.392, "VDD_CPU_SOC_MSS": 4.165, "VIN": 23.5}
    assert parse("VDD_GPU 5/5/7 cpu@40C/C VDD_IN 5mW/5mW/5mW/5mW").unknown == 2


def test_a_busy_board_as_figures() -> None:
    figures = tegrastats.figures(recorded("orin-nano-jetpack-6", 1))

    gpu = figures.gpus[0]
    assert gpu.load == 0.99
    assert gpu.index is None
    assert gpu.temperatures["gpu"] == 58.625
    assert gpu.power == {"VDD_IN": 16.321, "VDD_CPU_GPU_CV": 7.104, "VDD_SOC": 3.12}
    assert figures.memory_controller_load == 0.61


def test_fields_of_a_newer_version_cost_nothing_else_and_are_counted() -> None:
    found = parse("RAM 1/2MB NVWARP 12%@[3,4] GR3D_FREQ 5% FUTURE@yes cpu@40C HOLO {a} VDD_IN 5mW/5mW")

    assert found.unknown == 4  # {a} is a word of its own
    assert (found.ram, found.gpu, found.temperatures, found.power) == (
        (MB, 2 * MB),
        Load(0.05),
        {"cpu": 40.0},
        {"VDD_IN": 0.005},
    )


@pytest.mark.parametrize("text", ["", "   ", "tegrastats: permission denied", "Run tegrastats with sudo", "CPU []"])
def test_a_message_is_no_line(text: str) -> None:
    assert is_empty(parse(text))


def test_a_percentage_beyond_all_is_all() -> None:
    assert parse("GR3D_FREQ 101%").gpu == Load(1.0)


@given(st.text(max_size=400))
def test_no_text_is_an_error(text: str) -> None:
    assert parse(text).unknown >= 0


@given(
    st.lists(
        st.sampled_from(PIECES),
        max_size=40,
    ),
    st.sampled_from(["", " "]),
)
def test_no_broken_line_is_an_error(words: list[str], between: str) -> None:
    found = parse(between.join(words))

    assert all(-100 < celsius < 200 for celsius in found.temperatures.values())


@given(st.sampled_from([param.values[0] for param in LINES]), st.data())
def test_a_line_cut_anywhere_says_nothing_that_the_whole_does_not(line: object, data: st.DataObject) -> None:
    text = str(line)
    whole, part = parse(text), parse(text[: data.draw(st.integers(0, len(text)))].rpartition(" ")[0])

    assert part.temperatures.items() <= whole.temperatures.items()
    assert part.power.items() <= whole.power.items()
    assert part.ram in {None, whole.ram}


def test_a_line_without_end_is_bounded() -> None:
    found = parse("cpu@40C " * MAX_CHARACTERS)

    assert found.temperatures == {"cpu": 40.0}
