"""A file of a camera's features: what is read of it, in which order it is written, and what is refused by line."""

from pathlib import Path

import pytest

from lineside_inference.errors import CameraFailed
from lineside_inference.sources.cameras.genicam.features_file import MOST_BYTES, Line, arranged, parse, read, written

SELECTORS = {
    "Gain": ("GainSelector",),
    "GainAuto": ("GainSelector",),
    "TriggerMode": ("TriggerSelector",),
    "TriggerActivation": ("TriggerSelector",),
    "LineMode": ("LineSelector",),
}
PYLON = """\
# {05D8C294-F295-4dfb-9D01-096BD04049F4}
# GenApi persistence file (version 3.1.0)
# Device = Maker::GigE (Generic GigE camera) -- Device version = 1.0.0
GainAuto\tOff
GainSelector\tRed
Gain\t1.5
GainSelector\tAll
Gain\t2.5
OffsetX\t16
PixelFormat\tMono8
Width\t640
TriggerSelector\tFrameStart
TriggerMode\tOn
TriggerActivation\tFallingEdge
DeviceUserID\tthe-other-one
ExposureTime\t2000
"""


def pairs(lines: list[Line]) -> list[tuple[str, object]]:
    return [(line.name, line.value) for line in lines]


def test_pylons_file_is_written_in_the_standards_order_each_line_behind_its_selector() -> None:
    lines = arranged(parse(PYLON, "a.pfs"), SELECTORS)
    assert pairs(lines) == [
        ("PixelFormat", "Mono8"),
        ("Width", "640"),
        ("OffsetX", "16"),
        ("ExposureTime", "2000"),
        ("GainAuto", "Off"),
        ("GainSelector", "Red"),
        ("Gain", "1.5"),
        ("GainSelector", "All"),
        ("Gain", "2.5"),
        ("TriggerSelector", "FrameStart"),
        ("TriggerActivation", "FallingEdge"),
    ]
    assert lines[0].where == "a.pfs, line 10"


def test_the_newer_form_says_the_selector_in_its_line() -> None:
    text = "Gain\t{GainSelector=All}\t2.5\nGain\t{GainSelector=Red}\t1.5\nWidth\t64\nX\t{A=1, B=2}\t3\n"
    assert pairs(arranged(parse(text, "a.pfs"), SELECTORS)) == [
        ("Width", "64"),
        ("GainSelector", "All"),
        ("Gain", "2.5"),
        ("GainSelector", "Red"),
        ("Gain", "1.5"),
        ("A", "1"),
        ("B", "2"),
        ("X", "3"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Width\t64\nDeviceUserText\ta, b = c",
        "Width=64\nDeviceUserText=a, b = c",
        "Name;Value\nWidth;64\nDeviceUserText;a, b",
        'Feature,Value\r\n"Width","64"\r\n"DeviceUserText","a, b"\r\n',
        "\n  # said\nWidth = 64\nDeviceUserText = a, b = c\n",
    ],
    ids=["tab", "equals", "semicolon", "csv", "spaces"],
)
def test_every_separator_is_read(text: str) -> None:
    lines = list(parse(text, "a"))
    assert pairs(lines)[0] == ("Width", "64")
    assert str(lines[1].value).startswith("a, b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Width\t64\nnonsense", "a.pfs, line 2: 'nonsense': there is nothing between name and value"),
        ("# a\n\nWi dth\t64", "a.pfs, line 3"),
        ("<xml>=1", "is no name of a feature"),
        ("Width\t64\t3", "it has 3 columns"),
        ("Gain\t{All}\t3", "does not say of which selector it is"),
        ("9=3", "'9' is no name"),
    ],
)
def test_what_is_no_line_is_refused_with_its_number(text: str, said: str) -> None:
    with pytest.raises(CameraFailed) as refused:
        list(parse(text, "a.pfs"))
    assert said in refused.value.what


def test_two_values_of_one_feature_are_refused_and_the_same_twice_is_not() -> None:
    with pytest.raises(CameraFailed) as refused:
        arranged(parse("Width=64\nHeight=1\nWidth=65", "a"), SELECTORS)
    assert "a, line 3: Width is '65', and was '64' in a, line 1" in refused.value.what
    assert len(arranged(parse("Width=64\nWidth=64", "a"), SELECTORS)) == 2


def test_what_the_settings_say_themselves_stands_in_the_same_order_and_may_be_the_services() -> None:
    own = [Line("TriggerSelector", "FrameStart"), Line("TriggerMode", "On"), Line("Width", 128)]
    lines = arranged([*parse("Gain=1\nTriggerMode=Off\nHeight=8", "a"), *own], SELECTORS)
    assert pairs(lines) == [
        ("Width", 128),
        ("Height", "8"),
        ("Gain", "1"),
        ("TriggerSelector", "FrameStart"),
        ("TriggerMode", "On"),
    ]


def test_a_selector_alone_is_left_as_the_file_leaves_it() -> None:
    text = "LineSelector=Line1\nLineMode=Input\nLineSelector=Line2\nLineMode=Output\nLineSelector=Line1\n"
    assert pairs(arranged(parse(text, "a"), SELECTORS))[-1] == ("LineSelector", "Line1")


def test_what_is_written_is_read_again() -> None:
    lines = [Line("GainSelector", "All"), Line("Gain", 1.5), Line("ReverseX", value=True), Line("Width", 64)]
    text = written(lines, "Maker\nWidth\t1")
    assert text.startswith("# {05D8C294-F295-4dfb-9D01-096BD04049F4}\n")
    assert pairs(list(parse(text, "a"))) == [
        ("GainSelector", "All"),
        ("Gain", "1.5"),
        ("ReverseX", "1"),
        ("Width", "64"),
    ]


def test_a_file_that_is_none_says_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "a.pfs"
    with pytest.raises(CameraFailed, match="cannot be read: No such file"):
        read(file)
    file.write_bytes("Width=64\n".encode("utf-16"))
    with pytest.raises(CameraFailed, match="is no text"):
        read(file)
    file.write_bytes(b"#" * (MOST_BYTES + 1))
    with pytest.raises(CameraFailed, match="has more than"):
        read(file)
    file.write_bytes(b"\xef\xbb\xbf# caf\xe9\r\nWidth\t64\r\n")
    assert pairs(read(file)) == [("Width", "64")]
    file.write_bytes(b"")
    assert read(file) == []
