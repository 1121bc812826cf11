"""The exporter as a process: `lineside-exporter [settings.yaml]`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

import lineside.service
from lineside.service import Service
from lineside.settings import HttpSettings
from lineside.threads import Daemons
from lineside_exporter.cloudwatch.life import reporting
from lineside_exporter.device.discovery import discover
from lineside_exporter.reading import Reader
from lineside_exporter.reading_cache import ReadingCache
from lineside_exporter.scrape import Scrape
from lineside_exporter.settings import Settings
from lineside_exporter.sources.dns_transport import DnsTransport
from lineside_exporter.sources.plan import bounds, plan


def build(settings: Settings, service: Service) -> tuple[ASGIApp, HttpSettings]:
    """Return the application, whose lifespan is the exporter's life, and where its metrics are served."""
    own = settings.exporter
    # Each reading has one bound, its source's; httpx' own would be one for each piece that comes.
    client = httpx.AsyncClient(transport=DnsTransport(), trust_env=False, follow_redirects=False, timeout=None)  # noqa: S113 - bounded
    cache = ReadingCache(service.registry)
    readers = [Reader(source, service, cache, bounds(settings)) for source in plan(settings, client, cache)]
    scrape = Scrape(service.registry, cache)

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        # A disk or peer that hangs holds up neither the other sources nor the end.
        asyncio.get_running_loop().set_default_executor(Daemons())
        async with client, service.life(body()):  # what reads with it has ended before it is closed
            yield

    @asynccontextmanager
    async def body() -> AsyncIterator[None]:
        devices = await discover(service.connection, period_s=own.period_s, timeout_s=own.timeout_s)
        if devices.tegrastats is not None:
            service.spawn("tegrastats", devices.tegrastats.run())
        readers.extend(Reader(source, service, cache, bounds(settings)) for source in devices.sources)
        async with reporting(settings, service):
            for reader in readers:
                service.spawn(f"source {reader.source.name}", reader.run())
            yield

    routes = [Route("/metrics", scrape.answer), *service.routes()]
    return Starlette(routes=routes, lifespan=lambda _app: life()), own.http


def main() -> None:
    """Run until SIGTERM."""
    sys.exit(lineside.service.main(Settings, "exporter", build))


if __name__ == "__main__":
    main()
