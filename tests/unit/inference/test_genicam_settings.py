from typing import Any

import pytest
from pydantic import ValidationError

from lineside_inference.errors import CameraFailed
from lineside_inference.settings import CameraSettings, HardwareTrigger
from lineside_inference.sources.cameras.genicam.discovery import Found, choose


def camera(serial: str, mac: str = "00:00:00:00:00:01", address: str = "192.0.2.7") -> Found:
    return Found("Maker", "M1", serial, mac, address, "GigEVision")


def test_a_device_and_its_features_are_all_that_is_needed() -> None:
    settings = CameraSettings.model_validate(
        {"kind": "genicam", "device": "192.0.2.7", "features": {"ExposureTime": 2000, "ReverseX": True, "Gain": 1.5}}
    )
    assert settings.acquisition == "software"
    assert settings.features == {"ExposureTime": 2000, "ReverseX": True, "Gain": 1.5}
    assert settings.features["ReverseX"] is True


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "genicam"}, "device: must be given with kind genicam"),
        ({"kind": "genicam", "device": "a", "url": "http://a/"}, "url: does not stand with kind genicam"),
        ({"kind": "genicam", "device": "a", "username": "b"}, "username: does not stand with kind genicam"),
        ({"url": "http://a/", "device": "a"}, "device: does not stand with kind snapshot"),
        ({"url": "http://a/", "features": {"Gain": 1}}, "features: does not stand with kind snapshot"),
        (
            {"kind": "genicam", "device": "a", "features": {"TriggerMode": "On"}},
            "TriggerMode is written by the service",
        ),
        ({"kind": "genicam", "device": "a", "features": {"a b": 1}}, "should match pattern"),
        (
            {"kind": "genicam", "device": "a", "features": {"ChunkModeActive": True}},
            "ChunkModeActive is written by the service itself: see chunks",
        ),
        ({"kind": "genicam", "device": "a", "hardware_trigger": {}}, "stands with acquisition hardware only"),
        ({"url": "http://a/", "acquisition": "hardware"}, "acquisition: does not stand with kind snapshot"),
        ({"url": "http://a/", "chunks": ["Timestamp"]}, "chunks: does not stand with kind snapshot"),
        (
            {"kind": "genicam", "device": "a", "acquisition": "hardware", "features": {"TriggerActivation": "AnyEdge"}},
            "TriggerActivation is written by the service",
        ),
        (
            {"kind": "genicam", "device": "a", "acquisition": "hardware", "warmup_frames": 1},
            "warmup_frames: does not stand with acquisition hardware: each frame is one part's",
        ),
        (
            {"kind": "genicam", "device": "a", "acquisition": "hardware", "allow_older_ms": 1},
            "allow_older_ms: does not stand with acquisition hardware",
        ),
        (
            {
                "kind": "genicam",
                "device": "a",
                "acquisition": "hardware",
                "hardware_trigger": {"window_ms": 15, "apart_ms": 30},
            },
            "window_ms: 15 is not less than half of apart_ms, 30: a frame could fit two parts",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CameraSettings.model_validate(given)


def test_an_action_fires_by_its_own_source_unless_another_is_named() -> None:
    assert HardwareTrigger().trigger_source == "Line1"
    assert HardwareTrigger.model_validate({"action": {"device_key": 1}}).trigger_source == "Action1"
    assert (
        HardwareTrigger.model_validate({"source": "Action0", "action": {"device_key": 1}}).trigger_source == "Action0"
    )
    with pytest.raises(ValidationError, match="needs ptp"):
        HardwareTrigger.model_validate({"action": {"device_key": 1, "scheduled_ms": 5}})


def test_a_camera_that_the_line_fires_needs_no_more_than_that() -> None:
    settings = CameraSettings.model_validate({"kind": "genicam", "device": "a", "acquisition": "hardware"})
    assert settings.by_itself().acquisition == "free"
    assert settings.acquisition == "hardware"
    software = CameraSettings.model_validate({"kind": "genicam", "device": "a"})
    assert software.by_itself() is software


@pytest.mark.parametrize("device", ["S1", "s1", "00:00:00:00:00:01", "00-00-00-00-00-01", "000000000001", "192.0.2.7"])
def test_a_camera_is_meant_by_serial_mac_or_address(device: str) -> None:
    meant = camera("S1")
    assert choose([camera("S2", "00:00:00:00:00:02", "192.0.2.8"), meant], device) == meant
    assert choose([], device) is None


def test_a_serial_that_two_cameras_have_is_refused_by_both() -> None:
    with pytest.raises(CameraFailed, match=r"2 cameras: .*192\.0\.2\.7; .*192\.0\.2\.8"):
        choose([camera("S1"), camera("S1", address="192.0.2.8")], "S1")


def test_a_mac_in_any_spelling_is_one_cameras_and_a_serials_zeros_count() -> None:
    named = camera("0042", "00:30:53:AB:CD:EF")
    assert choose([named], "00-30-53-ab-cd-ef") == named
    assert choose([named], "003053ABCDEF") == named
    assert choose([named], "003053ABCDEE") is None
    assert choose([named], "42") is None


def test_what_a_camera_does_not_tell_means_nothing() -> None:
    assert choose([camera("", "00:00:00:00:00:00", "")], "00:00:00:00:00:00") is None
