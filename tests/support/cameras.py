"""Cameras of the inference service, in the test's own event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from lineside.service import Service
from lineside_inference.settings import CameraSettings
from lineside_inference.sources.cameras import Cameras
from lineside_inference.sources.cameras.camera import Camera
from lineside_inference.sources.cameras.threaded import ThreadedCamera

_LIVE: list[Camera] = []


def end_readers(within_s: float = 10.0) -> None:
    """End the readers of all cameras that are watched; who gives a fake camera calls it before that is gone.

    A reader that goes on would talk to the next fake at the same address.
    """
    threaded = [camera for camera in _LIVE if isinstance(camera, ThreadedCamera)]
    for camera in threaded:
        camera.close()
    until = time.monotonic() + within_s
    for camera in threaded:
        camera.join(until)


@asynccontextmanager
async def watched(*, max_bytes: int, max_pixels: int, **defaults: Any) -> AsyncIterator[Callable[..., Camera]]:
    """Give a function that makes and starts a camera from its settings; all are ended at the end."""
    started: list[tuple[Service, Cameras]] = []

    def make(**settings: Any) -> Camera:
        service = Service("inference")
        parsed = CameraSettings.model_validate(defaults | settings)
        cameras = Cameras({"c": parsed}, service, max_bytes=max_bytes, max_pixels=max_pixels)
        cameras.start()
        started.append((service, cameras))
        _LIVE.extend(cameras)
        return next(iter(cameras))

    yield make
    _LIVE.clear()
    for service, cameras in started:
        service.drain()
        cameras.close()
        for task in service._tasks:
            task.cancel()
        await asyncio.gather(*service._tasks, return_exceptions=True)
