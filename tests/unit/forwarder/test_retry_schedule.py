import itertools

import pytest

from lineside.connections import Connection, State
from lineside_forwarder.errors import DestinationAway, NotAllowed, Throttled
from lineside_forwarder.retry_schedule import FIRST_S, LONGEST_S, RetrySchedule


class Scene:
    def __init__(self) -> None:
        self.time = 0.0
        self.link = Connection("cloud", "s3://bucket", required=False, first_s=FIRST_S, longest_s=LONGEST_S)
        self.schedule = RetrySchedule(self.link, lambda: self.time)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_destination_that_stays_away_is_asked_ever_more_seldom(scene: Scene) -> None:
    waits = [scene.schedule.back_off(DestinationAway("gone")) for _ in range(20)]
    for number, wait_s in enumerate(waits):
        full = min(LONGEST_S, FIRST_S * 2**number)
        assert full / 2 <= wait_s <= full
    assert scene.link.state is State.BACKOFF


def test_a_day_away_is_some_hundred_attempts(scene: Scene) -> None:
    attempts = 0
    while scene.time < 24 * 3600:
        scene.time += scene.schedule.back_off(DestinationAway("gone"))
        attempts += 1
    assert 24 * 3600 / LONGEST_S <= attempts <= 24 * 3600 / LONGEST_S * 2 + 12


def test_what_is_not_allowed_is_tried_slowly(scene: Scene) -> None:
    waits = [scene.schedule.back_off(NotAllowed("403")) for _ in range(20)]
    assert waits[0] == 60
    for number, wait_s in enumerate(waits):
        full = min(900, 60 * 2**number)
        assert full * 0.75 <= wait_s <= full


def test_a_wait_that_is_asked_for_is_given_but_not_for_ever(scene: Scene) -> None:
    assert scene.schedule.back_off(Throttled("slow down", retry_after_s=77)) == 77
    assert scene.schedule.wait_s() == 77
    scene.time = 77
    assert scene.schedule.wait_s() == 0
    assert scene.schedule.back_off(Throttled("slow down", retry_after_s=1e9)) == 3600


def test_a_stream_that_fails_waits_for_itself(scene: Scene) -> None:
    scene.schedule.failed("spindle")
    assert set(scene.schedule.held()) == {"spindle"}
    scene.time = FIRST_S
    assert not scene.schedule.held()
    scene.schedule.failed("spindle")
    assert scene.schedule.held()["spindle"] == pytest.approx(2 * FIRST_S)
    scene.schedule.succeeded("cards")
    assert set(scene.schedule.held()) == {"spindle"}
    scene.schedule.succeeded("spindle")
    assert not scene.schedule.held()


def test_after_a_success_the_slow_wait_begins_anew(scene: Scene) -> None:
    for _ in range(5):
        scene.schedule.back_off(NotAllowed("403"))
    scene.schedule.succeeded("spindle")
    scene.link.online()
    assert scene.schedule.back_off(NotAllowed("403")) == 60


def test_each_stream_has_its_turn_while_one_is_tried_at_a_time(scene: Scene) -> None:
    waiting = ["a", "b", "c"]
    turns = []
    for _ in range(12):
        scene.time += 1000
        turn = next(
            stream for passed_over in scene.schedule.passed_over() for stream in waiting if stream not in passed_over
        )
        turns.append(turn)
        scene.schedule.failed(turn)
    assert set(turns) == {"a", "b", "c"}
    assert all(one != other for one, other in itertools.pairwise(turns))
