"""The simulated PLC as a service: the OPC UA server, the feeder of parts, an observer of the bus, and the report.

POST   /v1/runs {"parts": 100, "rate": 10, "seed": 7}    201, with the run and its Location; 409 while one runs
GET    /v1/runs/ID                                       its progress; its summary once it is over
DELETE /v1/runs/ID                                       interrupts it: 202, or 200 where it was over
"""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

import lineside.service
from lineside.bus import tls
from lineside.connections import Connection
from lineside.errors import LinesideError
from lineside.greengrass.component import must_be_component
from lineside.secret_files import SecretFileError, read_password
from lineside.service import Service
from lineside.settings import BusSettings, HttpSettings, variable
from lineside_bench.options import STATION_SECONDS
from lineside_bench.plcs.plc import Plc
from lineside_bench.runner.ipc_observer import IpcObserver
from lineside_bench.runner.mqtt_observer import MqttObserver
from lineside_bench.runner.observer import Observer
from lineside_bench.simulators.body import Refused, read, refuse
from lineside_bench.simulators.feeder import Feeder
from lineside_bench.simulators.remote import RemoteCameras
from lineside_bench.simulators.runs import PartRun, PartRuns, RunRequest, RunState, RunUnderWay
from lineside_bench.simulators.settings import PlcSim, PlcSimSettings

CLIENT = "plc-sim"
CAMERA_S = 15.0
"""Seconds until a simulated camera counts as away: a machine that stalls for two is no fault of the line."""


class _Control:
    """The runs, by HTTP."""

    def __init__(self, settings: PlcSimSettings, service: Service, runs: PartRuns) -> None:
        self._settings = settings
        self._service = service
        self._runs = runs

    def routes(self) -> list[Route]:
        return [
            Route("/v1/runs", self._begin, methods=["POST"]),
            Route("/v1/runs/{run}", self._show, methods=["GET"]),
            Route("/v1/runs/{run}", self._interrupt, methods=["DELETE"]),
        ]

    async def _begin(self, request: Request) -> Response:
        wanted = await read(request, RunRequest)
        most = self._settings.stations / STATION_SECONDS
        if wanted.rate > most:
            raise Refused(
                422,
                "body-invalid",
                f"rate: {self._settings.stations} stations take {most:g} a second (got {wanted.rate:g})",
            )
        if not self._service.is_ready:
            links = (link for link in self._service.connections.values() if link.required and not link.is_online)
            why = "; ".join(f"{link.name} at {link.target} {link.state} {link.detail}".rstrip() for link in links)
            raise Refused(503, "not-ready", f"This simulator is not ready: {why or 'it starts or stops'}.")
        run = PartRun(wanted, seed=self._settings.seed if wanted.seed is None else wanted.seed)
        try:
            self._runs.begin(run)
        except RunUnderWay as busy:
            there = f"/v1/runs/{busy.run.id}"
            detail = f"{busy}: wait for its end, or end it with DELETE {there}"
            raise Refused(
                409, "run-under-way", detail, headers={"Location": there}, more={"run": busy.run.id}
            ) from None
        return JSONResponse(run.document(), 201, {"Location": f"/v1/runs/{run.id}"})

    async def _show(self, request: Request) -> Response:
        return JSONResponse(self._run(request).document())

    async def _interrupt(self, request: Request) -> Response:
        run = self._run(request)
        over = run.state is RunState.over
        if not over:
            run.interrupted.set()
        return JSONResponse(run.document(), 200 if over else 202)

    def _run(self, request: Request) -> PartRun:
        name: str = request.path_params["run"]
        run = self._runs.get(name)
        if run is None:
            raise Refused(404, "run-unknown", f"There is no run {name!r:.80}: it was long ago, or before a restart.")
        return run


def build(settings: PlcSim, service: Service) -> tuple[ASGIApp, HttpSettings]:
    """Return the application, whose lifespan is the PLC's life, and where it is served.

    Raises LinesideError where the port of OPC UA, the password or the folder of evidence cannot be used.
    """
    own = settings.plc_sim
    listen = HttpSettings(host=own.opcua.host, port=own.opcua.port)
    lineside.service.bind(listen, variable(("plc_sim", "opcua", "port"))).close()
    if own.evidence is not None and not own.evidence.is_dir():
        raise LinesideError(
            f"plc_sim.evidence {own.evidence} is no folder", remedy="name the folder that the forwarder ships to"
        )
    bus = settings.bus
    broker = service.connection("broker", bus.url, first_s=1.0, longest_s=1.0)
    make_observer = _observer(bus)
    camera = service.connection("camera", own.camera_url, required=False, first_s=1.0, longest_s=1.0)
    runs = PartRuns()

    @asynccontextmanager
    async def body() -> AsyncIterator[None]:
        async with AsyncExitStack() as life:
            client = await life.enter_async_context(httpx.AsyncClient(timeout=CAMERA_S, trust_env=False))
            observer = await life.enter_async_context(make_observer(_teller(broker)))
            plc = await life.enter_async_context(
                Plc(host=own.opcua.host, port=own.opcua.port, stations=own.stations, seed=own.seed)
            )
            gc.collect()  # half a million objects of the address space, which no collection shall look through again
            gc.freeze()
            feeder = Feeder(own, runs, plc=plc, cameras=RemoteCameras(client, camera), observer=observer, client=client)
            feeding = service.spawn("feeder", feeder.live())
            try:
                yield
            finally:
                feeding.cancel()
                await asyncio.wait({feeding})

    routes = [*service.routes(), *_Control(own, service, runs).routes()]
    app = Starlette(routes=routes, exception_handlers={Refused: refuse}, lifespan=lambda _app: service.life(body()))
    return app, own.http


Tell = Callable[[str | None], None]


def _teller(connection: Connection) -> Tell:
    """Return what keeps a connection's state true, called from an observer's own thread."""
    loop = asyncio.get_running_loop()

    def changed(why: str | None) -> None:
        loop.call_soon_threadsafe(connection.online if why is None else lambda: connection.backoff(why))

    return changed


def _observer(bus: BusSettings) -> Callable[[Tell], Observer]:
    """Return what makes the observer; raises LinesideError where there cannot be one."""
    topics = (bus.request_topic, bus.result_topic)
    if bus.transport == "ipc":
        component = must_be_component("bus.transport: ipc")
        return lambda tell: IpcObserver(component, topics=topics, on_change=tell, wait=False)
    credentials, context = _credentials(bus), tls.context(bus.tls, bus.port) if bus.tls else None
    return lambda tell: MqttObserver(
        host=bus.host,
        port=bus.port,
        protocol="3.1.1" if bus.protocol == "3.1.1" else "5",
        topics=topics,
        client_id=f"{bus.client_id_prefix}-{CLIENT}",
        credentials=credentials,
        tls=context,
        on_change=tell,
        wait=False,
    )


def _credentials(bus: BusSettings) -> tuple[str, str | None] | None:
    if bus.username is None:
        return None
    if bus.password_file is None:
        return bus.username, None
    try:
        return bus.username, read_password(bus.password_file)
    except SecretFileError as error:
        raise LinesideError(f"bus.password_file {error.what}", remedy=error.remedy) from None


def main() -> None:
    """Run until SIGTERM."""
    sys.exit(lineside.service.main(PlcSim, "plc_sim", build))


if __name__ == "__main__":
    main()
