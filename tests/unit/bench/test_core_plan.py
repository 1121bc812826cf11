"""What a deployment changes of what runs."""

import pytest

from lineside_bench.greengrass.core.plan import Change, Release, changes

BEFORE = Release("1.0.0", {"x": 1}, {"install": "i", "run": "r 1"})


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (BEFORE, Change.UNCHANGED),
        (Release("1.0.0", {"x": 2}, BEFORE.steps), Change.CONFIGURED),
        (Release("1.0.0", {"x": 2}, {"install": "i", "run": "r 2"}), Change.RESTARTED),
        (Release("1.0.0", {"x": 1}, {"install": "other", "run": "r 1"}), Change.REINSTALLED),
        (Release("1.0.1", {"x": 1}, BEFORE.steps), Change.REINSTALLED),
        (Release("1.0.0", {"x": 1}, BEFORE.steps, recipe="another"), Change.REINSTALLED),
    ],
)
def test_a_component_that_stays(after, expected):
    assert changes({"a": BEFORE}, {"a": after}) == {"a": expected}


def test_components_that_come_and_go():
    assert changes({"old": BEFORE}, {"new": BEFORE}) == {"old": Change.REMOVED, "new": Change.ADDED}
