"""The bridge put together: triggers to requests on the bus, results from the bus to their stations."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
from pydantic import TypeAdapter

from lineside.bus import Bus
from lineside.bus.faults import MessageFaults
from lineside.connections import Connection
from lineside.contract import Result, Source, reported_policy_topic, status_topic, uuid7
from lineside.service import Service
from lineside.standing import tell
from lineside_opcua_bridge.collector.collector import Collector, CollectorMetrics
from lineside_opcua_bridge.heartbeat import Heartbeat
from lineside_opcua_bridge.link.metrics import LinkMetrics
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.outcome_publisher import OutcomePublisher
from lineside_opcua_bridge.pausing import PauseSwitch
from lineside_opcua_bridge.results import ResultRouter
from lineside_opcua_bridge.security import describe, is_insecure, keep_certificate, register
from lineside_opcua_bridge.settings import Settings, TriggerSettings
from lineside_opcua_bridge.settings.sources import WindowSourceSettings
from lineside_opcua_bridge.station.ownership import Ownership
from lineside_opcua_bridge.station.pending import PendingRequests
from lineside_opcua_bridge.station.trigger_worker import TriggerWorker
from lineside_opcua_bridge.supervisor import PlcSupervisor
from lineside_opcua_bridge.ticker import FairLock

log = structlog.get_logger("lineside.opcua_bridge")

_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


class Bridge:
    """All stations of one PLC on one bus; `life` is its life within the service."""

    def __init__(self, settings: Settings, service: Service, bus: Bus) -> None:
        # What asyncua logs of a lost connection, tracebacks included, the supervisor says in one line.
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        own = settings.opcua_bridge
        self._settings = settings
        self._service = service
        self._bus = bus
        self._drain_s = own.http.drain_s
        self._metrics = Metrics(service.registry)
        self._metrics.simulate.set(own.simulate)
        self._pending = PendingRequests()
        self._fair_lock = FairLock()
        self._run = uuid7()
        self._outcomes = OutcomePublisher(bus, settings.bus.outcome_topic, service.registry)
        self._answers = bus.subscribe(settings.bus.result_topic)
        self._errors = bus.subscribe(f"{settings.bus.result_topic}/error")
        stations = [self._station(trigger) for trigger in own.triggers]
        self._stations = [station for station, _link in stations]
        written = {trigger.station for trigger in own.triggers if trigger.write_back}
        self._results = ResultRouter(self._pending, written, self._metrics, other_asked=self._other_asked)
        self._faults = MessageFaults("opcua_bridge", service.registry)
        self._heartbeat = Heartbeat(own.heartbeat, self._metrics, simulate=own.simulate) if own.heartbeat else None
        self._plc = self._plc_of(stations)
        self._reports = bus.subscribe(reported_policy_topic(settings.thing))
        self._pausing = PauseSwitch(self._stations, [link for _station, link in stations])
        self._collected = [bus.subscribe(topic) for topic in own.collector.topics]
        self._collector = Collector(
            self._stations, max_bytes=settings.bus.max_message_bytes, metrics=CollectorMetrics(service.registry)
        )

    def _station(self, trigger: TriggerSettings) -> tuple[TriggerWorker, Connection]:
        own = self._settings.opcua_bridge
        window = isinstance(trigger.source, WindowSourceSettings)
        station = TriggerWorker(
            trigger,
            None if window else _SOURCE.validate_python(trigger.source.model_dump()),
            bus=self._bus,
            topics=self._settings.bus,
            pending=self._pending,
            metrics=self._metrics,
            fair_lock=self._fair_lock,
            tell=self._outcomes.tell,
            broker=self._service.connections.get("bus"),
            grace_s=own.grace_ms / 1000,
            backlog=own.backlog,
            ownership=self._ownership(trigger),
            simulate=own.simulate,
        )
        self._metrics.deadline.labels(trigger.name).set(trigger.deadline_ms / 1000)
        target = trigger.trigger_node() or trigger.when.kind
        return station, self._service.connection(f"trigger {trigger.name}", target, first_s=1.0)

    def _ownership(self, trigger: TriggerSettings) -> Ownership:
        own = self._settings.opcua_bridge
        node = trigger.write_back.owner if trigger.write_back else None
        return Ownership(
            trigger,
            self._metrics,
            run=self._run,
            owner=f"{self._settings.thing}@{socket.gethostname()}:{own.http.port}",
            connect=lambda: self._service.connection(f"owner {trigger.name}", node or trigger.station, first_s=1.0),
            simulate=own.simulate,
        )

    def _other_asked(self, result: Result) -> None:
        for station in self._stations:
            if station.settings.station == result.context.station:
                station.ownership.other_asked(result)

    def _plc_of(self, stations: list[tuple[TriggerWorker, Connection]]) -> PlcSupervisor | None:
        """Return the way to the PLC; None where no trigger needs one, for a collector or the clock has it all."""
        own = self._settings.opcua_bridge
        needing = [(station, link) for station, link in stations if station.settings.needs_plc()]
        for station, link in stations:
            if not station.settings.needs_plc():
                link.online("it needs no session with the PLC")
        if stations and not needing and not own.heartbeat:
            return None
        beating = None
        if self._heartbeat:
            node = self._heartbeat.settings.node
            beating = self._heartbeat, self._service.connection("heartbeat", node, first_s=1.0)
        register(self._service.registry, own)
        return PlcSupervisor(
            own,
            self._settings.thing,
            self._service.connection("opcua", own.endpoint),
            needing,
            metrics=LinkMetrics(self._service.registry),
            fail=partial(self._service.fail, status=2),
            heartbeat=beating,
        )

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """Run from start to stop; parts that wait at the stop get their verdicts, within `http.drain_s`."""
        if not self._stations:
            log.warning("no triggers are configured: nothing will be asked", remedy="set opcua_bridge.triggers")
        if self._settings.opcua_bridge.simulate:
            log.warning("simulate: nothing is written to the PLC", remedy="unset opcua_bridge.simulate for production")
        async with self._bus:
            # What a crash loses after its acknowledgement the PLC still shows: its trigger without done is recovered.
            self._service.spawn("results", self._faults.each(self._answers, self._results.take))
            self._service.spawn("errors", self._faults.each(self._errors, self._results.take_error))
            self._service.spawn("outcomes", self._outcomes.run())
            most = self._settings.bus.max_message_bytes
            self._service.spawn("status", tell("opcua_bridge", self._service, self._tell_status, max_bytes=most))
            self._service.spawn("pausing", self._faults.each(self._reports, self._pausing.take))
            for topic, messages in zip(self._settings.opcua_bridge.collector.topics, self._collected, strict=True):
                self._service.spawn(f"collector {topic}", self._faults.each(messages, self._collector.take))
            for station in self._stations:
                self._service.spawn(f"station {station.name}", station.run())
            if self._plc:
                self._service.spawn("opcua", self._plc.run())
                self._spawn_security()
            try:
                yield
            finally:
                await self._drain()

    def _spawn_security(self) -> None:
        own = self._settings.opcua_bridge
        if is_insecure(own):
            log.warning(describe(own), endpoint=own.endpoint, remedy="set opcua_bridge.security.policy")
        else:
            self._service.spawn("certificate", keep_certificate(own, thing=self._settings.thing))

    async def _drain(self) -> None:
        if self._heartbeat:
            self._heartbeat.stop()
        try:
            async with asyncio.timeout(self._drain_s):
                await asyncio.gather(*(station.drain() for station in self._stations))
        except TimeoutError:
            log.warning("stopped with parts that wait; the next start recovers them", drain_s=self._drain_s)
        await self._outcomes.flush()

    async def _tell_status(self, status: bytes) -> None:
        await self._bus.publish(status_topic(self._settings.thing), status, keep=False)
