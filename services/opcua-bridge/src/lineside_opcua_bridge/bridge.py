"""Builds the bridge from its parts, and runs it: from triggers to requests, from results to the triggers' workers."""

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
from lineside_opcua_bridge.security import describe, is_insecure, keep_certificate, register_metrics
from lineside_opcua_bridge.settings import Settings, TriggerSettings
from lineside_opcua_bridge.settings.sources import WindowSourceSettings
from lineside_opcua_bridge.station.margin import Margin, watch_lag
from lineside_opcua_bridge.station.overload import Dispatcher
from lineside_opcua_bridge.station.ownership import Ownership
from lineside_opcua_bridge.station.pending import PendingRequests
from lineside_opcua_bridge.station.trigger_worker import TriggerWorker
from lineside_opcua_bridge.supervisor import PlcSupervisor
from lineside_opcua_bridge.ticker import FairLock

log = structlog.get_logger("lineside.opcua_bridge")

_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


class Bridge:
    """The triggers of one PLC on one bus; `life` runs them within the service."""

    def __init__(self, settings: Settings, service: Service, bus: Bus) -> None:
        # The supervisor logs a lost connection in one line; asyncua would log tracebacks.
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
        self._margin = Margin()
        self._dispatcher = Dispatcher(own.overload_first)
        self._show_load()
        self._run = uuid7()
        self._outcomes = OutcomePublisher(bus, settings.bus.outcome_topic, service.registry)
        self._answers = bus.subscribe(settings.bus.result_topic)
        self._errors = bus.subscribe(f"{settings.bus.result_topic}/error")
        workers = [self._worker(trigger) for trigger in own.triggers]
        self._workers = [worker for worker, _connection in workers]
        written = {trigger.station for trigger in own.triggers if trigger.write_back}
        self._results = ResultRouter(
            self._pending, written, self._metrics, other_asked=self._other_asked, heard=self._dispatcher.heard
        )
        self._faults = MessageFaults("opcua_bridge", service.registry)
        self._heartbeat = Heartbeat(own.heartbeat, self._metrics, simulate=own.simulate) if own.heartbeat else None
        self._supervisor = self._supervisor_of(workers)
        self._reports = bus.subscribe(reported_policy_topic(settings.thing))
        self._pausing = PauseSwitch(self._workers, [connection for _worker, connection in workers])
        self._collected = [bus.subscribe(topic) for topic in own.collector.topics]
        self._collector = Collector(
            self._workers, max_bytes=settings.bus.max_message_bytes, metrics=CollectorMetrics(service.registry)
        )

    def _show_load(self) -> None:
        margin, dispatcher = self._margin, self._dispatcher
        self._metrics.margin.set_function(margin.needed)
        self._metrics.lag.set_function(lambda: margin.lag_s)
        self._metrics.on_bus.set_function(lambda: dispatcher.on_bus)
        self._metrics.held.set_function(lambda: dispatcher.held)
        self._metrics.overloaded.set_function(lambda: dispatcher.limit is not None)

    def _worker(self, trigger: TriggerSettings) -> tuple[TriggerWorker, Connection]:
        own = self._settings.opcua_bridge
        window = isinstance(trigger.source, WindowSourceSettings)
        worker = TriggerWorker(
            trigger,
            None if window else _SOURCE.validate_python(trigger.source.model_dump()),
            bus=self._bus,
            topics=self._settings.bus,
            pending=self._pending,
            metrics=self._metrics,
            fair_lock=self._fair_lock,
            on_outcome=self._outcomes.put,
            margin=self._margin,
            dispatcher=self._dispatcher,
            broker=self._service.connections.get("bus"),
            grace_s=own.grace_ms / 1000,
            backlog=own.backlog,
            ownership=self._ownership(trigger),
            simulate=own.simulate,
        )
        self._metrics.deadline.labels(trigger.name).set(trigger.deadline_ms / 1000)
        target = trigger.trigger_node() or trigger.when.kind
        return worker, self._service.connection(f"trigger {trigger.name}", target, first_s=1.0)

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
        for worker in self._workers:
            if worker.settings.station == result.context.station:
                worker.ownership.other_asked(result)

    def _supervisor_of(self, workers: list[tuple[TriggerWorker, Connection]]) -> PlcSupervisor | None:
        """Return the supervisor of the PLC; None where all triggers come by a collector or the clock."""
        own = self._settings.opcua_bridge
        needing = [(worker, connection) for worker, connection in workers if worker.settings.needs_plc()]
        for worker, connection in workers:
            if not worker.settings.needs_plc():
                connection.online("it needs no session with the PLC")
        if workers and not needing and not own.heartbeat:
            return None
        heartbeat = None
        if self._heartbeat:
            node = self._heartbeat.settings.node
            heartbeat = self._heartbeat, self._service.connection("heartbeat", node, first_s=1.0)
        register_metrics(self._service.registry, own)
        return PlcSupervisor(
            own,
            self._settings.thing,
            self._service.connection("opcua", own.endpoint),
            needing,
            metrics=LinkMetrics(self._service.registry),
            fail=partial(self._service.fail, status=2),
            heartbeat=heartbeat,
        )

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """Run from start to stop; parts that wait when it stops get their verdicts, within `http.drain_s`."""
        if not self._workers:
            log.warning("no triggers are configured: nothing will be asked", remedy="set opcua_bridge.triggers")
        if self._settings.opcua_bridge.simulate:
            log.warning("simulate: nothing is written to the PLC", remedy="unset opcua_bridge.simulate for production")
        async with self._bus:
            # A result that a crash loses is asked for again: the PLC still shows the trigger without done.
            self._service.spawn("results", self._faults.each(self._answers, self._results.take))
            self._service.spawn("errors", self._faults.each(self._errors, self._results.take_error))
            self._service.spawn("outcomes", self._outcomes.run())
            limit = self._settings.bus.max_message_bytes
            self._service.spawn("status", tell("opcua_bridge", self._service, self._tell_status, max_bytes=limit))
            self._service.spawn("pausing", self._faults.each(self._reports, self._pausing.take))
            for topic, messages in zip(self._settings.opcua_bridge.collector.topics, self._collected, strict=True):
                self._service.spawn(f"collector {topic}", self._faults.each(messages, self._collector.take))
            self._service.spawn("event loop lag", watch_lag(self._margin))
            for worker in self._workers:
                self._service.spawn(f"station {worker.name}", worker.run())
            if self._supervisor:
                self._service.spawn("opcua", self._supervisor.run())
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
                await asyncio.gather(*(worker.drain() for worker in self._workers))
        except TimeoutError:
            log.warning("stopped with parts that wait; the next start recovers them", drain_s=self._drain_s)
        await self._outcomes.flush()

    async def _tell_status(self, status: bytes) -> None:
        await self._bus.publish(status_topic(self._settings.thing), status, keep=False)
