"""What is said of a camera that was tried."""

from dataclasses import replace

import numpy as np
import pytest

from lineside_inference.camera_command.trial_command import as_data, as_lines
from lineside_inference.sources.cameras.genicam.trial import Light, Trial, judge, light_of

WELL = Trial(
    asked=4,
    times_ms=(20.0, 21.0, 22.0, 30.0),
    width=640,
    height=480,
    pixel_format="Mono8",
    packet_size=1400,
    light=Light(mean=0.4, white=0.01, black=0.1, spread=40.0),
    temperature=50.0,
)


def test_a_camera_that_does_well_needs_nothing() -> None:
    assert judge(WELL) == []
    assert as_data(WELL, [])["is_well"] is True
    text = "\n".join(as_lines(WELL, []))
    assert "frames: 4 of 4 came (software)" in text
    assert "21.5 ms usually, 30.0 ms at most, jitter 10.0 ms" in text
    assert text.endswith("verdict: well, it can be used")


@pytest.mark.parametrize(
    ("changed", "said", "is_due"),
    [
        (
            {"times_ms": (), "failures": ("it showed no newer frame",) * 4},
            "4 of 4 frames did not come: it showed",
            True,
        ),
        ({"incomplete": 2, "missing_packets": 9}, "2 frames were not whole (at most 9 packets", True),
        ({"resent_packets": 5}, "5 packets were sent again", False),
        ({"socket_drops": 5}, "net.core.rmem_max", False),
        ({"times_ms": (20.0, 20.0, 90.0)}, "One frame took 90 ms", False),
        ({"light": Light(mean=0.9, white=0.5, black=0.0, spread=40.0)}, "50 % of the pixels are white", False),
        ({"light": Light(mean=0.01, white=0.0, black=0.9, spread=5.0)}, "The image is dark", False),
        ({"light": Light(mean=0.5, white=0.0, black=0.0, spread=0.1)}, "The image is even", True),
        ({"temperature": 80.0}, "It is 80 °C hot", False),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(changed: dict[str, object], said: str, is_due: bool) -> None:
    trial = replace(WELL, **changed)
    (advice,) = judge(trial)
    assert said in advice.text
    assert advice.is_due is is_due
    assert as_data(trial, [advice])["is_well"] is not is_due
    assert f"{'to do' if is_due else 'may help'}: {advice.text}" in as_lines(trial, [advice])


def test_the_light_of_gray_and_of_colour() -> None:
    gray = np.full((10, 10), 255, np.uint8)
    gray[:5] = 0
    assert light_of(gray) == Light(mean=0.5, white=0.5, black=0.5, spread=127.5)
    blue = np.zeros((4, 4, 3), np.uint8)
    blue[..., 0] = 255
    assert light_of(blue).white == 1.0
    assert light_of(blue).mean == pytest.approx(1 / 3)
