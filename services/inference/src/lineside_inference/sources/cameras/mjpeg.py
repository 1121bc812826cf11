"""A camera that sends frame after frame in one HTTP response; the newest is kept, as its JPEG file."""

import asyncio
import time

from lineside.connections import Connection
from lineside_inference.errors import CameraFailed, ImageTruncated, ImageUndecodable
from lineside_inference.http1.client import HttpClient
from lineside_inference.http1.connection import Response
from lineside_inference.http1.errors import HttpError
from lineside_inference.http1.target import Target
from lineside_inference.imaging.formats.header import NAMES
from lineside_inference.imaging.image_headers import check_whole, read_header, sniff
from lineside_inference.settings import CameraSettings
from lineside_inference.sources import Frame
from lineside_inference.sources.cameras.live import FrameRate, LiveCamera
from lineside_inference.sources.cameras.multipart import Parts, boundary_of
from lineside_inference.sources.credentials import Credentials
from lineside_inference.sources.http_image import get, remedy_of

_OK = 200
_MAX_BYTES_A_SECOND = 64 * 1024 * 1024
_SLICE_S = 0.05
_MAX_STRANGE = 5


class Throttle:
    """Slows down a peer that sends more than the bound, so that one camera cannot take the whole event loop."""

    def __init__(self, max_bytes_a_second: int = _MAX_BYTES_A_SECOND) -> None:
        self._most = max_bytes_a_second * _SLICE_S
        self._until = 0.0
        self._taken = 0

    def wait(self, size: int, clock: float) -> float | None:
        """Count bytes that came at `clock`; return for how many seconds to take no more, or None."""
        if clock >= self._until:
            self._until, self._taken = clock + _SLICE_S, 0
        self._taken += size
        return self._until - clock if self._taken > self._most else None


class MjpegCamera(LiveCamera):
    """Its reader is a task; it reads all the time, so that the newest frame is never an old one from a buffer."""

    def __init__(
        self,
        name: str,
        settings: CameraSettings,
        connection: Connection,
        *,
        credentials: Credentials | None,
        max_bytes: int,
    ) -> None:
        super().__init__(name, settings, connection)
        self._target = Target.of(settings.url or "")
        self._credentials = credentials
        self._max_bytes = max_bytes
        self._rate = FrameRate(settings.most_fps)
        self._client = HttpClient(ca_file=str(settings.ca_file) if settings.ca_file else None)
        self._parts: Parts | None = None
        self._throttle = Throttle()
        self._last = 0.0
        self._refused = ""
        self._strange = 0  # parts without an image, one after another

    async def supervise(self) -> None:
        """Read the stream, and open it again whenever it ends."""
        while True:
            self.connection.connecting()
            self.connected()
            try:
                await self._read_until_silent()
            except (HttpError, CameraFailed, TimeoutError) as error:
                await asyncio.sleep(self.connection.backoff(error))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    async def _read_until_silent(self) -> None:
        """Read until the stream ends, fails, or gives no frame for too long; always raises."""
        self._last, self._refused, self._strange = time.monotonic(), "", 0
        reading = asyncio.ensure_future(self._read())
        try:
            while not reading.done():
                left = self._last + self.silence_s - time.monotonic()
                if left <= 0:
                    why = self._refused or (self._parts.waits_for if self._parts else "it has not answered")
                    raise CameraFailed(f"it gave no whole frame for {self.silence_s:g} s: {why}")
                await asyncio.wait((reading,), timeout=left)
            reading.result()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self) -> None:
        self._parts = None
        response = await get(
            self._client,
            self._target,
            self._credentials,
            max_bytes=self._max_bytes,
            accept="multipart/x-mixed-replace, */*;q=0.1",
            sink=self._take,
        )
        if response.status != _OK:
            what = f"it answered {response.status} {response.reason}".rstrip()
            raise CameraFailed(what, remedy=remedy_of(response))
        boundary_of(response.header("content-type"))
        raise CameraFailed("its stream ended")

    def _take(self, response: Response, piece: bytes) -> float | None:
        """Take a piece of the response's body; return for how long to wait before the next one."""
        clock = time.monotonic()
        wait = self._throttle.wait(len(piece), clock)
        if response.status != _OK:
            return wait
        if self._parts is None:
            self._parts = Parts(boundary_of(response.header("content-type")), max_bytes=self._max_bytes)
        for body in self._parts.feed(piece):
            if sniff(body) is None:  # a text part between images is passed over, several in a row are an error
                self._pass_over(f"it sends parts that are no {NAMES}: they begin with {body[:8].hex(' ')}")
                self._strange += 1
                if self._strange > _MAX_STRANGE:
                    raise CameraFailed(self._refused)
                continue
            self._strange = 0
            if not self._rate.is_due(clock):
                self.frames["skipped"] += 1
                continue
            try:  # a damaged frame fails no part: the next one is taken
                check_whole(body, read_header(body))
            except (ImageTruncated, ImageUndecodable) as error:
                self._pass_over(error.what)
                continue
            self._last, self._refused = clock, ""
            self.deliver(Frame(body, clock=clock))
        return wait

    def _pass_over(self, why: str) -> None:
        self.frames["refused"] += 1
        self._refused = why
