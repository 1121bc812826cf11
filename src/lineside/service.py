"""The life of a service: start, ready, drain on SIGTERM within a bound, stop; /livez, /readyz and /metrics.

A service is an ASGI application whose lifespan is its life. The inference service adds routes of its own; the
bridges have only these. `run` binds the port first, so that a port in use is named before anything starts, then
lets uvicorn serve: SIGTERM and SIGINT end it, work under way gets `http.drain_s` seconds.
"""

import asyncio
import errno
import functools
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
import uvicorn
from prometheus_client import CollectorRegistry, Gauge, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from lineside import __version__, command, telemetry
from lineside.bounded_http import MAX_CONNECTIONS, Cuts, make_connection
from lineside.connections import Connection, ConnectionCollector
from lineside.errors import LinesideError, SettingsError
from lineside.greengrass.changes import Taker
from lineside.greengrass.component import component
from lineside.greengrass.errors import NotAComponent, SdkMissing
from lineside.secrecy import exposed
from lineside.settings import COMPONENT_VARIABLE, HttpSettings, Settings, load, variable

if TYPE_CHECKING:
    from lineside.greengrass.steered import Steered

log = structlog.get_logger("lineside.service")

T = TypeVar("T", bound=Settings)


class Service:
    """What every service has: a name, connections with states, metrics, supervised background tasks.

    `name` is the metric's word, for instance `opcua_bridge`; metrics begin `lineside_<name>_`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.registry = CollectorRegistry()
        self.connections: dict[str, Connection] = {}
        self.settings_hash: str | None = None
        """Which settings are in force, as `Settings.digest`; None where nobody said."""
        self.failed: str | None = None
        self.status = 0
        """The exit status once it has failed."""
        self.direct_below = b""
        """Path below which handlers read large bodies themselves (`buffered_http`); empty: nowhere."""
        self.on_failure: Callable[[], None] = lambda: None
        self.takers: list[Taker] = []
        """Settings that it applies while it runs, where a Greengrass deployment changes them."""
        self._beside: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = []
        self._started = False
        self._draining = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._scrape: asyncio.Future[bytes] | None = None
        self.registry.register(ConnectionCollector(f"lineside_{name}", self._all_connections))
        build = Gauge(f"lineside_{name}_build_info", "1 for the version.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)
        self.cuts = Cuts(f"lineside_{name}", self.registry)
        ProcessCollector(namespace=f"lineside_{name}", registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def connection(self, name: str, target: str, **options: Any) -> Connection:
        """Register a connection under a name of its own and return it; options as of Connection."""
        if name in self.connections:
            raise ValueError(f"connection {name!r} is registered twice")
        self.connections[name] = Connection(name, target, **options)
        return self.connections[name]

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work for the service's whole life; its unexpected end stops the service with exit status 1."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def takes(
        self,
        path: str,
        problems: Callable[[Any], Awaitable[Sequence[str]]],
        apply: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Say that the service takes these settings while it runs; see `lineside.greengrass.changes.Taker`."""
        self.takers.append(Taker(path, problems, apply))

    def beside(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have work spawned once the service has started."""
        self._beside.append((name, work))

    @property
    def is_ready(self) -> bool:
        """Whether it has started, is not draining, and every required connection is online."""
        return (
            self._started
            and not self._draining
            and self.failed is None
            and all(link.is_online for link in self.connections.values() if link.required)
        )

    def routes(self) -> list[Route]:
        """Return /livez (alive), /readyz (with every connection's state) and /metrics (Prometheus text)."""
        return [Route("/livez", self._livez), Route("/readyz", self._readyz), Route("/metrics", self._metrics)]

    @asynccontextmanager
    async def life(self, body: AbstractAsyncContextManager[None]) -> AsyncIterator[None]:
        """Live: enter the body, be ready, drain, leave the body, end the background tasks."""
        try:
            async with body:
                self._started = True
                log.info("started", version=__version__, settings_hash=self.settings_hash)
                for name, work in self._beside:
                    self.spawn(name, work())
                try:
                    yield
                finally:
                    self.drain()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            log.info("stopped")

    def app(self, body: Callable[[], AbstractAsyncContextManager[None]]) -> Starlette:
        """Return an application that has the health routes only and lives as `body` does."""
        return Starlette(routes=self.routes(), lifespan=lambda _app: self.life(body()))

    def drain(self) -> None:
        """Be no longer ready: the service is stopping, work under way ends."""
        if not self._draining:
            self._draining = True
            log.info("draining")

    @property
    def is_draining(self) -> bool:
        """Whether the service is stopping."""
        return self._draining

    def fail(self, reason: str, *, status: int = 1) -> None:
        """End the service with an exit status: 1 for its supervisor to start it again, 2 for wrong settings.

        What fails while it is stopping anyway, as where a nucleus cuts its connections first, changes nothing.
        """
        if self._draining:
            return
        if self.failed is None:
            self.failed, self.status = reason, status
        self.on_failure()

    def _all_connections(self) -> Iterator[Connection]:
        yield from list(self.connections.values())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or self._draining:
            return
        error = task.exception()
        log.critical("background task ended; the service stops", task=task.get_name(), exc_info=error)
        self.fail(f"task {task.get_name()} ended: {error!r}")

    async def _livez(self, _request: Request) -> Response:
        if self.failed:
            return JSONResponse({"alive": False, "reason": self.failed}, 500)
        return JSONResponse({"alive": True})

    async def _readyz(self, _request: Request) -> Response:
        body = {
            "ready": self.is_ready,
            "service": self.name,
            "state": "failed"
            if self.failed
            else "draining"
            if self._draining
            else "started"
            if self._started
            else "starting",
            "connections": [link.as_dict() for link in self.connections.values()],
        }
        return JSONResponse(body, 200 if self.is_ready else 503)

    async def _metrics(self, _request: Request) -> Response:
        if self._scrape is None or self._scrape.done():  # requests that come meanwhile get the same text
            self._scrape = asyncio.ensure_future(asyncio.to_thread(generate_latest, self.registry))
        return Response(await asyncio.shield(self._scrape), media_type=CONTENT_TYPE_LATEST)


def bind(http: HttpSettings, setting: str) -> socket.socket:
    """Return a listening-ready socket; raises LinesideError that names the port and the setting to change.

    `setting` is the environment name of the port.
    """
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    # Named as TCP: asyncio sends small answers without delay only on such a socket.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((http.host, http.port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            what, remedy = f"port {http.port} on {http.host} is in use", f"free it, or choose another by {setting}"
        else:
            what, remedy = f"cannot listen on {http.host}:{http.port}: {error.strerror}", f"change {setting}"
        raise LinesideError(what, remedy=remedy) from None
    return listener


def serve(service: Service, app: ASGIApp, http: HttpSettings, listener: socket.socket) -> int:
    """Serve until SIGTERM, SIGINT, SIGHUP or a failure; return the process's exit status."""
    files, _hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    config = uvicorn.Config(
        app,
        http=functools.partial(
            make_connection,
            cuts=service.cuts,
            max_connections=min(MAX_CONNECTIONS, files // 2),
            direct_below=service.direct_below,
        ),  # type: ignore[arg-type]  # called as a class is
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=max(1, round(http.drain_s)),
        timeout_keep_alive=75,
    )
    server = _Server(config, service)

    def stop() -> None:
        server.should_exit = True

    service.on_failure = stop
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn handles them, and raises them again when it is done: a clean stop has exit status 0 all the same.
        signal.signal(number, lambda _number, _frame: None)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, server.handle_exit)
    # What is loaded by now stays: a collection that walks it all again would pause the line for tens of milliseconds.
    gc.collect()
    gc.freeze()
    gc.enable()
    server.run(sockets=[listener])
    return service.status if service.failed else 0 if server.started else 1


class _Server(uvicorn.Server):
    """A server whose service drains from the signal on, not only when the last connection has ended."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take the signal; a second one ends the wait for connections."""
        self._service.drain()
        super().handle_exit(sig, frame)


def _as_component(kind: type[T], file: Path | None) -> "Steered[T] | None":
    """Return how Greengrass steers this process, None where it is no component; raises GreengrassError."""
    if component() is None:
        return None
    from lineside.greengrass.steered import Steered  # noqa: PLC0415 - only where it is used

    return Steered.connected(kind, file)


def main(kind: type[T], name: str, build: Callable[[T, Service], tuple[ASGIApp, HttpSettings]]) -> int:
    """Run one service as a process: settings, logs, port, life. Return the exit status; 2 is a wrong configuration.

    The settings file is the first argument, or what `LINESIDE_CONFIG` names. The words of `lineside.command` are
    answered here too, for `python -m`. A process that Greengrass started as a component reads the component's
    configuration too, follows it, and tells when it is ready.
    """
    if (status := command.answer(name, sys.argv[1:])) is not None:
        return status
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    try:
        steered = _as_component(kind, file)
        settings = steered.settings() if steered else load(kind, file=file)
    except SettingsError as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        return 2
    except LinesideError as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, NotAComponent | SdkMissing) else 1
    telemetry.configure(
        name.replace("_", "-"),
        component=os.environ.get(COMPONENT_VARIABLE),
        level=settings.log_level,
        style=settings.log.format,
    )
    for remark in settings.remarks():
        log.warning("settings", remark=remark)
    for setting, path, mode in exposed(settings):
        log.warning(
            "a file of secrets can be read or written by every user of this machine",
            setting=setting,
            file=str(path),
            mode=f"{mode:03o}",
            remedy=f"chmod 640 {path}, and let this service's user or group own it; then change what is in it",
        )
    try:
        service = Service(name)
        service.settings_hash = settings.digest
        app, http = build(settings, service)
        if steered:
            steered.attend(service, settings)
        listener = bind(http, variable((kind.section, "http", "port")))
    except LinesideError as error:
        log.critical("cannot start", error=error.what, remedy=error.remedy)
        return 2
    return serve(service, app, http, listener)
