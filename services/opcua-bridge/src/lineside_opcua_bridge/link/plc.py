"""The supervisor of the connection to the PLC: connect, bind the triggers' nodes, watch for loss, go on or begin anew.

After a short cut the server still has session and subscriptions: they go on, what was missed is sent again, and the
stations may trust the line of their values (see `subscriptions`). After anything else, a restart of the server, an
outage longer than the subscription's lifetime, other namespaces, all is new from the ground up: nodes found and
checked, present values read, stations told to trust nothing that they knew. asyncua's own reconnecting does neither.

Nodes that are missing or unfit when the bridge first meets its PLC are a wrong configuration: the process ends and
says which. Later in life only the trigger that needs them is out of service; it says why and is tried again, while the
others work.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence

import structlog

from lineside.connections import Connection, State
from lineside.errors import LinesideError
from lineside_opcua_bridge.heartbeat import Heartbeat
from lineside_opcua_bridge.link.metrics import LinkMetrics
from lineside_opcua_bridge.link.node_conflicts import Bound, refuse_clash
from lineside_opcua_bridge.link.session import CallFailed, Session
from lineside_opcua_bridge.link.subscriptions import Subscriptions
from lineside_opcua_bridge.nodes import NodeMissing
from lineside_opcua_bridge.security import LogInRefused, describe
from lineside_opcua_bridge.settings import OpcuaBridgeSettings
from lineside_opcua_bridge.station.binding import NodeUnfit, bind
from lineside_opcua_bridge.station.station import Station

log = structlog.get_logger("lineside.opcua_bridge.plc")

_LOCK_OUT_S = 60.0
_LOCK_OUT = (
    "the next attempt is a minute later, for a PLC may lock out a user who fails often; "
    "it takes the password or certificate file as it is then"
)
_CHECK_S = 0.5
"""How often the subscriptions' signs of life are looked at."""


class Plc:
    """The connection to one PLC and the triggers on it: each station with the Connection that shows its nodes.

    `fail` ends the process for a wrong configuration; it gets the reason.
    """

    def __init__(
        self,
        settings: OpcuaBridgeSettings,
        thing: str,
        link: Connection,
        stations: Sequence[tuple[Station, Connection]],
        *,
        metrics: LinkMetrics,
        fail: Callable[[str], None],
        heartbeat: tuple[Heartbeat, Connection] | None = None,
    ) -> None:
        self._settings = settings
        self._thing = thing
        self._link = link
        self._stations = stations
        self._metrics = metrics
        self._fail = fail
        self._heartbeat = heartbeat
        self._subscriptions = Subscriptions(settings, metrics)
        self._before: Session | None = None
        """The session that may be gone on with."""
        self._bound: dict[str, Bound] = {}
        self._has_met = False
        """Whether the PLC was there once with every trigger looked at."""
        self.session: Session | None = None
        """The session that is open now."""

    async def run(self) -> None:
        """Keep the connection, for ever."""
        while True:
            self._link.connecting()
            session = Session(self._settings, self._thing)
            stays = True
            try:
                delay = self._away(await self._live(session))
                stays = session.is_spent
            finally:
                self.session = None
                self._subscriptions.detach()
                for station, _link in self._stations:
                    station.unbound()
                if self._heartbeat:
                    self._heartbeat[0].unbound()
                if stays:
                    await session.close()
                else:
                    session.leave()
            await asyncio.sleep(delay)

    def _away(self, reason: LinesideError | str) -> float:
        """Show that the PLC is away, before anything else is waited for; return the seconds until the next attempt."""
        for link in [link for _station, link in self._stations] + ([self._heartbeat[1]] if self._heartbeat else []):
            if link.state is not State.BACKOFF:
                link.backoff("the PLC is away")
        if isinstance(reason, LogInRefused):
            return self._link.backoff(f"{reason}; {_LOCK_OUT}", least_s=_LOCK_OUT_S)
        return self._link.backoff(reason)

    async def _live(self, session: Session) -> LinesideError | str:
        """Live through one session; return why it ended."""
        try:
            await session.open(self._before)
            due = await self._go_on(session)
        except LinesideError as failed:
            return failed
        interval = self._subscriptions.interval_ms
        log.info("session", endpoint=self._settings.endpoint, interval_ms=interval, resumed=session.is_resumed)
        return await self._serve(session, due, f"publishing every {interval:g} ms; {describe(self._settings)}")

    async def _go_on(self, session: Session) -> dict[int, float]:
        """Take up the subscriptions where that is possible; return the places of the stations to bind, and when."""
        before, self._before = self._before, session
        self.session = session
        due = dict.fromkeys(range(len(self._stations)), 0.0)
        if before is not None and before.is_same_server(session):
            taken_up = await self._subscriptions.resume(session)
            if taken_up is not None:
                self._metrics.sessions.labels("resumed" if session.is_resumed else "transferred").inc()
                for station, binding in taken_up:
                    self._bound[station.name] = station.settings, binding
                    place = next(place for place, (each, _link) in enumerate(self._stations) if each is station)
                    self._stations[place][1].online(binding.detail)
                    del due[place]
                return due
        self._bound.clear()
        await self._subscriptions.start(session)
        self._metrics.sessions.labels("new").inc()
        return due

    async def _serve(self, session: Session, due: dict[int, float], granted: str) -> str:
        beat_at = 0.0 if self._heartbeat else math.inf
        while not session.lost.done():
            now = time.monotonic()
            wrong: list[LinesideError] = []
            for place in [place for place, at in due.items() if at <= now]:
                delay = await self._bind(session, *self._stations[place], wrong)
                if delay is None:
                    del due[place]
                else:
                    due[place] = time.monotonic() + delay
            if self._heartbeat and beat_at <= now:  # last: it must not beat on a node that is a trigger's
                beat_at = time.monotonic() + await self._beat(session, *self._heartbeat, wrong)
            if not session.lost.done():
                self._meet(wrong)
                self._link.online(granted)
            wait = min([_CHECK_S, beat_at - time.monotonic(), *(at - time.monotonic() for at in due.values())])
            await asyncio.wait({session.lost}, timeout=max(0.01, wait))
            if silence := self._subscriptions.silence():
                session.lose(silence)
        if session.is_spent:
            self._before = None
        return session.lost.result()

    async def _beat(
        self, session: Session, heartbeat: Heartbeat, link: Connection, wrong: list[LinesideError]
    ) -> float:
        """Begin the heartbeat; return the seconds until the next attempt, which is never where it beats."""
        link.connecting()
        try:
            await heartbeat.bound(session)
            refuse_clash(self._bound, heartbeat=heartbeat.node)
        except LinesideError as error:
            heartbeat.unbound()
            if isinstance(error, NodeMissing | NodeUnfit):
                wrong.append(error)
            return link.backoff(error)
        link.online(heartbeat.detail)
        return math.inf

    def _meet(self, wrong: Sequence[LinesideError]) -> None:
        """Once every trigger was looked at for the first time: end the process where the settings do not fit."""
        if self._has_met:
            return
        self._has_met = True
        for error in wrong:
            log.critical("cannot start", error=error.what, remedy=error.remedy)
        if wrong:
            self._fail("; ".join(error.what for error in wrong))

    async def _bind(
        self, session: Session, station: Station, link: Connection, wrong: list[LinesideError]
    ) -> float | None:
        """Put a trigger into service; return the seconds until the next attempt where that failed."""
        link.connecting()
        try:
            binding = await bind(station.settings, session, self._settings)
            bound = self._bound | {station.name: (station.settings, binding)}
            refuse_clash(bound, heartbeat=self._heartbeat[0].node if self._heartbeat else None)
            station.bound(binding, whole=False)
            await self._subscriptions.watch(station, binding)
        except LinesideError as error:
            station.unbound()
            await self._subscriptions.unwatch(station)
            if isinstance(error, NodeMissing | NodeUnfit):
                wrong.append(LinesideError(f"trigger {station.name!r}: {error.what}", remedy=error.remedy))
            known = link.detail
            delay = link.backoff(error)
            if link.detail != known and not isinstance(error, CallFailed):
                log.warning("a trigger is out of service", trigger=station.name, error=error.what, remedy=error.remedy)
            return delay
        self._bound = bound
        for node, why in binding.refused.items():
            log.error("a write-back is left out", trigger=station.name, node=node, error=why)
        link.online(binding.detail)
        return None
