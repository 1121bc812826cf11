"""Runs the reports to CloudWatch for the service's life."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lineside.bus.opening import open_bus
from lineside.service import Service
from lineside_exporter.cloudwatch.reporter import Reporter
from lineside_exporter.settings import Settings


@asynccontextmanager
async def reporting(settings: Settings, service: Service) -> AsyncIterator[None]:
    """Report results for as long as this is entered, where `exporter.cloudwatch` says so; else do nothing."""
    own = settings.exporter.cloudwatch
    if own is None:
        yield
        return
    broker = service.connection("bus", settings.bus.url, required=False)
    # Nothing is kept for us while we are away: it would be counted into the period in which it arrives.
    bus = open_bus(
        settings.bus,
        client="exporter",
        connection=broker,
        registry=service.registry,
        keep=False,
        failed=service.fail,
    )
    reporter = Reporter(
        own,
        thing=settings.thing,
        bus=bus,
        result_topic=settings.bus.result_topic,
        connection=service.connection,
        registry=service.registry,
    )
    async with bus:
        for name, work in reporter.work():
            service.spawn(name, work)
        yield
