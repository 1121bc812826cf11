"""A component's states and what each of them leads to, as in the classic nucleus' `Lifecycle.java`. No I/O.

Whoever carries it out asks `decide` what to do, does it, and reports what came of it; `wanted` is where the component
is to go, the next state first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

MOST_ERRORS = 3
"""So many errors in one state make a component BROKEN (Lifecycle.java, MAXIMUM_CONTINUAL_ERROR)."""
ERROR_RESET_S = 3600.0
"""An error that comes so long after the last one in its state is the first again."""


class State(StrEnum):
    """Where a component is; the names are Greengrass' own."""

    NEW = "NEW"
    INSTALLED = "INSTALLED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    ERRORED = "ERRORED"
    BROKEN = "BROKEN"
    FINISHED = "FINISHED"


class Deed(StrEnum):
    """What is to be done for a component now."""

    WAIT = "wait"
    INSTALL = "install"
    AWAIT_DEPENDENCIES = "await dependencies"
    START = "start"
    SHUT_DOWN = "shut down"
    RECOVER = "recover"
    GO = "go"


@dataclass(frozen=True)
class Decision:
    """What to do now; `to` is the state that follows it when it goes well, and at once where nothing is to be done."""

    deed: Deed
    to: State | None = None


_COUNTED = (State.NEW, State.STARTING, State.RUNNING)
"""States whose errors are counted; one while stopping leads on to where the component was to go."""
_ENDED: dict[State, State] = {
    State.NEW: State.NEW,
    State.INSTALLED: State.INSTALLED,
    State.RUNNING: State.INSTALLED,
    State.FINISHED: State.FINISHED,
}
"""Where a component goes that has ended, by what is wanted of it."""


def _left(state: State, wanted: Sequence[State]) -> tuple[State, ...]:
    """Return what is still wanted in a state: the heads that it fulfils are done."""
    at = 0
    while at < len(wanted) and wanted[at] is state:
        at += 1
    return tuple(wanted[at:])


def _after_stop(wanted: Sequence[State]) -> State:
    left = _left(State.FINISHED, wanted)
    return _ENDED[left[0]] if left else State.FINISHED


def decide(state: State, previous: State, wanted: Sequence[State]) -> Decision:
    """Return what to do for a component that is in `state`, came from `previous`, and is wanted elsewhere."""
    left = _left(state, wanted)
    if state is State.STOPPING:
        return Decision(Deed.SHUT_DOWN, _after_stop(wanted))
    if state is State.ERRORED:
        return Decision(Deed.RECOVER, _after_error(previous, wanted))
    if not left or (state is State.BROKEN and left[0] is not State.NEW):
        return Decision(Deed.WAIT)
    return _towards(state, left[0])


def _towards(state: State, wanted: State) -> Decision:
    """Return the next thing to do on the way to another state."""
    to_run = {
        State.INSTALLED: Decision(Deed.AWAIT_DEPENDENCIES, State.STARTING),
        State.STARTING: Decision(Deed.START, State.RUNNING),
    }
    if state is State.NEW:
        return Decision(Deed.INSTALL, State.INSTALLED)
    if wanted is State.RUNNING and state in to_run:
        return to_run[state]
    if state in {State.INSTALLED, State.FINISHED, State.BROKEN}:
        return Decision(Deed.GO, _ENDED[wanted])
    return Decision(Deed.GO, State.STOPPING)


def _after_error(previous: State, wanted: Sequence[State]) -> State:
    if previous in {State.STARTING, State.RUNNING}:
        return State.STOPPING
    if previous is State.NEW:
        return State.NEW
    return _after_stop(wanted) if previous is State.STOPPING else State.FINISHED


@dataclass
class Lifecycle:
    """One component's way through its states; times are in seconds, from any clock that does not go back."""

    error_reset_s: float = ERROR_RESET_S
    state: State = State.NEW
    previous: State = State.NEW
    wanted: tuple[State, ...] = ()
    errors: dict[State, list[float]] = field(default_factory=dict)

    def decide(self) -> Decision:
        """Return what to do now."""
        self.wanted = _left(self.state, self.wanted)
        return decide(self.state, self.previous, self.wanted)

    def report(self, state: State, now: float) -> State:
        """Go on to a state, or to BROKEN where the errors in this one are too many; return which."""
        broken = False
        if state is State.ERRORED and self.state in _COUNTED:
            errors = self.errors.get(self.state, [])
            if errors and now - errors[-1] >= self.error_reset_s:
                errors = []
            self.errors[self.state] = [*errors, now]
            broken = len(self.errors[self.state]) >= MOST_ERRORS
        else:
            self.errors.pop(self.state, None)
        if self.state is State.STARTING and state is State.FINISHED:
            self.stop()
        if self.state is State.BROKEN and state is State.NEW:
            self.errors.clear()
        going = State.BROKEN if broken else state
        if going is State.ERRORED and not self.wanted:
            self.wanted = (State.RUNNING,)
        if going is not self.state:
            self.previous, self.state = self.state, going
        self.wanted = _left(self.state, self.wanted)
        return self.state

    def start(self) -> None:
        """Want it RUNNING, after what is wanted already."""
        if not self.wanted or self.wanted == (State.FINISHED,):
            self.wanted = (State.RUNNING,)
        elif self.wanted[-1] is State.FINISHED:
            self.wanted = (*self.wanted[:-1], State.RUNNING)
        elif self.wanted[-1] is not State.RUNNING:
            self.wanted = (*self.wanted, State.RUNNING)

    def stop(self) -> None:
        """Want it FINISHED; an installation that is wanted comes first."""
        self._then(State.FINISHED)

    def restart(self) -> bool:
        """Want it stopped and RUNNING again; return False where it was never started."""
        if not self.wanted and self.state is State.NEW:
            return False
        if State.NEW in self.wanted:
            self._then(State.RUNNING)
        else:
            self.wanted = (State.INSTALLED, State.RUNNING)
        return True

    def reinstall(self) -> None:
        """Want it installed anew and RUNNING: the one way out of BROKEN."""
        self.wanted = (State.NEW, State.RUNNING)

    @property
    def is_settled(self) -> bool:
        """Whether it is where it was to go: RUNNING or FINISHED, with nothing more wanted."""
        return self.state in {State.RUNNING, State.FINISHED} and not _left(self.state, self.wanted)

    def _then(self, last: State) -> None:
        if State.NEW in self.wanted:
            self.wanted = (*self.wanted[: self.wanted.index(State.NEW) + 1], last)
        else:
            self.wanted = (last,)
