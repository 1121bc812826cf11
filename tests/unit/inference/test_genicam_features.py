import pytest

from lineside_inference.errors import CameraFailed
from lineside_inference.sources.cameras.genicam.features import (
    Bounds,
    Kind,
    Value,
    check_taken,
    from_text,
    ordered,
    problem,
    resets,
    unknown,
)


def test_sizes_stand_before_offsets_and_automatic_modes_before_their_values() -> None:
    given: dict[str, Value] = {
        "Sharpness": 1,
        "ExposureTime": 5.0,
        "OffsetX": 8,
        "Width": 64,
        "ExposureAuto": "Off",
        "PixelFormat": "Mono8",
        "BinningHorizontal": 2,
        "Contrast": 3,
    }
    assert [name for name, _ in ordered(given)] == [
        *(
            "BinningHorizontal",
            "PixelFormat",
            "Width",
            "OffsetX",
            "ExposureAuto",
            "ExposureTime",
            "Sharpness",
            "Contrast",
        )
    ]


def test_an_offset_is_put_back_before_a_size_that_is_given_and_only_then() -> None:
    assert resets({"Width": 8, "Height": 8}) == ["OffsetX", "OffsetY"]
    assert resets({"Height": 8, "OffsetX": 8}) == ["OffsetY"]
    assert resets({"OffsetX": 8}) == []


WIDTH = Bounds("integer", 16, 2048, step=16)


@pytest.mark.parametrize(
    ("value", "bounds", "said"),
    [
        (32, WIDTH, ""),
        (33, WIDTH, "F: 33 does not fit; this camera takes 16 to 2048 in steps of 16"),
        (4096, WIDTH, "F: 4096 does not fit; this camera takes 16 to 2048 in steps of 16"),
        (True, WIDTH, "F: True does not fit; this camera takes 16 to 2048 in steps of 16"),
        (32.5, WIDTH, "F: 32.5 does not fit; this camera takes 16 to 2048 in steps of 16"),
        (5, Bounds("float", 0.5, 10.0), ""),
        (float("nan"), Bounds("float", 0.5, 10.0), "F: nan does not fit; this camera takes 0.5 to 10"),
        ("5", Bounds("float", 0.5, 10.0), "F: '5' does not fit; this camera takes 0.5 to 10"),
        ("Off", Bounds("enumeration", choices=("Off", "Once")), ""),
        (
            "off",
            Bounds("enumeration", choices=("Off", "Once")),
            "F: 'off' does not fit; this camera takes one of Off, Once",
        ),
        (1, Bounds("boolean"), "F: 1 does not fit; this camera takes true or false"),
        (False, Bounds("boolean"), ""),
        ("a", Bounds("string"), ""),
        (1, Bounds("command"), "F is a command: it has no value"),
    ],
)
def test_a_value_is_judged_by_the_cameras_bounds(value: Value, bounds: Bounds, said: str) -> None:
    assert problem("F", value, bounds) == said


@pytest.mark.parametrize(("wanted", "taken"), [(5.0, 5.01), (5, 5.0), (32, 32), ("Off", "Off"), (True, True)])
def test_what_a_camera_took_is_taken_where_a_float_is_rounded_at_most(wanted: Value, taken: Value) -> None:
    check_taken("F", wanted, taken, Bounds("float", 0.0, 10.0))


@pytest.mark.parametrize(("wanted", "taken"), [(5.0, 5.1), (32, 48), ("Off", "On"), (True, False)])
def test_what_a_camera_did_not_take_is_refused(wanted: Value, taken: Value) -> None:
    with pytest.raises(CameraFailed, match=rf"feature F was set to {wanted!r} and reads {taken!r}"):
        check_taken("F", wanted, taken, Bounds("float", 0.0, 10.0))


def test_a_feature_that_is_not_there_is_answered_with_the_nearest() -> None:
    known = {"ExposureTimeAbs", "Width", "WidthMax", "GainRaw"}
    assert "it has ExposureTimeAbs" in unknown("ExposureTime", known).what
    assert "it has nothing like it" in unknown("Zzz", known).what


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("0x10", "integer", 16),
        ("12.5", "integer", "12.5"),
        ("2000", "float", 2000.0),
        ("fast", "float", "fast"),
        ("True", "boolean", True),
        ("1", "boolean", "1"),
        ("1", "string", "1"),
        ("true", "enumeration", "true"),
    ],
)
def test_a_word_means_what_the_features_kind_makes_of_it_and_else_stays_a_word(
    text: str, kind: Kind, value: Value
) -> None:
    found = from_text(text, kind)
    assert (found, type(found)) == (value, type(value))
