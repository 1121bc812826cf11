"""A camera that is asked for each frame: HTTP GET on a connection that is kept open."""

import asyncio

from lineside.connections import Connection
from lineside_inference.deadline import Deadline
from lineside_inference.errors import CameraFailed, CameraTimeout
from lineside_inference.http1.client import HttpClient
from lineside_inference.http1.connection import Response
from lineside_inference.http1.errors import ConnectFailed, HttpError, ResponseTooLarge
from lineside_inference.http1.target import Target
from lineside_inference.settings import CameraSettings
from lineside_inference.sources import Frame
from lineside_inference.sources.cameras.camera import Camera, look_at
from lineside_inference.sources.credentials import Credentials
from lineside_inference.sources.http_image import get, remedy_of, why_no_image

_OK = 200
_PROBE_S = 5.0
_LEAST_CONNECT_S = 1.0


class SnapshotCamera(Camera):
    """Its state says whether it can be reached; what was wrong with the last frame stands in the detail."""

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
        self._client = HttpClient(ca_file=str(settings.ca_file) if settings.ca_file else None)
        self._is_away = asyncio.Event()
        self._newest: Frame | None = None

    async def grab(self, trigger: float, deadline: Deadline) -> Frame:
        """Return the present frame: it is asked for after the trigger, so it is never older."""
        del trigger
        allowed = min(self.settings.timeout_ms / 1000, deadline.left())
        if self.connection.away_for() > allowed:  # it cannot be back in time: the cause is said at once
            raise CameraFailed(
                f"camera {self.name!r} cannot be reached: {self.connection.detail}", remedy=look_at(self.settings)
            )
        try:
            async with asyncio.timeout(allowed):
                frame = await self._image()
        except TimeoutError:
            error: CameraFailed | CameraTimeout = CameraTimeout(
                f"camera {self.name!r} gave no frame within {allowed * 1000:.0f} ms",
                remedy="See whether it is overloaded",
            )
            self._trouble(error)
            raise error from None
        except CameraFailed as failed:
            self._trouble(failed)
            raise
        self.frames["kept"] += 1
        self._newest = frame
        if not self.connection.is_online or self.connection.detail:
            self.connection.online()
        return frame

    async def supervise(self) -> None:
        """Connect at the start, after each loss, and now and then; no image is asked for but those of the warm-up."""
        while True:
            self._is_away.clear()
            was_online = self.connection.is_online
            if not was_online:
                self.connection.connecting()
            within = max(_LEAST_CONNECT_S, self.settings.timeout_ms / 1000)
            try:
                async with asyncio.timeout(within):
                    await self._client.probe(self._target)
                    if not was_online:
                        await self._warm_up()
            except TimeoutError:
                await asyncio.sleep(self.connection.backoff(f"it did not answer within {within:g} s"))
                continue
            except (HttpError, CameraFailed) as error:
                await asyncio.sleep(self.connection.backoff(error))
                continue
            if not self.connection.is_online:
                self.connection.online()
            try:
                async with asyncio.timeout(_PROBE_S):
                    await self._is_away.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(self.connection.backoff(self.connection.detail))

    def newest_age_s(self) -> float | None:
        """Return the age of the last frame that was asked for, in seconds."""
        return None if self._newest is None else self._newest.age_ms() / 1000

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    async def _warm_up(self) -> None:
        for _ in range(self.settings.warmup_frames):
            await self._image()
            self.frames["discarded"] += 1

    async def _image(self) -> Frame:
        response = await self._get()
        if response.status != _OK:
            what = f"camera {self.name!r} answered {response.status} {response.reason}".rstrip()
            raise CameraFailed(what, remedy=remedy_of(response))
        if why := why_no_image(response):
            raise CameraFailed(f"camera {self.name!r} {why}")
        return Frame(bytes(response.body), clock=response.clock)

    async def _get(self) -> Response:
        try:
            return await get(self._client, self._target, self._credentials, max_bytes=self._max_bytes)
        except ConnectFailed as error:
            self.connection.detail = str(error)
            self._is_away.set()
            raise CameraFailed(
                f"camera {self.name!r} cannot be reached: {error}", remedy=look_at(self.settings)
            ) from None
        except ResponseTooLarge as error:
            raise CameraFailed(
                f"camera {self.name!r}: {error}",
                remedy="Lower its resolution, or raise inference.limits.body_bytes",
            ) from None
        except HttpError as error:
            raise CameraFailed(f"camera {self.name!r} broke the connection: {error}") from None

    def _trouble(self, error: CameraFailed | CameraTimeout) -> None:
        """Show in the state what was wrong with the last frame."""
        self.frames["refused"] += 1
        if self.connection.is_online and not self._is_away.is_set():
            self.connection.online(f"the last frame failed: {error.what}")
