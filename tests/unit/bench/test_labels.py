import subprocess
import sys

import pytest

from lineside_bench.parts.labels import LABELS, Truth, truth
from lineside_bench.parts.part import make_part
from tests.support.waiting import HANG_S


def test_the_truth_is_that_of_the_picture() -> None:
    for index in range(12):
        part = make_part(7, index)
        assert truth(7, index) == Truth(index, part.part_id, part.label)


def test_half_the_parts_are_good_and_every_defect_comes() -> None:
    labels = [truth(7, index).label for index in range(400)]
    assert set(labels) == set(LABELS)
    assert 0.4 < labels.count("good") / len(labels) < 0.6


def test_a_negative_number_is_named() -> None:
    with pytest.raises(ValueError, match="seed 7, index -1"):
        truth(7, -1)


@pytest.mark.parametrize(("program", "without"), [("plc_sim", "cv2"), ("camera_sim", "asyncua")])
def test_a_simulator_does_without_the_others_library(program: str, without: str) -> None:
    """Some 40 MB of memory each."""
    code = f"import sys, lineside_bench.simulators.{program}; sys.exit({without!r} in sys.modules)"
    assert subprocess.run((sys.executable, "-c", code), timeout=HANG_S, check=False).returncode == 0
