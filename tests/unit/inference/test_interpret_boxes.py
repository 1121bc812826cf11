"""Non-maximum suppression by OpenCV keeps the boxes that its definition keeps."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from lineside_inference.interpret.boxes import suppress

Box = tuple[int, int, int, int]
BOXES = st.lists(
    st.tuples(st.integers(-60, 60), st.integers(-60, 60), st.integers(1, 40), st.integers(1, 40)),
    min_size=1,
    max_size=40,
)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, each x, y, width, height."""
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(0, wide) * max(0, high)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


@given(
    boxes=BOXES, threshold=st.sampled_from([0.0, 0.3, 0.45, 0.7, 0.95]), labels=st.integers(1, 80), far=st.booleans()
)
def test_the_boxes_that_the_definition_keeps_are_kept(
    boxes: list[Box], threshold: float, labels: int, *, far: bool
) -> None:
    named = [sum(box) % labels for box in boxes]
    kept: list[int] = []
    for index, box in enumerate(boxes):
        shares = [overlap(box, boxes[one]) for one in kept if named[one] == named[index]]
        assume(all(abs(share - threshold) > 1e-6 or share == threshold == 0 for share in shares))
        if all(share <= threshold for share in shares):
            kept.append(index)
    corners = np.array([(x, y, x + wide, y + high) for x, y, wide, high in boxes], np.float64)
    if far:  # the farthest that coordinates are cut to
        corners = np.vstack((corners, (-1e9, -1e9, -1e9 + 1, -1e9 + 1), (1e9 - 1, 1e9 - 1, 1e9, 1e9)))
        kept += [len(boxes), len(boxes) + 1]
        named += [0, 0]
    assert suppress(corners, np.array(named, np.intp), threshold).tolist() == kept
