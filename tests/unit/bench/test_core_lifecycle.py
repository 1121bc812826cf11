"""A component's states: what is done next, what an error leads to, when it is BROKEN."""

import pytest

from lineside_bench.greengrass.core.lifecycle import Decision, Deed, Lifecycle, State, decide

NEW, INSTALLED, STARTING, RUNNING = State.NEW, State.INSTALLED, State.STARTING, State.RUNNING
STOPPING, ERRORED, BROKEN, FINISHED = State.STOPPING, State.ERRORED, State.BROKEN, State.FINISHED


@pytest.mark.parametrize(
    ("state", "previous", "wanted", "expected"),
    [
        (NEW, NEW, [], Decision(Deed.WAIT)),
        (NEW, NEW, [RUNNING], Decision(Deed.INSTALL, INSTALLED)),
        (INSTALLED, NEW, [], Decision(Deed.WAIT)),
        (INSTALLED, NEW, [RUNNING], Decision(Deed.AWAIT_DEPENDENCIES, STARTING)),
        (INSTALLED, NEW, [FINISHED], Decision(Deed.GO, FINISHED)),
        (INSTALLED, STOPPING, [NEW, RUNNING], Decision(Deed.GO, NEW)),
        (INSTALLED, STOPPING, [INSTALLED, RUNNING], Decision(Deed.AWAIT_DEPENDENCIES, STARTING)),
        (STARTING, INSTALLED, [RUNNING], Decision(Deed.START, RUNNING)),
        (STARTING, INSTALLED, [FINISHED], Decision(Deed.GO, STOPPING)),
        (STARTING, INSTALLED, [INSTALLED, RUNNING], Decision(Deed.GO, STOPPING)),
        (RUNNING, STARTING, [RUNNING], Decision(Deed.WAIT)),
        (RUNNING, STARTING, [NEW, RUNNING], Decision(Deed.GO, STOPPING)),
        (STOPPING, RUNNING, [NEW, RUNNING], Decision(Deed.SHUT_DOWN, NEW)),
        (STOPPING, RUNNING, [INSTALLED, RUNNING], Decision(Deed.SHUT_DOWN, INSTALLED)),
        (STOPPING, ERRORED, [RUNNING], Decision(Deed.SHUT_DOWN, INSTALLED)),
        (STOPPING, RUNNING, [FINISHED], Decision(Deed.SHUT_DOWN, FINISHED)),
        (STOPPING, RUNNING, [], Decision(Deed.SHUT_DOWN, FINISHED)),
        (FINISHED, STOPPING, [], Decision(Deed.WAIT)),
        (FINISHED, STOPPING, [RUNNING], Decision(Deed.GO, INSTALLED)),
        (ERRORED, STARTING, [RUNNING], Decision(Deed.RECOVER, STOPPING)),
        (ERRORED, RUNNING, [RUNNING], Decision(Deed.RECOVER, STOPPING)),
        (ERRORED, NEW, [RUNNING], Decision(Deed.RECOVER, NEW)),
        (ERRORED, STOPPING, [FINISHED], Decision(Deed.RECOVER, FINISHED)),
        (ERRORED, STOPPING, [RUNNING], Decision(Deed.RECOVER, INSTALLED)),
        (BROKEN, RUNNING, [RUNNING], Decision(Deed.WAIT)),
        (BROKEN, RUNNING, [NEW, RUNNING], Decision(Deed.GO, NEW)),
    ],
)
def test_what_is_done_next(state, previous, wanted, expected):
    assert decide(state, previous, wanted) == expected


def test_a_component_goes_its_way_to_running():
    life = Lifecycle()
    life.start()
    way = []
    while (decision := life.decide()).to is not None:
        way.append(life.report(decision.to, now=0.0))
    assert way == [INSTALLED, STARTING, RUNNING]
    assert life.is_settled


@pytest.mark.parametrize("state", [NEW, STARTING, RUNNING])
def test_three_errors_in_one_state_make_it_broken(state):
    life = Lifecycle()
    life.start()
    reached = []
    for now in range(3):
        life.state = state
        reached.append(life.report(ERRORED, now=float(now)))
    assert reached == [ERRORED, ERRORED, BROKEN]


def test_errors_further_apart_than_the_reset_time_are_each_the_first():
    life = Lifecycle(error_reset_s=10)
    for now in (0.0, 9.0, 19.0, 28.0, 38.0):
        life.state = RUNNING
        assert life.report(ERRORED, now) is ERRORED


def test_a_success_resets_the_errors_of_its_state_only():
    life = Lifecycle()
    for now in range(2):
        life.state = RUNNING
        life.report(ERRORED, float(now))
        life.state = STARTING
        life.report(ERRORED, float(now))
        life.state = STARTING
        life.report(RUNNING, float(now))
    assert len(life.errors[RUNNING]) == 2
    assert STARTING not in life.errors
    assert life.report(ERRORED, 3.0) is BROKEN


def test_reporting_running_again_while_running_resets_its_errors():
    life = Lifecycle(state=RUNNING, errors={RUNNING: [0.0, 1.0]})
    life.report(RUNNING, 2.0)
    assert life.report(ERRORED, 3.0) is ERRORED


def test_an_error_while_stopping_is_not_counted():
    life = Lifecycle(state=STOPPING)
    for now in range(4):
        life.state = STOPPING
        assert life.report(ERRORED, float(now)) is ERRORED


def test_an_error_without_a_wish_is_tried_again():
    life = Lifecycle(state=RUNNING)
    life.report(ERRORED, 0.0)
    assert life.wanted == (RUNNING,)


def test_only_a_reinstallation_leads_out_of_broken():
    life = Lifecycle(state=BROKEN, previous=RUNNING, errors={RUNNING: [0.0, 1.0, 2.0]})
    life.restart()
    assert life.decide() == Decision(Deed.WAIT)
    life.reinstall()
    assert life.decide() == Decision(Deed.GO, NEW)
    life.report(NEW, 3.0)
    assert life.errors == {}


def test_finished_while_starting_ends_the_wish_to_run():
    life = Lifecycle(state=STARTING, wanted=(RUNNING,))
    life.report(FINISHED, 0.0)
    assert life.is_settled
    assert life.decide() == Decision(Deed.WAIT)


@pytest.mark.parametrize(
    ("wanted", "ask", "expected"),
    [
        ((), "start", (RUNNING,)),
        ((FINISHED,), "start", (RUNNING,)),
        ((NEW, FINISHED), "start", (NEW, RUNNING)),
        ((NEW,), "start", (NEW, RUNNING)),
        ((RUNNING,), "start", (RUNNING,)),
        ((RUNNING,), "stop", (FINISHED,)),
        ((NEW, RUNNING), "stop", (NEW, FINISHED)),
        ((), "restart", (INSTALLED, RUNNING)),
        ((NEW, FINISHED), "restart", (NEW, RUNNING)),
        ((FINISHED,), "reinstall", (NEW, RUNNING)),
    ],
)
def test_what_is_asked_for_is_put_behind_an_installation(wanted, ask, expected):
    life = Lifecycle(state=STARTING, wanted=wanted)
    getattr(life, ask)()
    assert life.wanted == expected


def test_what_was_never_started_is_not_restarted():
    life = Lifecycle()
    assert life.restart() is False
    assert life.wanted == ()
