"""What `lineside camera features` says of a feature, and its refusal of what another program controls."""

import json

import pytest

from lineside_inference.camera_command.common import owned
from lineside_inference.camera_command.feature_command import as_data, as_line
from lineside_inference.sources.cameras.genicam.features import Bounds, Feature

WIDTH = Feature(512, Bounds("integer", 16, 2048, step=16), "read and write")


def test_a_feature_is_one_line_and_one_without_a_value_has_none() -> None:
    assert as_line("Width", WIDTH) == "Width: 512   (integer: 16 to 2048 in steps of 16; read and write)"
    save = Feature(None, Bounds("command"), "not available now")
    assert as_line("UserSetSave", save) == "UserSetSave:   (command: a command; not available now)"


@pytest.mark.parametrize(
    ("feature", "told"),
    [
        (WIDTH, {"kind": "integer", "least": 16, "most": 2048, "step": 16, "choices": (), "value": 512}),
        (Feature(1.5, Bounds("float"), "read and write"), {"least": None, "most": None, "step": None, "value": 1.5}),
        (Feature("On", Bounds("enumeration", choices=("Off", "On")), "read and write"), {"choices": ("Off", "On")}),
    ],
)
def test_json_has_bounds_where_there_are_some_and_no_infinity(feature: Feature, told: dict[str, object]) -> None:
    data = as_data(feature)
    assert {name: data[name] for name in told} == told
    json.dumps(data, allow_nan=False)


def test_what_the_service_may_own_is_refused_by_its_name_in_the_settings() -> None:
    refused = str(owned("another program", ["station-1"], "Write it under inference.cameras.{}.features"))
    assert "camera 'station-1' of the inference service" in refused
    assert "inference.cameras.station-1.features" in refused
    assert "inference" not in str(owned("another program", [], "inference"))
