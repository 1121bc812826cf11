"""The inference service as a process: `lineside-inference [settings file]`."""

import os
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

import lineside.service
from lineside.service import Service
from lineside.settings import HttpSettings
from lineside_inference.api.app import make_app
from lineside_inference.desk import Desk
from lineside_inference.engine.triton import Engine
from lineside_inference.metrics import LoadCollector, Metrics
from lineside_inference.models.store import read_store
from lineside_inference.pipeline import Pipeline
from lineside_inference.settings import Settings
from lineside_inference.sources.camera import Cameras
from lineside_inference.sources.files import Files


def main() -> None:
    """Run until SIGTERM; the exit status is 2 for a wrong configuration."""
    sys.exit(lineside.service.main(Settings, "inference", build))


def build(settings: Settings, service: Service) -> tuple[ASGIApp, HttpSettings]:
    """Put the service together; raises StoreError where a model card or file is wrong."""
    mine = settings.inference
    limits = mine.limits
    store = read_store(mine.model_repository)
    store.check(mine.policy)
    workers = ThreadPoolExecutor(limits.workers or len(os.sched_getaffinity(0)), thread_name_prefix="prepare")
    engine = Engine(mine.triton, store, service)
    cameras = Cameras(mine.cameras, most_bytes=limits.body_bytes)
    files = Files(mine.file_roots, most_bytes=limits.body_bytes)
    pipeline = Pipeline(mine, store=store, engine=engine, cameras=cameras, files=files, workers=workers)
    metrics = Metrics(service.registry, list(store))
    desk = Desk(limits, pipeline, metrics, is_draining=lambda: service.is_draining)
    service.registry.register(LoadCollector(desk.load, engine.arena_counts, lambda: engine.link.transport))

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        engine.start()
        try:
            yield
        finally:
            await cameras.close()
            await engine.close()
            workers.shutdown(wait=False, cancel_futures=True)

    return make_app(service, desk, engine, limits, life), mine.http


if __name__ == "__main__":
    main()
