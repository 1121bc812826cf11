"""The deployer as a process: `lineside-deployer [settings.yaml]`."""

import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

import lineside.service
from lineside.bus import Bus
from lineside.bus.opening import open_bus
from lineside.greengrass.client import shared
from lineside.heartbeats import TOPIC, to_json
from lineside.service import Service
from lineside.settings import HttpSettings
from lineside_deployer import life, lock
from lineside_deployer.artefacts import Artefacts
from lineside_deployer.database import Database
from lineside_deployer.deployer import Deployer
from lineside_deployer.desired.document import Rules
from lineside_deployer.desired.sources import FileSource, S3Source, ShadowSource, Source
from lineside_deployer.heartbeat import made
from lineside_deployer.heartbeat.inference import InferenceReader
from lineside_deployer.heartbeat.sending import LatestSender, over_bus, over_iot_core
from lineside_deployer.metrics import Metrics
from lineside_deployer.repository import Repository
from lineside_deployer.s3 import make_client
from lineside_deployer.settings import SHADOW, HeartbeatSettings, Settings
from lineside_deployer.trust import Trust

_MINUTE_S = 60.0
_SHOWN = 20


def build(settings: Settings, service: Service) -> tuple[ASGIApp, HttpSettings]:
    """Return the application, whose lifespan is the deployer's life, and where it is asked."""
    settings.check()
    own = settings.deployer
    metrics = Metrics(service.registry)
    held = lock.take(own.model_repository) if settings.edge_manager.DeploymentEnable else None
    database = Database(settings.state_dir / "deployer.db")
    present = life.begin(database)
    metrics.crashes.set(present.crashes)
    started = time.time()
    needs_bus = own.heartbeat is not None or str(own.desired).startswith(SHADOW)
    broker = service.connection("bus", settings.bus.url, required=False) if needs_bus else None
    bus = (
        open_bus(
            settings.bus,
            client="deployer",
            connection=broker,
            registry=service.registry,
            failed=service.fail,
            keep=False,
        )
        if broker is not None
        else None
    )
    reader_link = service.connection("inference", own.inference_url, required=False)
    deployers: list[Deployer] = []

    @asynccontextmanager
    async def body() -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(httpx.AsyncClient(base_url=own.inference_url, trust_env=False))
            sender = None
            if own.heartbeat is not None and bus is not None:
                reader = InferenceReader(client, reader_link, own.inference_token_file)
                sender = _sender(settings, own.heartbeat, bus, reader, database, present, started, metrics)
            if settings.edge_manager.DeploymentEnable:
                told = sender.now if sender is not None else lambda: None
                deployer, source = _deployer(settings, service, database, metrics, held, bus, told)
                deployers.append(deployer)
                if isinstance(source, ShadowSource):
                    service.spawn("shadow", source.listen())
            if bus is not None:
                await stack.enter_async_context(bus)
            for each in deployers:
                service.spawn("deployments", each.run())
            if sender is not None:
                service.spawn("heartbeats", sender.run())
            try:
                yield
            finally:
                life.end(database)
        if held is not None:
            os.close(held)

    routes = [*_routes(database, deployers), *service.routes()]
    return Starlette(routes=routes, lifespan=lambda _app: service.life(body())), own.http


def _sender(
    settings: Settings,
    told: HeartbeatSettings,
    bus: Bus,
    reader: InferenceReader,
    database: Database,
    present: life.Life,
    started: float,
    metrics: Metrics,
) -> LatestSender:
    topic = told.topic or TOPIC.format(thing=settings.thing)

    async def make() -> bytes:
        seen = await reader.read()
        found = made.heartbeat(
            settings.thing,
            settings.edge_manager.DeviceFleetName,
            present.box,
            told.period_s,
            time.time(),
            made.look(started, present.crashes, present.starts),
            seen,
            reader.sampled,
            next(iter(database.records()), None),
        )
        return to_json(found, settings.bus.max_message_bytes)

    send = (
        over_iot_core(shared("deployer.heartbeat"), topic) if settings.bus.transport == "ipc" else over_bus(bus, topic)
    )
    return LatestSender(make, send, told.period_s, metrics)


def _deployer(
    settings: Settings,
    service: Service,
    database: Database,
    metrics: Metrics,
    held: int | None,
    bus: Bus | None,
    ended: Callable[[], None],
) -> tuple[Deployer, Source]:
    own = settings.deployer
    clients: list[Any] = []

    def client() -> Any:
        if not clients:  # made when it is needed: the credentials are asked for then
            clients.append(make_client(own.region, str(own.endpoint_url) if own.endpoint_url else None))
        return clients[0]

    def noticed() -> None:
        deployers[0].notice()

    wanted = str(own.desired)
    deployers: list[Deployer] = []
    source: Source
    if wanted.startswith(SHADOW):
        assert bus is not None  # noqa: S101 - the settings have seen to it
        source = ShadowSource(bus, settings.thing, wanted.removeprefix(SHADOW), noticed)
    elif wanted.startswith("s3://"):
        source = S3Source(wanted, client)
    else:
        source = FileSource(Path(wanted))
    artefacts = Artefacts(
        settings.state_dir / "packages", client, Trust(own.roots, own.unsigned), fetched_bytes=metrics.fetched.inc
    )
    repository = Repository(
        own.model_repository,
        own.inference_url,
        own.inference_token_file,
        own.confirm_s,
        own.roots,
        own.unsigned,
        held,
    )
    deployer = Deployer(
        source,
        Rules(own.allowed, own.allow_sha1),
        settings.edge_manager.DeploymentPollInterval * _MINUTE_S,
        database,
        repository,
        artefacts,
        metrics,
        service.connection("desired", wanted, required=False),
        ended=ended,
    )
    deployers.append(deployer)
    return deployer, source


def _routes(database: Database, deployers: list[Deployer]) -> list[Route]:
    async def deployments(_request: Request) -> Response:
        """Answer what became of the latest deployments, and why the desired state is refused, if it is."""
        refused = deployers[0].refused if deployers else ""
        shown = [{"status": each.status, **each.model_dump(mode="json")} for each in database.records()[:_SHOWN]]
        return JSONResponse({"enabled": bool(deployers), "refused": refused or None, "deployments": shown})

    async def notice(_request: Request) -> Response:
        """Have the desired state looked at at once."""
        if not deployers:
            return JSONResponse({"detail": "edge_manager.DeploymentEnable is false: nothing is deployed here"}, 409)
        deployers[0].notice()
        return JSONResponse({}, 202)

    return [
        Route("/v1/deployments", deployments),
        Route("/v1/deployments/notice", notice, methods=["POST"]),
    ]


def main() -> None:
    """Run until SIGTERM."""
    sys.exit(lineside.service.main(Settings, "deployer", build))


if __name__ == "__main__":
    main()
