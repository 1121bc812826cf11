"""The forwarder as a process: `lineside-forwarder [settings.yaml]`."""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

import lineside.service
from lineside.service import Service
from lineside.settings import HttpSettings
from lineside_forwarder.clock import Clock
from lineside_forwarder.delivering import DeliveryPolicy
from lineside_forwarder.destinations import make, plan
from lineside_forwarder.forwarder import Forwarder, Route
from lineside_forwarder.metrics import Metrics, SpoolCollector
from lineside_forwarder.quiet_hours import QuietHours
from lineside_forwarder.rate_limiter import RateLimiter
from lineside_forwarder.retry_schedule import FIRST_S, LONGEST_S
from lineside_forwarder.settings import Settings

_STOP_MARGIN = 0.75
"""The part of `http.drain_s` that deliveries get; the rest is for giving back and closing."""


def build(settings: Settings, service: Service) -> tuple[ASGIApp, HttpSettings]:
    """Return the application, whose lifespan is the forwarder's life, and where its health is served.

    Raises LinesideError where the settings name no destination, or no spool.
    """
    own, capture = settings.forwarder, settings.edge_manager
    clock = Clock()
    capped, free = RateLimiter(own.bandwidth_bytes_s, clock), RateLimiter(None, clock)
    quiet = QuietHours(own.quiet_hours, own.time_zone) if own.quiet_hours else None
    routes = []
    for each in plan(settings):
        destination = make(each)
        routes.append(
            Route(
                destination,
                service.connection(
                    destination.name, destination.target, required=False, first_s=FIRST_S, longest_s=LONGEST_S
                ),
                DeliveryPolicy(
                    device=settings.thing,
                    root=capture.FolderPrefix,
                    limiter=capped if each.is_remote else free,
                    quiet=quiet if each.is_remote else None,
                    period_s=each.period_s,
                ),
            )
        )
    spool = service.connection("spool", str(settings.spool.folder), first_s=FIRST_S, longest_s=30.0)
    figures = SpoolCollector(lambda: time.time_ns() // 1_000_000)
    service.registry.register(figures)
    metrics = Metrics(service.registry)

    @asynccontextmanager
    async def body() -> AsyncIterator[None]:
        forwarder = Forwarder(
            settings.spool,
            routes,
            spool,
            batch_size=capture.CaptureDataBatchSize,
            push_period_s=capture.CaptureDataPushPeriodSeconds,
            metrics=metrics,
            figures=figures,
            clock=clock,
        )
        service.spawn("forwarder", forwarder.run())
        try:
            yield
        finally:
            await forwarder.drain(own.http.drain_s * _STOP_MARGIN)

    return service.app(body), own.http


def main() -> None:
    """Run until SIGTERM."""
    sys.exit(lineside.service.main(Settings, "forwarder", build))


if __name__ == "__main__":
    main()
