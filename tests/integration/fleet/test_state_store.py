"""The state in a file and in S3, and its lock, against processes that die and others that come at the same time."""

import multiprocessing
import os
import signal
import uuid

import pytest

from lineside_fleet.aws.clients import Aws
from lineside_fleet.errors import FleetError, Locked, Refused
from lineside_fleet.state.document import RolloutState, StageState
from lineside_fleet.state.file_lock import file_lock
from lineside_fleet.state.owner import LEASE_S, Owner, myself
from lineside_fleet.state.store import open_store
from tests.support.waiting import PATIENCE_S, block_until

NOW = 1_000_000.0


def state(**more):
    stage = StageState(name="a", group="g", things=["t"], components={})
    return RolloutState(id="1", name="r", digest="d", stages=[stage], recipes={}, **more)


@pytest.fixture
def in_s3(moto_server, aws_environment):
    aws_environment.setenv("AWS_ENDPOINT_URL_S3", moto_server.url)
    aws_environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"fleet-{uuid.uuid4()}"
    moto_server.make_bucket(bucket)
    return f"s3://{bucket}/rollouts/r.json"


@pytest.fixture(params=["file", "s3"])
def place(request, tmp_path, in_s3):
    return in_s3 if request.param == "s3" else str(tmp_path / "r.json")


def store(place, now=NOW):
    return open_store(place, Aws(), lambda: now)


def stranger(since=NOW):
    return Owner(host="elsewhere/1", pid=1, begun="1", command="lineside fleet promote", since=since)


def test_what_was_written_is_read(place):
    assert store(place).read() is None
    one = store(place)
    one.read()
    one.write(state())
    one.write(state(stage=0, phase="aborted"))
    assert store(place).read() == state(phase="aborted")


def test_nothing_is_written_over_what_somebody_else_wrote(place):
    one, other = store(place), store(place)
    one.read()
    other.read()
    one.write(state())
    with pytest.raises(FleetError, match="changed under this command"):
        other.write(state(phase="aborted"))
    assert store(place).read() == state()


def test_one_at_a_time(place):
    with (
        store(place).locked(myself("lineside fleet start", NOW)),
        pytest.raises(Locked, match="`lineside fleet start`, process"),
        store(place).locked(stranger()),
    ):
        pass
    with store(place).locked(stranger()):
        pass


def test_a_lock_of_another_machine_is_taken_over_when_a_person_says_so(place):
    with store(place).locked(stranger()):
        with pytest.raises(Locked, match="take-over"), store(place).locked(myself("b", NOW)):
            pass
        with store(place).locked(myself("b", NOW), take_over=True):
            pass


class Clock:
    """Seconds that a test moves on."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def renewing(place, clock):
    """Return a store whose lock is renewed as often as can be."""
    return open_store(place, Aws(), clock, renew_s=0.01)


def lock_of(place):
    bucket, _, key = place.removeprefix("s3://").partition("/")
    return bucket, f"{key}.lock"


def renewed(moto_server, place):
    return Owner.model_validate_json(moto_server.get(*lock_of(place))).renewed


def test_a_command_that_works_for_longer_than_a_lease_keeps_its_lock_in_s3(in_s3, moto_server, clock):
    one = renewing(in_s3, clock)
    with one.locked(stranger()):
        for _ in range(3):
            clock.now += LEASE_S + 1
            block_until(lambda: renewed(moto_server, in_s3) == clock.now)
            with pytest.raises(Locked, match="works on this rollout"), store(in_s3, clock.now).locked(myself("b", NOW)):
                pass
        one.read()
        one.write(state())
    with store(in_s3, clock.now).locked(myself("b", NOW)):
        assert store(in_s3).read() == state()


def test_a_lock_in_s3_whose_holder_died_ends_with_its_lease(in_s3, moto_server):
    bucket, key = lock_of(in_s3)
    dead = stranger().model_copy(update={"renewed": NOW + 500})  # it renewed once, and was heard of no more
    moto_server.client.put_object(Bucket=bucket, Key=key, Body=dead.model_dump_json().encode())
    with pytest.raises(Locked, match="works on"), store(in_s3, NOW + LEASE_S + 1).locked(myself("b", NOW)):
        pass
    later = NOW + 500 + LEASE_S
    with store(in_s3, later).locked(myself("b", later)):
        pass


def test_a_holder_that_comes_back_after_it_was_taken_over_writes_nothing(in_s3):
    late = store(in_s3)
    with late.locked(stranger()):
        late.read()
        later = NOW + LEASE_S
        with store(in_s3, later).locked(myself("b", later)):  # it has written no state yet: no ETag tells
            with pytest.raises(Locked, match="was taken over"):
                late.write(state())
            with pytest.raises(Locked, match="was taken over"):
                late.write(state())
        assert store(in_s3).read() is None
    with store(in_s3).locked(myself("c", NOW)):
        pass


def test_a_holder_that_ends_after_it_was_taken_over_leaves_the_others_lock(in_s3, moto_server):
    bucket, key = lock_of(in_s3)
    with store(in_s3).locked(stranger()):
        other = myself("b", NOW).model_dump_json().encode()
        moto_server.client.put_object(Bucket=bucket, Key=key, Body=other)
    assert moto_server.get(bucket, key) == other


def test_a_renewal_whose_answer_was_lost_is_no_take_over(in_s3, moto_server, clock):
    one = open_store(in_s3, Aws(), clock)
    bucket, key = lock_of(in_s3)
    with one.locked(stranger()):
        written = stranger().model_copy(update={"renewed": NOW + 60})  # it came there, and nobody heard of it
        moto_server.client.put_object(Bucket=bucket, Key=key, Body=written.model_dump_json().encode())
        clock.now += 120
        one.read()
        one.write(state())
        assert renewed(moto_server, in_s3) == clock.now


def test_a_lock_whose_process_was_killed_is_taken_over(tmp_path):
    path = tmp_path / "r.lock"
    ready, wait = multiprocessing.get_context("fork").Event(), multiprocessing.get_context("fork").Event()

    def hold():
        with file_lock(path, myself("lineside fleet start", NOW)):
            ready.set()
            wait.wait()

    process = multiprocessing.get_context("fork").Process(target=hold)
    process.start()
    try:
        assert ready.wait(PATIENCE_S)
        with pytest.raises(Locked), file_lock(path, myself("b", NOW)):
            pass
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    with file_lock(path, myself("b", NOW)):
        assert path.exists()
    assert list(tmp_path.iterdir()) == []


def test_of_many_that_take_over_a_dead_lock_one_does(tmp_path):
    path = tmp_path / "r.lock"
    dead = myself("dead", NOW).model_copy(update={"pid": 2**22 + 1})
    path.write_text(dead.model_dump_json(), encoding="utf-8")
    context = multiprocessing.get_context("fork")
    taken, refused, begin, end = context.Value("i", 0), context.Value("i", 0), context.Event(), context.Event()

    def take():
        begin.wait()
        try:
            with file_lock(path, myself("b", NOW)):
                with taken.get_lock():
                    taken.value += 1
                end.wait()
        except Locked:
            with refused.get_lock():
                refused.value += 1
                if refused.value == 7:
                    end.set()

    processes = [context.Process(target=take) for _ in range(8)]
    for process in processes:
        process.start()
    begin.set()
    for process in processes:
        process.join(PATIENCE_S * 5)
    assert (taken.value, refused.value) == (1, 7)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "lineside/rollout/9"}'])
def test_what_is_no_state_is_refused(tmp_path, text):
    (tmp_path / "r.json").write_text(text, encoding="utf-8")
    with pytest.raises(Refused, match="is no rollout's state"):
        store(str(tmp_path / "r.json")).read()


def test_a_place_that_is_none_is_refused():
    for place in ("http://x/y", "s3://bucket", "s3:///key"):
        with pytest.raises(Refused, match="is no place"):
            store(place)
