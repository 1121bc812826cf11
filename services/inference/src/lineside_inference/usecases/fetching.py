"""Gets the frame that a request is about: from a camera, an address, a file, or the request itself."""

import asyncio
from typing import Any

from lineside.contract import CameraSource, FileSource, InlineSource, Request, UrlSource
from lineside_inference.dataplane.workers import Workers
from lineside_inference.deadline import Arrival, Deadline, Trigger
from lineside_inference.errors import FileFailed
from lineside_inference.imaging.pixel_formats.layout import Layout, is_raw
from lineside_inference.sources import Frame
from lineside_inference.sources.cameras import Cameras
from lineside_inference.sources.files import Files
from lineside_inference.sources.urls import Urls


class Fetcher:
    """The sources that frames are fetched from."""

    def __init__(self, cameras: Cameras, files: Files, urls: Urls, workers: Workers) -> None:
        self._cameras = cameras
        self._files = files
        self._urls = urls
        self._workers = workers

    def start(self) -> None:
        """Connect the cameras that are kept connected."""
        self._cameras.start()

    def close(self) -> None:
        """Let go of all connections."""
        self._cameras.close()
        self._urls.close()

    async def fetch(self, request: Request, arrival: Arrival, deadline: Deadline, *, line: bool) -> Frame:
        """Return the frame of a request's source; raises the source's RequestError, at the latest at the deadline.

        Of tensors it is empty: they are in the request. `line` says whose threads read a file.
        """
        source = request.source
        if isinstance(source, CameraSource):
            return await self._cameras.grab_for(source.camera, Trigger.of(request, arrival), deadline)
        if isinstance(source, UrlSource):
            return await self._urls.fetch(source.url, deadline)
        if isinstance(source, FileSource):
            layout = _layout(source.content_type)
            return Frame(await self._read(source.path, deadline, line=line), layout=layout)
        return brought(request)

    async def _read(self, path: str, deadline: Deadline, *, line: bool) -> bytes:
        reading = asyncio.get_running_loop().run_in_executor(self._workers.of(line=line), self._files.read, path)
        await asyncio.wait((reading,), timeout=deadline.left())
        if not reading.done():
            reading.add_done_callback(ignore_result)
            raise FileFailed(f"file {path!r:.200} could not be read in time")
        return reading.result()


def brought(request: Request) -> Frame:
    """Return the frame that a request brought itself; it is empty where it brought none.

    Raises ImageUndecodable where it is raw, and its content type does not say how it lies.
    """
    source = request.source
    if not isinstance(source, InlineSource):
        return Frame()
    return Frame(source.data, layout=_layout(source.content_type))


def _layout(content_type: str | None) -> Layout | None:
    """Return how raw pixels lie, or None for what says that of itself."""
    return Layout.of_content_type(content_type) if content_type is not None and is_raw(content_type) else None


def ignore_result(ended: "asyncio.Future[Any]") -> None:
    """Take the result of what nobody waits for any more, so that asyncio does not report its error as unseen."""
    if not ended.cancelled():
        ended.exception()
