"""The supervisor of the connection to the PLC: connect, bind every trigger's nodes, watch for loss, begin again.

asyncua can reconnect by itself; here it does not, because it would bring back subscriptions with the namespace indices
of the server before its restart, and would tell nobody that values may have been missed meanwhile. Every session here
is new from the ground up: namespaces resolved, nodes checked, stations told to trust nothing that they knew.

A trigger whose nodes are missing or unfit is not ready, says which node and why, and is tried again on the same
session; the others work meanwhile.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence

import structlog
from asyncua import ua

from lineside.connections import Connection, State
from lineside.contract import utc_now
from lineside.errors import LinesideError
from lineside_opcua_bridge.binding import Binding, bind
from lineside_opcua_bridge.session import CallFailed, Session
from lineside_opcua_bridge.settings import OpcuaBridgeSettings
from lineside_opcua_bridge.station import Station
from lineside_opcua_bridge.values import sample_of

log = structlog.get_logger("lineside.opcua_bridge.plc")

_CHECK_S = 0.5
"""How often the subscription's signs of life are looked at."""


class Plc:
    """The connection to one PLC and the triggers on it: each station with the Connection that shows its nodes."""

    def __init__(
        self,
        settings: OpcuaBridgeSettings,
        thing: str,
        link: Connection,
        stations: Sequence[tuple[Station, Connection]],
    ) -> None:
        self._settings = settings
        self._thing = thing
        self._link = link
        self._stations = stations
        self._handles = itertools.count(1)
        self._watched: dict[int, tuple[Station, Binding, str]] = {}
        self._session: Session | None = None
        self._sequence: int | None = None

    async def run(self) -> None:
        """Keep the connection, for ever."""
        while True:
            self._link.connecting()
            self._sequence = None
            session = self._session = Session(self._settings, self._thing, self._published)
            try:
                delay = self._away(await self._live(session))
            finally:
                self._watched.clear()
                for station, _link in self._stations:
                    station.unbound()
                await session.close()
            await asyncio.sleep(delay)

    def _away(self, reason: str) -> float:
        """Show that the PLC is away, before anything else is waited for; return the seconds until the next attempt."""
        for _station, link in self._stations:
            if link.state is not State.BACKOFF:
                link.backoff("the PLC is away")
        return self._link.backoff(reason)

    async def _live(self, session: Session) -> str:
        """Live through one session; return why it ended."""
        try:
            await session.open()
        except CallFailed as failed:
            return failed.what
        log.info("session", endpoint=self._settings.endpoint, interval_ms=session.interval_ms)
        return await self._serve(session, f"publishing every {session.interval_ms:g} ms")

    async def _serve(self, session: Session, granted: str) -> str:
        due = dict.fromkeys(range(len(self._stations)), 0.0)
        while not session.lost.done():
            now = time.monotonic()
            for place in [place for place, at in due.items() if at <= now]:
                delay = await self._bind(session, *self._stations[place])
                if delay is None:
                    del due[place]
                else:
                    due[place] = time.monotonic() + delay
            if not session.lost.done():
                self._link.online(granted)
            wait = min([_CHECK_S, *(at - time.monotonic() for at in due.values())])
            await asyncio.wait({session.lost}, timeout=max(0.01, wait))
            if session.silent_s > 0:
                session.lose("the subscription is silent: no notification and no sign of life")
        return session.lost.result()

    async def _bind(self, session: Session, station: Station, link: Connection) -> float | None:
        """Put a trigger into service; return the seconds until the next attempt where that failed."""
        link.connecting()
        try:
            binding = await bind(station.settings, session)
            station.bound(binding)
            for watched in binding.watches:
                handle = next(self._handles)
                self._watched[handle] = (station, binding, watched.role)
                await session.watch(handle, watched.node)
        except LinesideError as error:
            station.unbound()
            known = link.detail
            delay = link.backoff(error)
            if link.detail != known:
                log.warning("a trigger is out of service", trigger=station.name, error=error.what, remedy=error.remedy)
            return delay
        for node, why in binding.refused.items():
            log.error("a write-back is left out", trigger=station.name, node=node, error=why)
        link.online("; ".join(f"{node} is not written: {why}" for node, why in binding.refused.items()))
        return None

    def _published(self, result: ua.PublishResult) -> None:
        """Hand a notification on at once; asyncua calls this between two publish requests."""
        message = result.NotificationMessage
        content = message.NotificationData or []
        if any(isinstance(notification, ua.DataChangeNotification) for notification in content):
            self._check_sequence(int(message.SequenceNumber))
        for notification in content:
            if isinstance(notification, ua.DataChangeNotification):
                for item in notification.MonitoredItems:
                    watched = self._watched.get(int(item.ClientHandle))
                    if watched:
                        station, binding, role = watched
                        received = utc_now()
                        station.value(binding, role, sample_of(item.Value, received=received, ticks=time.monotonic()))
            elif isinstance(notification, ua.StatusChangeNotification) and self._session:
                self._session.lose(f"the server ended the subscription: {notification.Status}")

    def _check_sequence(self, number: int) -> None:
        # Keep-alives carry the next number and no content, so only numbers with content count; after 2^32-1 comes 1.
        before, self._sequence = self._sequence, number
        if before is not None and number not in {before + 1, 1}:
            log.warning("notifications were missed; looking at every station", after=before, got=number)
            for station, _link in self._stations:
                station.doubt()
