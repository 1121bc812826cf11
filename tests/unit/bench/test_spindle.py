"""The simulated spindle: repeatable, within its ranges, and faulty only where it says so."""

from __future__ import annotations

import numpy as np
import pytest

from lineside_bench.parts.spindle import KINDS, TAGS, WINDOW, SpindleSimulator, make_window

LOWEST = np.array([3_000, 0, 0.05, 15], np.float32)
HIGHEST = np.array([12_000, 150, 12, 110], np.float32)


def test_a_window_is_a_function_of_seed_and_index() -> None:
    first, again = make_window(7, 5), make_window(7, 5)
    assert first.values.shape == (WINDOW, len(TAGS)) == (64, 4)
    assert first.values.dtype == np.float32
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.values, make_window(7, 6).values)
    assert not np.array_equal(first.values, make_window(8, 5).values)


def test_the_truth_is_what_was_asked_for() -> None:
    for index in range(40):
        sound, faulty = make_window(7, index, anomalous=False), make_window(7, index, anomalous=True)
        assert (sound.anomalous, sound.kind) == (False, "normal")
        assert faulty.anomalous
        assert faulty.kind in KINDS[1:]


def test_a_run_has_some_of_everything() -> None:
    kinds = [make_window(7, index).kind for index in range(300)]
    assert set(kinds) == set(KINDS)
    assert 0.7 < kinds.count("normal") / len(kinds) < 0.9


def test_the_values_are_those_of_a_spindle() -> None:
    values = np.concatenate([make_window(7, index).values for index in range(200)])
    assert np.isfinite(values).all()
    assert (values >= LOWEST).all()
    assert (values <= HIGHEST).all()


@pytest.mark.parametrize(("kind", "tag"), [("worn_bearing", 2), ("imbalance", 2), ("overload", 1), ("coolant_loss", 3)])
def test_a_fault_shows_in_its_tag(kind: str, tag: int) -> None:
    windows = [make_window(7, index, anomalous=True) for index in range(200)]
    faulty = np.mean([window.values[-16:, tag].mean() for window in windows if window.kind == kind])
    sound = np.mean([make_window(7, index, anomalous=False).values[-16:, tag].mean() for index in range(200)])
    assert faulty > 1.15 * sound


def test_the_live_spindle_repeats_itself_and_stays_in_range() -> None:
    one, other, another = SpindleSimulator(7), SpindleSimulator(7), SpindleSimulator(8)
    samples = [one.step() for _ in range(2_000)]
    assert samples == [other.step() for _ in range(2_000)]
    assert samples[:50] != [another.step() for _ in range(50)]
    assert all(type(value) is float for value in samples[0])
    values = np.array(samples, np.float32)
    assert (values >= LOWEST).all()
    assert (values <= HIGHEST).all()


def test_the_live_spindle_goes_wrong_now_and_then_unless_told_not_to() -> None:
    live, calm = SpindleSimulator(7), SpindleSimulator(7, faults=False)
    seen, never = set(), set()
    for _ in range(12_000):
        live.step()
        calm.step()
        seen.add(live.kind)
        never.add(calm.kind)
    assert len(seen) >= 3
    assert never == {"normal"}


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (0, -1)])
def test_a_negative_argument_is_named(seed: int, index: int) -> None:
    with pytest.raises(ValueError, match=f"seed {seed}, index {index}"):
        make_window(seed, index)
