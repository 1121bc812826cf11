"""Group commit: one thread, the leader, does the work of all that wait; the first that comes meanwhile leads next."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_MAX_CALLS = 256
_GATHER_S = 0.0003
_MAX_WOKEN = 2


class Call:
    """One call while it waits; the leader sets `is_answered`, or `error` where the work failed."""

    __slots__ = ("error", "is_answered", "is_awake", "is_leader", "to_wake", "woken")

    def __init__(self) -> None:
        self.is_answered = False
        self.error: BaseException | None = None
        self.is_leader = False
        self.is_awake = False
        self.to_wake: Call | None = None
        self.woken = threading.Lock()
        self.woken.acquire()


C = TypeVar("C", bound=Call)


class GroupCommit(Generic[C]):
    """The calls that wait, from any thread."""

    def __init__(self, work: Callable[[list[C]], None]) -> None:
        """Make it; `work` answers every call of a list, or raises."""
        self._work = work
        self._guard = threading.Lock()
        self._pending: list[C] = []
        self._is_led = False
        self._expected = 1
        self._all_arrived: threading.Lock | None = None

    def join(self, call: C) -> None:
        """Return when the call is answered, by this thread or another that leads, or has that one's error.

        Raises what `work` raises, where this thread leads.
        """
        if not self._leads(call):
            try:
                call.woken.acquire()
            except BaseException:
                self._abandon(call)
                raise
            finally:
                self._wake_next(call)
            if not call.is_leader:
                return
        try:
            calls = self._gather()
        except BaseException:
            self._abandon(call)
            raise
        try:
            self._work(calls)
        except BaseException as error:
            for other in calls:
                if not other.is_answered:
                    other.error = error
            raise
        finally:
            self._hand_over(len(calls))
            self._wake(calls, call)

    def _leads(self, call: C) -> bool:
        """Queue a call; returns whether this thread leads, since no other does."""
        with self._guard:
            self._pending.append(call)
            if not self._is_led:
                self._is_led = call.is_leader = True
                return True
            if self._all_arrived is not None and len(self._pending) >= self._expected:
                self._all_arrived.release()
                self._all_arrived = None
            return False

    def _gather(self) -> list[C]:
        """Return the calls that wait, after a short wait for as many as in the last group."""
        all_arrived = None
        with self._guard:
            if len(self._pending) < self._expected:
                all_arrived = self._all_arrived = threading.Lock()
                all_arrived.acquire()
        if all_arrived is not None:
            all_arrived.acquire(timeout=_GATHER_S)
        with self._guard:
            self._all_arrived = None
            calls, self._pending = self._pending[:_MAX_CALLS], self._pending[_MAX_CALLS:]
        return calls

    def _hand_over(self, answered: int) -> None:
        """Make the first thread that waits the leader."""
        with self._guard:
            self._expected = min(answered + len(self._pending), _MAX_CALLS)
            if self._pending:
                self._pending[0].is_leader = True
                self._pending[0].woken.release()
            else:
                self._is_led = False

    def _abandon(self, call: C) -> None:
        """Take a call out of the queue, since its thread was interrupted."""
        with self._guard:
            call.is_awake = True
            if call in self._pending:
                self._pending.remove(call)
        if call.is_leader:
            self._hand_over(1)

    def _wake(self, calls: list[C], leader: C) -> None:
        """Wake the threads whose calls are answered: two of them, and each of these wakes another.

        Woken all at once they would wait for one another, as one thread of Python runs at a time.
        """
        with self._guard:
            asleep = [call for call in calls if call is not leader and not call.is_awake]
            for call, other in zip(asleep, asleep[_MAX_WOKEN:], strict=False):
                call.to_wake = other
        for call in asleep[:_MAX_WOKEN]:
            call.woken.release()

    def _wake_next(self, call: C) -> None:
        with self._guard:
            call.is_awake = True
            other, call.to_wake = call.to_wake, None
        if other is not None:
            other.woken.release()
