"""The exporter as a process: `lineside-exporter [settings.yaml]`."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

import lineside.service
from lineside.service import Service
from lineside.settings import HttpSettings
from lineside_exporter.settings import Settings


def build(settings: Settings, service: Service) -> tuple[ASGIApp, HttpSettings]:
    """Return the application, whose lifespan is the exporter's life, and where its metrics are served."""

    @asynccontextmanager
    async def body() -> AsyncIterator[None]:
        yield

    return service.app(body), settings.exporter.http


def main() -> None:
    """Run until SIGTERM."""
    sys.exit(lineside.service.main(Settings, "exporter", build))


if __name__ == "__main__":
    main()
