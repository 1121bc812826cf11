"""The inference service as a process: `lineside-inference [settings file]`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

import lineside.service
from lineside import machine
from lineside.contract import Policy
from lineside.service import Service
from lineside.settings import HttpSettings
from lineside_inference.agent.building import make_agent
from lineside_inference.api import cameras as cameras_route
from lineside_inference.api import (
    captures,
    evidence,
    history,
    infer,
    models,
    outcomes,
    page,
    parts,
    policy,
    preview,
    version,
)
from lineside_inference.api import engine as engine_route
from lineside_inference.api.access import Access, AccessRules
from lineside_inference.api.app import make_app
from lineside_inference.api.tokens import TokenFile
from lineside_inference.capture.client_captures import ClientCaptures
from lineside_inference.capture.evidence import Evidence
from lineside_inference.capture.evidence_status import EvidenceStatus
from lineside_inference.capture.record_builder import RecordBuilder
from lineside_inference.capture.recorder import Recorder
from lineside_inference.dataplane.admission import Admission
from lineside_inference.dataplane.workers import Workers
from lineside_inference.engine.triton import Engine
from lineside_inference.grpc_v2.calls import Calls
from lineside_inference.grpc_v2.server import GrpcV2
from lineside_inference.history.keeper import HistoryKeeper
from lineside_inference.history.reader import HistoryReader
from lineside_inference.live.chain import Chain
from lineside_inference.live.live_feed import LiveFeed
from lineside_inference.live.thumbnails import Thumbnails
from lineside_inference.models.hardware import probe
from lineside_inference.models.memory import TritonMemory
from lineside_inference.models.repository_watcher import RepositoryWatcher
from lineside_inference.models.store import ModelStore, read_store
from lineside_inference.policies.policy_file import PolicyFile
from lineside_inference.policies.policy_store import PolicyStore
from lineside_inference.policies.policy_store import start as start_policy
from lineside_inference.settings import HistorySettings, Settings
from lineside_inference.sources.cameras import Cameras
from lineside_inference.sources.cameras.metrics import CameraCollector
from lineside_inference.sources.files import Files
from lineside_inference.sources.urls import Urls
from lineside_inference.usecases.direct import DirectInference
from lineside_inference.usecases.fetching import Fetcher
from lineside_inference.usecases.idempotency import AnswerCache
from lineside_inference.usecases.input_writer import InputWriter
from lineside_inference.usecases.judging import Judging
from lineside_inference.usecases.metrics import LoadCollector, Metrics
from lineside_inference.usecases.outcomes import Outcomes
from lineside_inference.usecases.plan_decisions import Standing
from lineside_inference.usecases.plan_keeper import PlanKeeper
from lineside_inference.usecases.request_handler import RequestHandler
from lineside_inference.usecases.version_switcher import VersionSwitcher
from lineside_inference.v2.app import V2, V2Middleware


def main() -> None:
    """Run until SIGTERM; the exit status is 2 for a wrong configuration."""
    sys.exit(lineside.service.main(Settings, "inference", build))


def build(settings: Settings, service: Service) -> tuple[ASGIApp, HttpSettings]:
    """Put the service together; raises StoreError where there is no model at all, and none can come."""
    section = settings.inference
    limits = section.limits
    tokens = TokenFile(section.http.token_file) if section.http.token_file else None
    store = read_store(
        section.model_repository,
        probe(section.hardware),
        allow_python=section.models.allow_python_backend,
        may_be_empty=settings.edge_manager.serve or settings.edge_manager.DeploymentEnable,
    )
    kept = PolicyFile(section.state_dir)
    policies = PolicyStore(
        start_policy(section.policy, store, kept), store, kept, service.registry, settings=section.policy
    )
    workers = Workers(limits.workers or machine.cores())
    gate = Admission(
        limits,
        max_line_bytes=settings.bus.max_message_bytes,
        max_captures=section.capture.queue,
        is_draining=lambda: service.is_draining,
    )
    engine = Engine(
        section.triton,
        store,
        service,
        others=[card for name in (*store, *store.out) for card in store.cards(name).values()],
        allow_python=section.models.allow_python_backend,
    )
    cameras = Cameras(section.cameras, service, max_bytes=limits.body_bytes, max_pixels=limits.pixels)
    fetcher = Fetcher(
        cameras,
        Files(section.file_roots, max_bytes=limits.body_bytes),
        Urls(section.urls, max_bytes=limits.body_bytes),
        workers,
    )
    judging = Judging(
        section,
        store=store,
        engine=engine,
        fetcher=fetcher,
        writer=InputWriter(section, workers, gate.images),
        workers=workers,
        places=gate.places,
    )
    memory = TritonMemory(section.triton, service.registry)
    switcher = VersionSwitcher(section.models, store, engine, judging.dry_run, memory, service.registry)
    switcher.on_switch = policies.keep
    watcher = RepositoryWatcher(
        store,
        switcher.join,
        engine.connection,
        switcher.renew,
        switcher.withdraw,
        look_s=section.models.look_s,
    )
    watcher.show()
    metrics = Metrics(service.registry, store)
    feed = LiveFeed(section.page, service.registry)
    recorder = Recorder(section.capture, settings.spool, service, store)
    kept_evidence = Evidence(
        recorder,
        RecordBuilder(settings.thing, settings.edge_manager, section.capture.masks, max_pixels=limits.pixels),
    )
    keeper, reader = _history(section.history, service)
    handler = RequestHandler(
        judging,
        AnswerCache(max_count=limits.remembered, max_bytes=limits.remembered_bytes),
        gate=gate,
        evidence=kept_evidence,
        history=keeper,
        feed=feed,
        metrics=metrics,
    )
    service.registry.register(CameraCollector(cameras))
    service.registry.register(LoadCollector(gate.places.load, engine.arena_counts, lambda: engine.link.transport))
    _follow_policy(service, policies, judging, switcher)
    direct = DirectInference(engine, gate.v2, limits)
    client_captures = ClientCaptures(recorder, store, settings.edge_manager, settings.thing)
    agent = make_agent(
        settings,
        service,
        store=store,
        engine=engine,
        direct=direct,
        gate=gate,
        workers=workers,
        captures=client_captures,
        memory=memory,
    )
    grpc_v2 = GrpcV2(
        section,
        service,
        Calls(service, engine, direct, limits, gate=gate, workers=workers),
        engine.link,
        tokens,
        metrics,
    )

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        await asyncio.gather(recorder.start(service), keeper.start())
        engine.start()
        service.spawn("model versions", switcher.supervise())
        service.spawn("model repository", watcher.supervise())
        fetcher.start()
        agent.start(service)
        await grpc_v2.start()
        try:
            yield
        finally:
            await asyncio.gather(agent.close(section.http.drain_s), grpc_v2.close(section.http.drain_s))
            fetcher.close()
            await switcher.close()
            await engine.close()
            await asyncio.gather(recorder.close(), keeper.close())
            workers.close()

    routers = (
        infer.router(handler, gate, workers, limits),
        engine_route.router(engine),
        parts.router(
            feed,
            Thumbnails(workers.others, gate.images, max_pixels=limits.pixels),
            is_draining=lambda: service.is_draining,
        ),
        outcomes.router(
            Outcomes(feed, kept_evidence, keeper, metrics, lambda: judging.policy.capture),
            Chain(section.state_dir),
            limits,
            gate.bodies,
        ),
        page.router(),
        models.router(
            store,
            engine,
            switcher,
            policies,
            _plans(settings, service, store=store, engine=engine, judging=judging, switcher=switcher),
        ),
        policy.router(policies, limits, gate.bodies),
        preview.router(policies, store, feed, limits, gate.bodies, workers.others),
        captures.router(client_captures, limits, gate, workers),
        evidence.router(EvidenceStatus(settings.spool, recorder)),
        cameras_route.router(cameras.health),
        history.router(reader, feed, workers.others),
        version.router(service),
    )
    return Access(
        V2Middleware(
            make_app(service, metrics, life, routers),
            V2(service, engine, direct, limits, gate=gate, workers=workers, metrics=metrics),
        ),
        AccessRules.of(section.http),
        tokens,
        metrics.refused,
    ), section.http


def _history(settings: HistorySettings, service: Service) -> tuple[HistoryKeeper, HistoryReader | None]:
    """Return what writes the history, and what reads it where one is kept."""
    keeper = HistoryKeeper(settings, service)
    if settings.folder is None:
        return keeper, None
    return keeper, HistoryReader(settings.folder, query_s=settings.query_s, on_damage=keeper.report_damage)


def _plans(
    settings: Settings,
    service: Service,
    *,
    store: ModelStore,
    engine: Engine,
    judging: Judging,
    switcher: VersionSwitcher,
) -> Mapping[str, Standing]:
    """Have engines built here looked after, where they are; return how each model stands to its own."""
    own = settings.tensorrt
    if own.folder is None:
        return {}
    is_changing = switcher.under_way.__contains__
    models = settings.inference.models
    keeper = PlanKeeper(own, models, store, engine, judging.outputs, is_changing, service.registry)
    service.beside("TensorRT engines", keeper.supervise)
    return keeper.standings


def _follow_policy(service: Service, policies: PolicyStore, judging: Judging, switcher: VersionSwitcher) -> None:
    """Put the policy into force, now and whenever it changes."""

    def apply(new: Policy) -> None:
        judging.policy = new
        switcher.follow(new)

    policies.apply = apply
    apply(policies.current)
    service.takes(
        "inference.policy",
        lambda new: policies.problems(new.inference.policy),
        lambda new: policies.configure(new.inference.policy),
    )


if __name__ == "__main__":
    main()
