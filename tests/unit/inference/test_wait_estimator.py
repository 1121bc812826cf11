import pytest

from lineside_inference.dataplane.wait_estimator import WaitEstimator


def test_unmeasured_it_refuses_nobody() -> None:
    assert WaitEstimator(4).until_done("m", 1000) == 0


def test_a_place_comes_free_every_mean_by_places() -> None:
    pace = WaitEstimator(4)
    pace.observe("m", 0.2)
    assert pace.wait(0) == pytest.approx(0.05)
    assert pace.wait(7) == pytest.approx(0.4)
    assert pace.until_done("m", 7) == pytest.approx(0.6)


def test_the_work_itself_is_measured_by_model() -> None:
    pace = WaitEstimator(1)
    pace.observe("slow", 1.0)
    pace.observe("quick", 0.01)
    assert pace.until_done("slow", 0) - pace.until_done("quick", 0) == pytest.approx(0.99)


def test_a_slow_spell_is_forgotten() -> None:
    pace = WaitEstimator(1)
    pace.observe("m", 10.0)
    for _ in range(100):
        pace.observe("m", 0.01)
    assert pace.until_done("m", 0) < 0.03
