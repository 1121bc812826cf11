"""One thread works for all who wait."""

import threading

import pytest

from lineside.spool.store.group_commit import Call, GroupCommit
from tests.support.waiting import HANG_S, block_until


class Work:
    """Answers what it is given, and stands still while its gate is closed."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()
        self.groups: list[int] = []
        self.error: BaseException | None = None

    def __call__(self, calls: list[Call]) -> None:
        self.groups.append(len(calls))
        self.started.set()
        assert self.gate.wait(HANG_S)
        if self.error is not None:
            raise self.error
        for call in calls:
            call.is_answered = True


def many(group: GroupCommit[Call], threads: int, times: int) -> list[Call]:
    """Join from so many threads; returns the calls that came back."""
    back: list[Call] = []

    def work() -> None:
        for _ in range(times):
            call = Call()
            group.join(call)
            back.append(call)

    started = [threading.Thread(target=work) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(HANG_S)
    return back


def test_everyone_is_answered_once() -> None:
    work = Work()
    back = many(GroupCommit(work), threads=16, times=200)
    assert len(back) == 3200
    assert all(call.is_answered for call in back)
    assert sum(work.groups) == 3200


def test_who_comes_while_a_group_is_worked_for_is_worked_for_together() -> None:
    work = Work()
    work.gate.clear()
    group = GroupCommit(work)
    calls = [Call() for _ in range(5)]
    threads = [threading.Thread(target=group.join, args=(call,)) for call in calls]
    threads[0].start()
    assert work.started.wait(HANG_S)
    for thread in threads[1:]:
        thread.start()
    block_until(lambda: len(group._pending) == 4)
    work.gate.set()
    for thread in threads:
        thread.join(HANG_S)
    assert work.groups == [1, 4]
    assert all(call.is_answered for call in calls)


def test_an_error_is_everybodys_and_the_leaders_own() -> None:
    work = Work()
    work.gate.clear()
    work.error = OSError("disk")
    group = GroupCommit(work)
    calls = [Call() for _ in range(5)]
    raised: list[BaseException] = []

    def join(call: Call) -> None:
        try:
            group.join(call)
        except OSError as error:
            raised.append(error)

    threads = [threading.Thread(target=join, args=(call,)) for call in calls]
    threads[0].start()
    assert work.started.wait(HANG_S)
    for thread in threads[1:]:
        thread.start()
    work.gate.set()
    for thread in threads:
        thread.join(HANG_S)
    assert all(call.error is work.error for call in calls)
    assert len(raised) == len(work.groups)


class Interrupted:
    """A lock whose waiting is broken off, once `then` was called."""

    def __init__(self, then: object = None) -> None:
        self.then = then

    def acquire(self) -> bool:
        if callable(self.then):
            self.then()
        raise KeyboardInterrupt

    def release(self) -> None:
        pass


@pytest.mark.parametrize("is_made_leader", [False, True])
def test_who_is_interrupted_while_waiting_holds_up_nobody(*, is_made_leader: bool) -> None:
    work = Work()
    work.gate.clear()
    group = GroupCommit(work)
    first, broken, last = Call(), Call(), Call()
    leader = threading.Thread(target=group.join, args=(first,))
    leader.start()
    assert work.started.wait(HANG_S)
    other = threading.Thread(target=group.join, args=(last,))

    def meanwhile() -> None:
        other.start()
        if is_made_leader:
            work.gate.set()
            leader.join(HANG_S)

    broken.woken = Interrupted(meanwhile)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        group.join(broken)
    work.gate.set()
    for thread in (leader, other):
        thread.join(HANG_S)
    assert first.is_answered
    assert last.is_answered
    assert not broken.is_answered
    assert many(group, threads=2, times=10)
