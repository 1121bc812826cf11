"""One camera kept by the service's own code, for as long as a command takes frames of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

_LOOK_S = 0.02


class Kept:
    """A camera that is being connected to; `grab` takes a frame as the service would."""

    def __init__(self, name: str, cameras: Any) -> None:
        self._name = name
        self._cameras = cameras
        (self.camera,) = cameras

    async def grab(self, within_s: float) -> Any:
        """Return a frame that began after now; raises RequestError, with the cause where it cannot be connected to."""
        from lineside.connections import State  # noqa: PLC0415 - the help is quick without
        from lineside_inference.deadline import Deadline  # noqa: PLC0415
        from lineside_inference.errors import CameraFailed  # noqa: PLC0415

        trigger = time.monotonic()
        grabbing = asyncio.ensure_future(self._cameras.grab(self._name, trigger, Deadline(trigger + within_s)))
        try:
            while not grabbing.done():
                if self.camera.connection.state is State.BACKOFF:  # its cause is what is wanted
                    raise CameraFailed(self.camera.connection.detail)
                await asyncio.wait((grabbing,), timeout=_LOOK_S)
            return grabbing.result()
        finally:
            grabbing.cancel()


@asynccontextmanager
async def kept(name: str, settings: Any) -> AsyncIterator[Kept]:
    """Connect to a camera by its settings, and let it go at the end."""
    from lineside.service import Service  # noqa: PLC0415 - see above
    from lineside.telemetry import configure  # noqa: PLC0415
    from lineside_inference.settings import LimitSettings  # noqa: PLC0415
    from lineside_inference.sources.cameras import Cameras  # noqa: PLC0415

    configure("camera", level="error", style="console")
    limits = LimitSettings()
    cameras = Cameras({name: settings}, Service("camera"), max_bytes=limits.body_bytes, max_pixels=limits.pixels)
    held = Kept(name, cameras)
    supervisor = asyncio.create_task(held.camera.supervise(), name="camera command")
    try:
        yield held
    finally:
        supervisor.cancel()
        cameras.close()


def pixels_of(frame: Any, settings: Any) -> Any:
    """Return the pixels of a frame, also of one that is as it came."""
    from lineside_inference.imaging.pixel_formats.convert import to_pixels  # noqa: PLC0415 - see above

    if frame.layout is None:
        return frame.pixels
    size, bits = frame.layout.width * frame.layout.height, settings.significant_bits
    return to_pixels(frame.data, frame.layout, max_pixels=size, significant_bits=bits)
