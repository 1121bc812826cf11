"""The state of a connection: one object, set by its supervisor and read by /readyz, the metric and the log."""

import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lineside.backoff import Backoff
from lineside.contract import utc_now
from lineside.secrecy import hidden

log = structlog.get_logger("lineside.connections")


class State(StrEnum):
    """Where a connection stands."""

    CONNECTING = "CONNECTING"
    ONLINE = "ONLINE"
    BACKOFF = "BACKOFF"
    PAUSED = "PAUSED"


@dataclass(frozen=True)
class Snapshot:
    """A connection as /readyz shows it."""

    name: str
    target: str
    state: State
    required: bool
    since: str
    detail: str
    attempts: int
    next_try: str | None


class Connection:
    """One connection's state: what it tries, since when, and when it tries next.

    The supervisor reports with `connecting`, `online`, `backoff` and `paused`; `backoff` returns how many seconds
    to wait, by `lineside.backoff`: from `first_s` to `longest_s`, less a random share of at most a half.
    """

    def __init__(
        self,
        name: str,
        target: str,
        *,
        required: bool = True,
        first_s: float = 0.1,
        longest_s: float = 5.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.name = name
        self.target = hidden(target)
        self.required = required
        self.state = State.CONNECTING
        self.detail = ""
        self.attempts = 0
        self._detail_online = ""
        self._backoff = Backoff(first_s, longest_s, jitter=0.5)
        self._now = now
        self._since = now()
        self._next_try: datetime | None = None
        self._held: str | None = None
        self._random = random.Random()  # noqa: S311 - jitter, not a secret

    @property
    def is_online(self) -> bool:
        """Whether the connection works now, also where it is held."""
        return self.state is State.ONLINE or (self.state is State.PAUSED and self._held is not None)

    def away_for(self) -> float:
        """Return for how many seconds it is known not to work: until the next attempt; 0 where one is under way."""
        if self.state is not State.BACKOFF or self._next_try is None:
            return 0.0
        return max(0.0, (self._next_try - self._now()).total_seconds())

    def connecting(self) -> None:
        """Say that an attempt is under way."""
        self._become(State.CONNECTING, self.detail)

    def online(self, detail: str = "") -> None:
        """Say that the connection works; the next outage starts with the shortest wait again."""
        self.attempts = 0
        self._detail_online = detail
        if self._held is None:
            self._become(State.ONLINE, detail)
        else:
            self._become(State.PAUSED, self._held)

    def hold(self, reason: str | None) -> None:
        """Show PAUSED and this reason wherever it would be ONLINE, until called with None.

        What keeps the connection need not know: it goes on as before, and the connection still counts as working.
        """
        was_online = self.is_online
        self._held = reason
        if was_online:
            self.online(self._detail_online)

    def paused(self, reason: str) -> None:
        """Say that the connection is kept but not used, and why."""
        self._become(State.PAUSED, reason)

    def backoff(self, error: BaseException | str, *, least_s: float = 0.0) -> float:
        """Say that it failed; return the seconds to wait before the next attempt, `least_s` at least."""
        delay = max(least_s, self._backoff.wait_s(self.attempts, self._random.random()))
        self.attempts += 1
        self._become(State.BACKOFF, hidden(describe(error)))
        self._next_try = self._now() + timedelta(seconds=delay)
        return delay

    def snapshot(self) -> Snapshot:
        """Return the state as shown to people."""
        return Snapshot(
            name=self.name,
            target=self.target,
            state=self.state,
            required=self.required,
            since=self._since.isoformat(),
            detail=self.detail,
            attempts=self.attempts,
            next_try=self._next_try.isoformat() if self._next_try else None,
        )

    def as_dict(self) -> dict[str, object]:
        """Return the snapshot as JSON-ready values."""
        return asdict(self.snapshot())

    def _become(self, state: State, detail: str) -> None:
        previous = self.state
        self.detail = detail
        self._next_try = None
        if state is previous:
            return
        self.state = state
        self._since = self._now()
        if {state, previous} != {State.CONNECTING, State.BACKOFF} or self.attempts <= 1:
            # While a peer stays away CONNECTING and BACKOFF alternate: the first round is said, not each.
            say = log.warning if state is State.BACKOFF else log.info
            say("connection", connection=self.name, target=self.target, state=state, detail=detail)


def describe(error: BaseException | str) -> str:
    """Return an error as one line, with its type where its text alone says nothing."""
    if isinstance(error, str):
        return error
    text = " ".join(str(error).split())
    return text if len(text) > len("timed out") else f"{type(error).__name__}{': ' + text if text else ''}"


class ConnectionCollector(Collector):
    """Exports `<prefix>_connection_state{connection,state}`: 1 for the state that it is in, 0 for the others."""

    def __init__(self, prefix: str, connections: Callable[[], Iterator[Connection]]) -> None:
        self._name = f"{prefix}_connection_state"
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        """Yield one gauge for all connections."""
        family = GaugeMetricFamily(
            self._name, "1 for the state that the connection is in.", labels=["connection", "state"]
        )
        for connection in self._connections():
            for state in State:
                family.add_metric([connection.name, state], float(connection.state is state))
        yield family
