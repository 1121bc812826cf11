"""The bridge put together: triggers to requests on the bus, results from the bus to their stations."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from pydantic import TypeAdapter

from lineside.bus import Bus, Subscription
from lineside.contract import Source, Unreadable, parse_result
from lineside.service import Service
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.parts import answer_of
from lineside_opcua_bridge.plc import Plc
from lineside_opcua_bridge.settings import Settings
from lineside_opcua_bridge.station import Pending, Station

log = structlog.get_logger("lineside.opcua_bridge")

_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


class Bridge:
    """All stations of one PLC on one bus; `life` is its life within the service."""

    def __init__(self, settings: Settings, service: Service, bus: Bus) -> None:
        # What asyncua logs of a lost connection, tracebacks included, the supervisor says in one line.
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        own = settings.opcua_bridge
        self._service = service
        self._bus = bus
        self._drain_s = own.http.drain_s
        self._metrics = Metrics(service.registry)
        self._pending = Pending()
        self._results: Subscription = bus.subscribe(settings.bus.result_topic)
        stations = [
            (
                Station(
                    trigger,
                    _SOURCE.validate_python(trigger.source.model_dump()),
                    bus=bus,
                    topics=settings.bus,
                    pending=self._pending,
                    metrics=self._metrics,
                    grace_s=own.grace_ms / 1000,
                    backlog=own.backlog,
                ),
                service.connection(f"trigger {trigger.name}", trigger.trigger_node() or trigger.when.kind, first_s=1.0),
            )
            for trigger in own.triggers
        ]
        self._stations = [station for station, _link in stations]
        self._plc = Plc(own, settings.thing, service.connection("opcua", own.endpoint), stations)

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """Run from start to stop; parts that wait at the stop get their verdicts, within `http.drain_s`."""
        if not self._stations:
            log.warning("no triggers are configured: nothing will be asked", remedy="set opcua_bridge.triggers")
        async with self._bus:
            self._service.spawn("results", self._take_results())
            for station in self._stations:
                self._service.spawn(f"station {station.name}", station.run())
            self._service.spawn("opcua", self._plc.run())
            try:
                yield
            finally:
                await self._drain()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._drain_s):
                await asyncio.gather(*(station.drain() for station in self._stations))
        except TimeoutError:
            log.warning("stopped with parts that wait; the next start recovers them", drain_s=self._drain_s)

    async def _take_results(self) -> None:
        async for message in self._results:
            self._route(message.payload)
            message.ack()  # what a crash loses here the PLC still shows: its trigger without done is recovered

    def _route(self, payload: bytes) -> None:
        try:
            result = parse_result(payload)
        except Unreadable as error:
            self._metrics.results.labels("unreadable").inc()
            log.warning("a result cannot be read", code=error.code, reason=error.reason)
            return
        station = self._pending.stations.get(result.request_id)
        if station:
            station.decided(result.request_id, answer_of(result))
            return
        kind = self._pending.closed.kind(result.request_id)
        self._metrics.results.labels(kind).inc()
        if kind != "foreign":  # other bridges share the topic: theirs are nothing to say
            log.info("a result came too late or twice; it is not written", request_id=result.request_id, kind=kind)
