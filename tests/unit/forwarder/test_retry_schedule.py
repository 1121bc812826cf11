import itertools

import pytest

from lineside.connections import Connection, State
from lineside_forwarder.errors import DestinationAway, NotAllowed, Throttled
from lineside_forwarder.retry_schedule import FIRST_S, LONGEST_S, Patience, slow_wait


class Scene:
    def __init__(self) -> None:
        self.time = 0.0
        self.link = Connection("cloud", "s3://bucket", required=False, first_s=FIRST_S, longest_s=LONGEST_S)
        self.patience = Patience(self.link, lambda: self.time)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_destination_that_stays_away_is_asked_ever_more_seldom(scene: Scene) -> None:
    waits = [scene.patience.back_off(DestinationAway("gone")) for _ in range(20)]
    for number, wait_s in enumerate(waits):
        full = min(LONGEST_S, FIRST_S * 2**number)
        assert full / 2 <= wait_s <= full
    assert scene.link.state is State.BACKOFF


def test_a_day_away_is_some_hundred_attempts(scene: Scene) -> None:
    attempts = 0
    while scene.time < 24 * 3600:
        scene.time += scene.patience.back_off(DestinationAway("gone"))
        attempts += 1
    assert 24 * 3600 / LONGEST_S <= attempts <= 24 * 3600 / LONGEST_S * 2 + 12


def test_what_is_not_allowed_is_tried_slowly(scene: Scene) -> None:
    waits = [scene.patience.back_off(NotAllowed("403")) for _ in range(10)]
    assert waits[0] >= 60
    assert all(wait_s >= 60 for wait_s in waits)
    assert waits[-1] >= 900 * 0.75


def test_the_slow_wait_is_bounded() -> None:
    assert [slow_wait(number, 0.0) for number in range(6)] == [60, 120, 240, 480, 900, 900]
    assert slow_wait(1000, 0.999) > 900 * 0.75
    assert slow_wait(0, 0.999) == 60


def test_patience_that_is_asked_for_is_given_but_not_for_ever(scene: Scene) -> None:
    assert scene.patience.back_off(Throttled("slow down", retry_after_s=77)) == 77
    assert scene.patience.wait_s() == 77
    scene.time = 77
    assert scene.patience.wait_s() == 0
    assert scene.patience.back_off(Throttled("slow down", retry_after_s=1e9)) == 3600


def test_a_stream_that_fails_waits_for_itself(scene: Scene) -> None:
    scene.patience.failed("spindle")
    assert set(scene.patience.held()) == {"spindle"}
    scene.time = FIRST_S
    assert not scene.patience.held()
    scene.patience.failed("spindle")
    assert scene.patience.held()["spindle"] == pytest.approx(2 * FIRST_S)
    scene.patience.succeeded("cards")
    assert set(scene.patience.held()) == {"spindle"}
    scene.patience.succeeded("spindle")
    assert not scene.patience.held()


def test_after_a_success_the_slow_wait_begins_anew(scene: Scene) -> None:
    for _ in range(5):
        scene.patience.back_off(NotAllowed("403"))
    scene.patience.succeeded("spindle")
    scene.link.online()
    assert scene.patience.back_off(NotAllowed("403")) == 60


def test_each_stream_has_its_turn_while_one_is_tried_at_a_time(scene: Scene) -> None:
    waiting = ["a", "b", "c"]
    turns = []
    for _ in range(12):
        scene.time += 1000
        turn = next(
            stream for passed_over in scene.patience.passed_over() for stream in waiting if stream not in passed_over
        )
        turns.append(turn)
        scene.patience.failed(turn)
    assert set(turns) == {"a", "b", "c"}
    assert all(one != other for one, other in itertools.pairwise(turns))
