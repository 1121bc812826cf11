from typing import Any

import numpy as np
import pytest

from lineside_inference.usecases.plan_proof import Wrong, compare


def array(values: Any, kind: str = "f4") -> Any:
    return np.array(values, kind)


def test_fractions_are_compared_with_the_largest() -> None:
    assert compare("y", array([1, -10]), array([1, -10])) == 0
    assert compare("y", array([1, -10]), array([1.5, -10])) == pytest.approx(0.05)
    assert compare("y", array([0, 0]), array([0, 0.25])) == 0.25
    assert compare("y", array([], "f4"), array([], "f4")) == 0


def test_of_whole_numbers_the_share_counts_that_differs() -> None:
    assert compare("y", array([1, 2, 3, 4], "i8"), array([1, 2, 3, 5], "i8")) == 0.25
    assert compare("y", array([True, False], "?"), array([True, True], "?")) == 0.5


def test_what_is_infinite_in_both_is_left_out() -> None:
    assert compare("y", array([-np.inf, 2]), array([-np.inf, 1])) == 0.5


@pytest.mark.parametrize(
    ("expected", "found", "says"),
    [
        (array([1, 2]), array([1, np.nan]), "no numbers"),
        (array([1, 2]), array([1, np.inf]), "infinite"),
        (array([np.nan]), array([np.nan]), "no numbers"),
        (array([1, 2]), array([[1, 2]]), r"'y' is float32 \[1, 2\], and ONNX's is float32 \[2\]"),
        (array([1]), array([1], "f2"), "'y' is float16"),
    ],
)
def test_what_cannot_be_compared_is_wrong(expected: Any, found: Any, says: str) -> None:
    with pytest.raises(Wrong, match=says):
        compare("y", expected, found)
