"""The rendered parts: the same for the same seed, different otherwise, and true to their label."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lineside_bench.parts.labels import DEFAULT_SEED, DEFECTS, EVALUATION_SEED, LABELS, TRAINING_SEED
from lineside_bench.parts.part import encode_jpeg, make_part


def test_the_labels_are_in_the_order_of_the_models_outputs() -> None:
    assert LABELS == ("good", "scratch", "pit", "stain", "dent")
    assert set(LABELS) - {"good"} == DEFECTS


def test_a_part_is_a_function_of_seed_and_index() -> None:
    first, again = make_part(7, 123), make_part(7, 123)
    assert (first.index, first.part_id, first.label) == (123, "P-000123", again.label)
    assert first.image.shape == (480, 640, 3)
    assert first.image.dtype == np.uint8
    assert np.array_equal(first.image, again.image)


@pytest.mark.parametrize(("seed", "index"), [(8, 123), (7, 124)])
def test_another_seed_or_index_gives_another_part(seed: int, index: int) -> None:
    assert not np.array_equal(make_part(7, 123).image, make_part(seed, index).image)


def test_training_evaluation_and_bench_show_different_parts() -> None:
    assert DEFAULT_SEED < TRAINING_SEED < EVALUATION_SEED
    pictures = [make_part(seed, 0).image.tobytes() for seed in (DEFAULT_SEED, TRAINING_SEED, EVALUATION_SEED)]
    assert len(set(pictures)) == 3


def test_about_half_are_good_and_every_defect_occurs() -> None:
    labels = [make_part(DEFAULT_SEED, index, size=(64, 64)).label for index in range(300)]
    assert 0.4 < labels.count("good") / len(labels) < 0.6
    assert min(labels.count(defect) for defect in DEFECTS) > 15


@pytest.mark.parametrize("label", sorted(DEFECTS))
def test_every_defect_changes_the_picture_visibly_and_locally(label: str) -> None:
    for index in range(25):
        sound = make_part(DEFAULT_SEED, index, label="good").image.astype(np.int16)
        part = make_part(DEFAULT_SEED, index, label=label)
        assert part.label == label
        change = np.abs(part.image.astype(np.int16) - sound).max(axis=2)
        assert (change >= 15).sum() >= 35, f"{label} {index} cannot be seen"
        assert (change > 0).mean() < 0.25, f"{label} {index} covers too much"


def test_a_good_part_asked_for_by_name_is_the_runs_own() -> None:
    index = next(index for index in range(100) if make_part(7, index).label == "good")
    assert np.array_equal(make_part(7, index).image, make_part(7, index, label="good").image)


def test_the_size_is_width_and_height() -> None:
    assert make_part(7, 0, size=(320, 200)).image.shape == (200, 320, 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"seed": -1, "index": 0}, "seed -1"),
        ({"seed": 0, "index": -3}, "index -3"),
        ({"seed": 0, "index": 0, "label": "rust"}, "'rust' is unknown: use one of good"),
        ({"seed": 0, "index": 0, "size": (640, 10)}, "640x10"),
    ],
)
def test_a_bad_argument_is_named(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_part(**arguments)  # type: ignore[arg-type]


def test_jpeg_keeps_the_colours_in_place() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0] = 200
    data = encode_jpeg(image, 95)
    assert data[:2] == b"\xff\xd8"
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert abs(int(decoded[32, 32, 2]) - 200) < 6
    assert int(decoded[32, 32, 0]) < 12
