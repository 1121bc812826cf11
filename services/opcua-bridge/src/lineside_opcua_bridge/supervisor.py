"""The supervisor of the connection to the PLC: connect, bind the triggers' nodes, notice a loss, resume or begin anew.

After a short interruption the server still has session and subscriptions. They continue, missed messages are sent
again, and no value is lost (see `link.subscriptions`). After anything else (a restart of the server, an outage longer
than the subscriptions' lifetime, changed namespaces) everything is set up anew: nodes are found and checked, present
values are read, and the subscribers are told that values may be missing. asyncua's own reconnecting does neither.

Nodes that are missing or unfit at the first connection are a wrong configuration: the process ends and names them.
Later only the trigger that needs them is out of service; it says why and is tried again, while the others work.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence

import structlog

from lineside.connections import Connection, State
from lineside.errors import LinesideError
from lineside_opcua_bridge.binding.bind import NodeUnfit, bind
from lineside_opcua_bridge.binding.node_conflicts import Bound, check_conflicts
from lineside_opcua_bridge.heartbeat import Heartbeat
from lineside_opcua_bridge.link.metrics import LinkMetrics
from lineside_opcua_bridge.link.session import CallFailed, Session
from lineside_opcua_bridge.link.subscriber import Subscriber
from lineside_opcua_bridge.link.subscriptions import Subscriptions
from lineside_opcua_bridge.nodes import NodeMissing
from lineside_opcua_bridge.security import LogInRefused, describe
from lineside_opcua_bridge.settings import OpcuaBridgeSettings

log = structlog.get_logger("lineside.opcua_bridge.supervisor")

_LOCK_OUT_S = 60.0
_LOCK_OUT = (
    "the next attempt is a minute later, for a PLC may lock out a user who fails often; "
    "it takes the password or certificate file as it is then"
)
_CHECK_S = 0.5
"""How often the subscriptions are checked for missing keep-alives."""


class PlcSupervisor:
    """The connection to one PLC and its subscribers, each with the Connection that shows in /readyz.

    `fail` ends the process for a wrong configuration; it gets the reason.
    """

    def __init__(
        self,
        settings: OpcuaBridgeSettings,
        thing: str,
        connection: Connection,
        subscribers: Sequence[tuple[Subscriber, Connection]],
        *,
        metrics: LinkMetrics,
        fail: Callable[[str], None],
        heartbeat: tuple[Heartbeat, Connection] | None = None,
    ) -> None:
        self._settings = settings
        self._thing = thing
        self._connection = connection
        self._subscribers = subscribers
        self._metrics = metrics
        self._fail = fail
        self._heartbeat = heartbeat
        self._subscriptions = Subscriptions(settings, metrics)
        self._previous: Session | None = None
        """The session that may be resumed."""
        self._bound: dict[str, Bound] = {}
        self._is_configuration_checked = False
        """Whether every trigger was bound, or found wrong, once."""
        self.session: Session | None = None
        """The session that is open now."""

    async def run(self) -> None:
        """Keep the connection, for ever."""
        while True:
            self._connection.connecting()
            session = Session(self._settings, self._thing)
            must_close = True
            try:
                delay = self._show_away(await self._run_session(session))
                must_close = session.is_spent
            finally:
                self.session = None
                self._subscriptions.detach()
                for subscriber, _connection in self._subscribers:
                    subscriber.detach()
                if self._heartbeat:
                    self._heartbeat[0].detach()
                if must_close:
                    await session.close()
                else:
                    session.leave()
            await asyncio.sleep(delay)

    def _show_away(self, reason: LinesideError | str) -> float:
        """Show in /readyz that the PLC is away; return the seconds until the next attempt."""
        shown = [connection for _subscriber, connection in self._subscribers]
        for connection in shown + ([self._heartbeat[1]] if self._heartbeat else []):
            if connection.state is not State.BACKOFF:
                connection.backoff("the PLC is away")
        if isinstance(reason, LogInRefused):
            return self._connection.backoff(f"{reason}; {_LOCK_OUT}", least_s=_LOCK_OUT_S)
        return self._connection.backoff(reason)

    async def _run_session(self, session: Session) -> LinesideError | str:
        """Open a session and serve it until it is lost; return why it ended."""
        try:
            await session.open(self._previous)
            due = await self._resume_or_start(session)
        except LinesideError as failed:
            return failed
        interval = self._subscriptions.interval_ms
        log.info("session", endpoint=self._settings.endpoint, interval_ms=interval, resumed=session.is_resumed)
        return await self._serve(session, due, f"publishing every {interval:g} ms; {describe(self._settings)}")

    async def _resume_or_start(self, session: Session) -> dict[int, float]:
        """Resume the subscriptions where possible; return which subscribers, by index, are to be bound, and when."""
        previous, self._previous = self._previous, session
        self.session = session
        due = dict.fromkeys(range(len(self._subscribers)), 0.0)
        if previous is not None and previous.is_same_server(session):
            resumed = await self._subscriptions.resume(session)
            if resumed is not None:
                self._metrics.sessions.labels("resumed" if session.is_resumed else "transferred").inc()
                for subscriber, binding in resumed:
                    self._bound[subscriber.name] = subscriber.settings, binding
                    index = next(at for at, (each, _shown) in enumerate(self._subscribers) if each is subscriber)
                    self._subscribers[index][1].online(binding.detail)
                    del due[index]
                return due
        self._bound.clear()
        await self._subscriptions.start(session)
        self._metrics.sessions.labels("new").inc()
        return due

    async def _serve(self, session: Session, due: dict[int, float], granted: str) -> str:
        """Bind what is due and check for keep-alives until the session is lost; return why it was."""
        heartbeat_due = 0.0 if self._heartbeat else math.inf
        while not session.lost.done():
            now = time.monotonic()
            wrong: list[LinesideError] = []
            for index in [index for index, at in due.items() if at <= now]:
                delay = await self._bind(session, *self._subscribers[index], wrong)
                if delay is None:
                    del due[index]
                else:
                    due[index] = time.monotonic() + delay
            if self._heartbeat and heartbeat_due <= now:  # last: its node must not be one of a trigger's
                heartbeat_due = time.monotonic() + await self._start_heartbeat(session, *self._heartbeat, wrong)
            if not session.lost.done():
                self._check_configuration(wrong)
                self._connection.online(granted)
            wait = min([_CHECK_S, heartbeat_due - time.monotonic(), *(at - time.monotonic() for at in due.values())])
            await asyncio.wait({session.lost}, timeout=max(0.01, wait))
            if silence := self._subscriptions.silence():
                session.lose(silence)
        if session.is_spent:
            self._previous = None
        return session.lost.result()

    async def _start_heartbeat(
        self, session: Session, heartbeat: Heartbeat, connection: Connection, wrong: list[LinesideError]
    ) -> float:
        """Start the heartbeat; return the seconds until the next attempt, infinite where it runs."""
        connection.connecting()
        try:
            await heartbeat.attach(session)
            check_conflicts(self._bound, heartbeat=heartbeat.node)
        except LinesideError as error:
            heartbeat.detach()
            if isinstance(error, NodeMissing | NodeUnfit):
                wrong.append(error)
            return connection.backoff(error)
        connection.online(heartbeat.detail)
        return math.inf

    def _check_configuration(self, wrong: Sequence[LinesideError]) -> None:
        """End the process where the settings do not fit the server; only after the first round of binding."""
        if self._is_configuration_checked:
            return
        self._is_configuration_checked = True
        for error in wrong:
            log.critical("cannot start", error=error.what, remedy=error.remedy)
        if wrong:
            self._fail("; ".join(error.what for error in wrong))

    async def _bind(
        self, session: Session, subscriber: Subscriber, connection: Connection, wrong: list[LinesideError]
    ) -> float | None:
        """Put a trigger into service; return the seconds until the next attempt where that failed."""
        connection.connecting()
        try:
            binding = await bind(subscriber.settings, session, self._settings)
            bound = self._bound | {subscriber.name: (subscriber.settings, binding)}
            check_conflicts(bound, heartbeat=self._heartbeat[0].node if self._heartbeat else None)
            subscriber.attach(binding, continuous=False)
            await self._subscriptions.subscribe(subscriber, binding)
        except LinesideError as error:
            subscriber.detach()
            await self._subscriptions.unsubscribe(subscriber)
            if isinstance(error, NodeMissing | NodeUnfit):
                wrong.append(LinesideError(f"trigger {subscriber.name!r}: {error.what}", remedy=error.remedy))
            known = connection.detail
            delay = connection.backoff(error)
            if connection.detail != known and not isinstance(error, CallFailed):
                log.warning(
                    "a trigger is out of service", trigger=subscriber.name, error=error.what, remedy=error.remedy
                )
            return delay
        self._bound = bound
        for node, why in binding.refused.items():
            log.error("a write-back is left out", trigger=subscriber.name, node=node, error=why)
        connection.online(binding.detail)
        return None
