"""Each camera: a whole image, its size, and how long it took, or what the running service had of it."""

import asyncio
import math
import time
from functools import partial

from lineside.checks import Check, bounded, fail, ok, warn
from lineside.connections import State
from lineside.errors import LinesideError
from lineside.service import Service
from lineside.spool.findings import mebibytes
from lineside.threads import run_abandonable
from lineside_inference.deadline import Deadline
from lineside_inference.doctor import genicam
from lineside_inference.doctor.running import Running
from lineside_inference.imaging.formats import jpeg
from lineside_inference.imaging.image_headers import check_whole, read_header
from lineside_inference.settings import CameraSettings, InferenceSettings
from lineside_inference.sources import Frame
from lineside_inference.sources.cameras import Cameras

IMAGE_S = 4.0
_LATELY_S = 60.0
"""A camera that shows nothing now is well where the service had a frame of it since then: it shows parts only."""
_OLD_S = 1.0
_LOOK_S = 0.01
_BYTE = 8  # bits


async def checks(own: InferenceSettings, running: Running | None) -> list[Check]:
    """Return a check for each camera, and of a genicam camera another one before it: how it is reached and set."""
    asked = await asyncio.gather(*(_of_one(name, camera, own, running) for name, camera in own.cameras.items()))
    return [check for one in asked for check in one]


async def _of_one(name: str, camera: CameraSettings, own: InferenceSettings, running: Running | None) -> list[Check]:
    """Return a camera's checks; one after the other, since it has one owner."""
    before = []
    if camera.kind == "genicam":
        label = f"camera {name}, device"
        look = partial(genicam.check, label, camera, runs=running is not None)
        before.append(await bounded(label, partial(run_abandonable, look), within_s=2 * IMAGE_S))
    check = partial(_check, name, camera, own, running)
    return [*before, await bounded(f"camera {name}", check, within_s=2 * IMAGE_S)]


async def _check(name: str, camera: CameraSettings, own: InferenceSettings, running: Running | None) -> Check:
    label = f"camera {name}"
    held = camera.device or (camera.path if camera.kind == "stream" else None)
    if running is not None and held is not None:
        return of_service(label, running, name, "the device is the service's") or fail(
            label, f"the inference service had no frame of {held} for {_LATELY_S:g} s", "see its /readyz"
        )
    started = time.monotonic()
    link = Service("doctor")
    try:
        frame = await _image(name, camera, own, link)
        size = describe(frame)
    except LinesideError as error:
        seen = of_service(label, running, name, error.what) if running else None
        remedy = error.remedy or f"see the camera, and inference.cameras.{name}"
        if seen is None and running and not running.frames.get(name) and _is_reached(link):
            return warn(label, f"{error.what}; the inference service has asked it for none yet", remedy)
        return seen or fail(label, error.what, remedy)
    age = f", {frame.age_ms() / 1000:.0f} s old" if frame.age_ms() / 1000 > _OLD_S else ""
    return ok(label, f"{size}, after {(time.monotonic() - started) * 1000:.0f} ms{age}")


def of_service(label: str, running: Running, name: str, why: str) -> Check | None:
    """Return what the running service had of a camera lately, None where that was nothing."""
    frames, age = running.frames.get(name, 0), running.ages.get(name, math.inf)
    if not frames or age > _LATELY_S:
        return None
    return ok(label, f"the inference service has had {frames} frames, the newest {age:.1f} s ago ({why})")


def _is_reached(link: Service) -> bool:
    return all(each.is_online for each in link.connections.values())


async def _image(name: str, camera: CameraSettings, own: InferenceSettings, link: Service) -> Frame:
    """Return a frame, of whatever age; raises LinesideError. `link` has the camera's connection then."""
    if camera.kind == "directory":
        camera = camera.model_copy(update={"since": "any"})
    limits = own.limits
    cameras = Cameras({name: camera.by_itself()}, link, max_bytes=limits.body_bytes, max_pixels=limits.pixels)
    (only,) = cameras
    supervisor = asyncio.create_task(only.supervise(), name=f"doctor camera {name}")
    deadline = Deadline(time.monotonic() + IMAGE_S)
    try:
        return await cameras.grab(name, -math.inf, deadline)
    except LinesideError:
        while only.connection.state is State.CONNECTING and not deadline.has_passed:  # noqa: ASYNC110 - it wakes nobody
            await asyncio.sleep(_LOOK_S)
        raise
    finally:
        supervisor.cancel()
        cameras.close()


def describe(frame: Frame) -> str:
    """Return size and kind of an image; raises LinesideError where it is damaged or cut off."""
    if frame.pixels is not None:
        height, width = frame.pixels.shape[:2]
        return f"{width} x {height} pixels"
    if frame.layout is not None:
        frame.layout.check_size(len(frame.data))
        layout = frame.layout
        return f"{layout.width} x {layout.height} {layout.format.name}, {mebibytes(len(frame.data))}"
    header = read_header(frame.data)
    check_whole(frame.data, header)
    if header.format == "jpeg":
        jpeg.pixels(frame.data, header, is_gray=True, factor=8)
    deep = f" of {header.bits} bits a value" if header.bits > _BYTE else ""
    return f"{header.width} x {header.height} {header.name}{deep}, {mebibytes(len(frame.data))}"
