"""Writes a request's image or tensors into a slot: decoded and prepared as the model's card says, in threads."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from numpy.typing import NDArray

from lineside.contract import CameraSource, Request, TensorsSource
from lineside_inference.dataplane.admission import Capacity
from lineside_inference.dataplane.workers import Workers
from lineside_inference.deadline import Deadline
from lineside_inference.engine.arena import Slot
from lineside_inference.errors import Expired, RequestError, SourceMismatch
from lineside_inference.imaging.decode import accept, decode, decode_turned, decoding_bytes, develop
from lineside_inference.imaging.geometry import Geometry
from lineside_inference.imaging.image_headers import read_header
from lineside_inference.imaging.prepare import prepare
from lineside_inference.models.preparation import Preparation
from lineside_inference.models.store import Model
from lineside_inference.settings import CameraSettings, InferenceSettings
from lineside_inference.sources import Frame
from lineside_inference.usecases import request_tensors

_FEW_VALUES = 4096
"""Numbers that are written on the event loop: below a millisecond."""

T = TypeVar("T")


class InputWriter:
    """Fills slots; `images` bounds the memory of all images that are decoded at the same time."""

    def __init__(self, settings: InferenceSettings, workers: Workers, images: Capacity) -> None:
        self._max_pixels = settings.limits.pixels
        self._cameras = settings.cameras
        self._workers = workers
        self._images = images

    async def write(
        self,
        request: Request,
        frame: Frame,
        model: Model,
        slot: Slot,
        out: NDArray[Any],
        deadline: Deadline,
        *,
        line: bool,
    ) -> tuple[Geometry | None, Frame]:
        """Write the model's input into `out`, which lies in `slot`: few numbers at once, many and an image in a thread.

        Return where the image lies in the input, None for tensors; and the frame, with its pixels where it came raw.
        Raises RequestError, Expired at the deadline.
        """
        source = request.source
        if isinstance(source, TensorsSource):
            if sum(len(tensor.values) for tensor in source.tensors) <= _FEW_VALUES:
                request_tensors.write(source, model.card.input, out)
            else:
                await self._in_thread(
                    lambda: request_tensors.write(source, model.card.input, out), slot, deadline, line=line
                )
            return None, frame
        camera = source.camera if isinstance(source, CameraSource) else None
        try:
            return await self._write_image(frame, camera, model, slot, out, deadline, line=line)
        except RequestError as error:
            if camera is None or isinstance(error, Expired):
                raise
            # What the camera sends is not the fault of who asked.
            error.status = "failed"
            error.what = f"camera {camera!r}: {error.what}"
            raise

    async def _write_image(
        self,
        frame: Frame,
        camera: str | None,
        model: Model,
        slot: Slot,
        out: NDArray[Any],
        deadline: Deadline,
        *,
        line: bool,
    ) -> tuple[Geometry, Frame]:
        preparation, max_pixels = model.preparation, self._max_pixels
        if preparation is None:  # whoever judges has compared source and model before
            raise SourceMismatch(f"model {model.card.name!r} takes no image")
        settings = self._cameras.get(camera) if camera is not None else None
        bits = settings.significant_bits if settings is not None else None

        def work() -> tuple[Geometry, Frame]:
            check_time(deadline)
            seen = _developed(frame, settings, preparation, max_pixels)
            if seen.pixels is not None:
                return prepare(accept(seen.pixels, preparation, max_pixels=max_pixels), preparation, out), seen
            pixels = decode(frame.data, preparation, max_pixels=max_pixels, significant_bits=bits)
            header = read_header(frame.data)
            return prepare(pixels, preparation, out, original=(header.width, header.height)), seen

        return await self._in_thread(work, slot, deadline, line=line, needed=_needed(frame, max_pixels))

    async def _in_thread(
        self, work: Callable[[], T], slot: Slot, deadline: Deadline, *, line: bool, needed: int = 0
    ) -> T:
        """Return what `work` makes, which writes into the slot and takes `needed` bytes of memory meanwhile."""
        try:
            async with asyncio.timeout(deadline.left()):
                await self._images.wait(needed, line=line)
        except TimeoutError:
            raise too_late() from None
        filling = asyncio.get_running_loop().run_in_executor(self._workers.of(line=line), _without_frames, work)
        filling.add_done_callback(lambda _: self._images.give(needed, line=line))
        await asyncio.wait((filling,), timeout=deadline.left())
        if not filling.done():
            slot.keep_for(filling)  # the thread cannot be stopped, and writes there
            raise too_late()
        try:
            return filling.result()
        finally:
            del filling  # else what it raised would refer to itself by way of this frame, and wait for the collector


def _developed(frame: Frame, camera: CameraSettings | None, preparation: Preparation, max_pixels: int) -> Frame:
    """Return a frame with its pixels where it is raw, or to be turned by its EXIF; any other as it is."""
    pixels = None
    if frame.layout is not None:
        bits = camera.significant_bits if camera is not None else None
        pixels = develop(frame.data, frame.layout, preparation, max_pixels=max_pixels, significant_bits=bits)
    elif frame.pixels is None and camera is not None and camera.exif_orientation == "obey":
        pixels = decode_turned(frame.data, preparation, max_pixels=max_pixels)
    return frame if pixels is None else replace(frame, data=b"", layout=None, pixels=pixels)


def _needed(frame: Frame, max_pixels: int) -> int:
    """Return about how many bytes of memory a frame takes while it becomes the model's input."""
    if frame.pixels is not None:
        return frame.pixels.nbytes
    if frame.layout is not None:
        needed = frame.layout.decoding_bytes()
        return needed if frame.layout.width * frame.layout.height <= max_pixels else 0
    return decoding_bytes(frame.data, max_pixels=max_pixels)


def check_time(deadline: Deadline) -> None:
    """Raise Expired where the deadline has passed."""
    if deadline.has_passed:
        raise too_late()


def too_late() -> Expired:
    """Return the error of a request that its deadline ended before the model ran."""
    return Expired("the deadline passed before the model ran", remedy="Give a later deadline, or see timing_ms")


def _without_frames(work: Callable[[], T]) -> T:
    """Return what `work` does; what it raises holds no stack frame, in which the image would live on."""
    try:
        return work()
    except RequestError as error:
        error.__context__ = None
        raise error.with_traceback(None) from None
