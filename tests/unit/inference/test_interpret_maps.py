"""Segmentation and anomaly maps, with regions against a flood fill in plain Python."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_inference.errors import EngineFailed, OutputNotFinite
from lineside_inference.imaging.geometry import Geometry
from lineside_inference.interpret import interpret
from lineside_inference.interpret.thresholds import Thresholds
from lineside_inference.models.card import Card

LABELS = ["nothing", "scratch", "pit"]
WHOLE = Geometry.whole(64, 48)
BOXED = Geometry(64, 48, 0, 12, 64, 24, 128, 48)  # twice as large a picture, with padding above and below
Make = Callable[..., Card]


def segmentation(**fields: Any) -> dict[str, Any]:
    return {"name": "y", "head": "segmentation", "background": "nothing"} | fields


def anomaly(**fields: Any) -> dict[str, Any]:
    return {"name": "y", "head": "anomaly"} | fields


def flood(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """Return the connected cells of a mask, the slow way."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while left:
        region, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            region.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge += near
        found.append(region)
    return found


@given(seed=st.integers(0, 10_000), density=st.floats(0.05, 0.6), form=st.sampled_from(["indices", "classes", "masks"]))
def test_regions_agree_with_a_flood_fill(head_card: Make, seed: int, density: float, form: str) -> None:
    rng = np.random.default_rng(seed)
    numbers = np.where(rng.random((12, 16)) < density, rng.integers(1, 3, (12, 16)), 0)
    maps = np.stack([np.where(numbers == label, 0.9, 0.05) for label in range(3)])
    array = numbers[None] if form == "indices" else maps[None]
    card = head_card(segmentation(format=form, activation="none", max_findings=1000), LABELS, ["scratch"])
    judged = interpret({"y": array}, card, Thresholds({}, 0.5), WHOLE)
    expected = []
    for number, label in ((1, "scratch"), (2, "pit")):
        for region in flood(numbers == number):
            rows, columns = [y for y, _ in region], [x for _, x in region]
            box = (min(columns) * 4, min(rows) * 4, max(columns) * 4 + 4, max(rows) * 4 + 4)
            expected.append((label, box, len(region) * 16))
    assert sorted((one.label, one.box, one.pixels) for one in judged.findings) == sorted(expected)
    assert all(one.area == pytest.approx((one.pixels or 0) / (64 * 48), abs=1e-6) for one in judged.findings)
    assert judged.verdict == ("fail" if (numbers == 1).any() else "pass")
    for one in judged.findings:
        assert one.confidence == (1.0 if form == "indices" else pytest.approx(0.9))


@pytest.mark.parametrize("layout", ["chw", "hwc"])
def test_logits_become_the_mean_probability_of_a_region(head_card: Make, layout: str) -> None:
    logits = np.zeros((3, 12, 16), np.float32)
    logits[0] = 5
    logits[1, 3:5, 4:8] = 5 + np.log(6)  # 6 : 1 : exp(-5)
    shares = 6 / (6 + 1 + np.exp(-5))
    array = logits if layout == "chw" else logits.transpose(1, 2, 0)
    card = head_card(segmentation(layout=layout), LABELS, ["scratch"])
    judged = interpret({"y": array[None]}, card, Thresholds({}, 0.5), WHOLE)
    assert judged.reason == "scratch 0.86 >= 0.50"
    assert judged.findings[0].confidence == pytest.approx(shares, abs=1e-6)
    assert judged.findings[0].box == (16, 12, 32, 20)
    assert judged.scores == {"scratch": judged.findings[0].confidence, "pit": 0.0}


def test_without_a_background_every_pixel_counts(head_card: Make) -> None:
    card = head_card(segmentation(background=None), LABELS, ["scratch"])
    judged = interpret({"y": np.zeros((3, 12, 16))}, card, Thresholds({}, 0.5), WHOLE)
    assert [(one.label, one.area, one.confidence) for one in judged.findings] == [("nothing", 1.0, 0.333333)]


def test_regions_in_the_padding_are_cut_off(head_card: Make) -> None:
    numbers = np.zeros((12, 16), np.uint8)
    numbers[0:2, 3:9] = 1  # above the picture
    numbers[8:12, 2:4] = 2  # into the padding below
    judged = interpret({"y": numbers}, head_card(segmentation(format="indices"), LABELS), Thresholds({}, 0.5), BOXED)
    assert [(one.label, one.box, one.pixels) for one in judged.findings] == [("pit", (16, 40, 32, 48), 128)]


def test_small_regions_are_left_out(head_card: Make) -> None:
    numbers = np.zeros((48, 64), np.int64)
    numbers[0, 0] = numbers[10:12, 10:12] = 1
    card = head_card(segmentation(format="indices", min_area=4), LABELS)
    judged = interpret({"y": numbers}, card, Thresholds({}, 0.5), WHOLE)
    assert [one.pixels for one in judged.findings] == [4]


def test_masks_follow_a_threshold_below_their_own(head_card: Make) -> None:
    values = np.full((3, 12, 16), -9.0)
    values[1, 2:4, 2:4] = np.log(0.3 / 0.7)
    card = head_card(segmentation(format="masks"), LABELS)
    assert interpret({"y": values}, card, Thresholds({}, 0.5), WHOLE).verdict == "pass"
    judged = interpret({"y": values}, card, Thresholds({"scratch": 0.3}, 0.5), WHOLE)
    assert (judged.verdict, judged.reason) == ("fail", "scratch 0.30 >= 0.30")


def test_a_region_that_fails_the_part_is_kept_before_surer_ones(head_card: Make) -> None:
    values = np.zeros((3, 12, 16))
    values[2, ::3, ::3] = 0.9
    values[1, 1, 1] = 0.6
    head = segmentation(format="masks", activation="none", max_findings=3)
    judged = interpret({"y": values}, head_card(head, LABELS, ["scratch"]), Thresholds({}, 0.5), WHOLE)
    assert [one.label for one in judged.findings] == ["pit", "pit", "scratch"]
    assert (judged.verdict, judged.omitted) == ("fail", 22)


def test_noise_is_bounded(head_card: Make) -> None:
    numbers = np.zeros((400, 400), np.uint8)
    numbers[::2, ::2] = 1
    judged = interpret({"y": numbers}, head_card(segmentation(format="indices"), LABELS), Thresholds({}, 0.5))
    assert (len(judged.findings), judged.omitted) == (100, 39_900)
    assert judged.reason == "scratch 1.00 >= 0.50, scratch 1.00 >= 0.50, scratch 1.00 >= 0.50 and more"


@pytest.mark.parametrize(
    ("fields", "array", "said"),
    [
        ({}, np.zeros((4, 12, 16)), r"has shape \[4, 12, 16\], its card reads \[3, height, width\]"),
        ({}, np.zeros((2, 3, 12, 16)), r"has shape \[2, 3, 12, 16\]"),
        ({}, np.zeros((3, 0, 16)), r"has shape \[3, 0, 16\]"),
        ({"layout": "hwc"}, np.zeros((3, 12, 16)), r"its card reads \[height, width, 3\]"),
        ({"format": "indices"}, np.zeros((3, 12, 16), np.int32), r"its card reads \[height, width\]"),
        ({"format": "indices"}, np.full((12, 16), 3, np.int32), "has label number 3, its card 3 labels"),
        ({"format": "indices"}, np.full((12, 16), -1, np.int32), "has label number -1"),
    ],
)
def test_what_is_no_map_of_the_labels_is_named(
    head_card: Make, fields: dict[str, Any], array: np.ndarray, said: str
) -> None:
    with pytest.raises(EngineFailed, match=said):
        interpret({"y": array}, head_card(segmentation(**fields), LABELS), Thresholds({}, 0.5))


@given(value=st.sampled_from([np.nan, np.inf, -np.inf]), form=st.sampled_from(["classes", "masks", "indices", "map"]))
def test_what_is_not_finite_is_never_a_verdict(head_card: Make, value: float, form: str) -> None:
    array = np.zeros((12, 16) if form in {"indices", "map"} else (3, 12, 16), np.float32)
    array.reshape(-1)[-1] = value
    head = anomaly() if form == "map" else segmentation(format=form)
    card = head_card(head, ["anomaly"] if form == "map" else LABELS)
    with pytest.raises(OutputNotFinite):
        interpret({"y": array}, card, Thresholds({}, 0.5))


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=18, max_size=18), st.integers(0, 2)
)
def test_any_finite_numbers_give_a_verdict(head_card: Make, values: list[float], form: int) -> None:
    array = np.array(values, np.float32)
    if form < 2:
        card = head_card(segmentation(format=("classes", "masks")[form]), LABELS)
        judged = interpret({"y": array.reshape(3, 2, 3)}, card, Thresholds({}, 0.5), BOXED)
    else:
        judged = interpret({"y": array.reshape(3, 6)}, head_card(anomaly(), ["anomaly"]), Thresholds({}, 0.5), BOXED)
    assert judged.verdict in {"pass", "fail"}
    for one in judged.findings:
        assert one.box is not None
        assert 0 <= one.box[0] <= one.box[2] <= 128
        assert 0 <= one.box[1] <= one.box[3] <= 48


def test_an_anomaly_map_has_regions_and_heat(head_card: Make) -> None:
    values = np.full((1, 1, 48, 64), 10.0, np.float32)
    values[..., 24:28, 32:40] = 60
    values[..., 24, 32] = 90
    card = head_card(anomaly(range=[10, 110]), ["anomaly"])
    judged = interpret({"y": values}, card, Thresholds({}, 0.5), BOXED)
    assert (judged.verdict, judged.reason, judged.scores) == ("fail", "anomaly 0.80 >= 0.50", {"anomaly": 0.8})
    found = judged.findings[0]
    assert (found.confidence, found.box, found.pixels, found.area) == (0.8, (64, 24, 80, 32), 128, 0.020833)
    assert judged.heat is not None
    assert judged.heat.shape == (24, 64)
    assert (judged.heat[0, 0], judged.heat.max()) == (0, 204)


def test_a_hot_pixel_does_not_fail_a_part(head_card: Make) -> None:
    values = np.zeros((48, 64))
    values[3, 3] = 0.9
    judged = interpret({"y": values}, head_card(anomaly(min_area=4), ["anomaly"]), Thresholds({}, 0.5), WHOLE)
    assert (judged.verdict, judged.reason) == ("pass", "anomaly 0.90 >= 0.50, only in regions below 4 pixels")


def test_a_score_of_the_models_own_counts(head_card: Make) -> None:
    values = np.full((48, 64), 0.2)
    card = head_card(anomaly(score="s"), ["anomaly"])
    judged = interpret({"y": values, "s": np.array([[0.7]])}, card, Thresholds({}, 0.5), WHOLE)
    assert (judged.verdict, judged.reason) == ("fail", "anomaly 0.70 >= 0.50")
    assert [(one.confidence, one.box) for one in judged.findings] == [(0.7, None)]
    low = interpret({"y": values, "s": np.array([0.1])}, card, Thresholds({}, 0.15), WHOLE)
    assert (low.verdict, low.reason) == ("fail", "anomaly 0.10 < 0.15, but its map 0.20 >= 0.15")


@pytest.mark.parametrize(("value", "verdict"), [(3.0, "fail"), (1.0, "pass")])
def test_an_anomaly_score_alone(head_card: Make, value: float, verdict: str) -> None:
    card = head_card(anomaly(kind="score", range=[0, 4]), ["anomaly"])
    judged = interpret({"y": np.array([value])}, card, Thresholds({}, 0.75), WHOLE)
    assert (judged.verdict, judged.scores) == (verdict, {"anomaly": value / 4})
