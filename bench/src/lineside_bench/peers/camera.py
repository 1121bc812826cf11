"""The simulated cameras: one HTTP server that serves an image of the part now at each station.

`GET /station-1/snapshot.jpg` answers the JPEG, with the part's id in `X-Part-Id`; 404 in words where there is none.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lineside_bench.errors import BenchError
from lineside_bench.parts.renderer import JpegPart


class _Server(uvicorn.Server):
    """A server inside somebody else's loop: it leaves the signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class SimulatedCameras:
    """A camera a station, and the part now before each; `show` puts it there or takes it away.

    A camera takes `answer_s` seconds to answer, and shows what is there then.
    """

    def __init__(self, stations: list[str], *, answer_s: float = 0.0) -> None:
        self.answer_s = answer_s
        self.stations = stations
        self._shown: dict[str, JpegPart | None] = dict.fromkeys(stations)
        self.route = Route("/{station}/snapshot.jpg", self._snapshot, methods=["GET"])

    def show(self, station: str, part: JpegPart | None) -> None:
        """Put a part before a station's camera, or take it away."""
        self._shown[station] = part

    def unknown(self, station: str) -> str:
        """Return what to say of a station that has no camera; nothing where it has one."""
        return (
            ""
            if station in self._shown
            else f"There is no camera {station!r:.80}; there are: {', '.join(self._shown)}."
        )

    async def _snapshot(self, request: Request) -> Response:
        station = request.path_params["station"]
        if unknown := self.unknown(station):
            return PlainTextResponse(f"{unknown}\n", 404)
        if self.answer_s:
            await asyncio.sleep(self.answer_s)
        part = self._shown[station]
        if part is None:
            return PlainTextResponse(f"There is no part at {station}.\n", 404)
        headers = {"X-Part-Id": part.part_id, "Cache-Control": "no-store"}
        return Response(part.jpeg, media_type="image/jpeg", headers=headers)


class CameraServer(SimulatedCameras):
    """Serves snapshots while it is entered, in this process."""

    def __init__(self, *, port: int, stations: list[str], host: str = "127.0.0.1", answer_s: float = 0.0) -> None:
        super().__init__(stations, answer_s=answer_s)
        self.url = f"http://{host}:{port}"
        self._address = (host, port)
        app = Starlette(routes=[self.route])
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    def snapshot_url(self, station: str) -> str:
        """Return the URL of a station's snapshot."""
        return f"{self.url}/{station}/snapshot.jpg"

    async def __aenter__(self) -> Self:
        # With the protocol named: asyncio turns Nagle's algorithm off for such sockets only, and a JPEG sent in two
        # writes would wait 40 ms for the delayed acknowledgement.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(self._address)
        except OSError as error:
            listener.close()
            raise BenchError(
                f"the camera cannot listen on {self.url}: {error.strerror}", remedy="Free the port or use --ports auto"
            ) from None
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="camera")
        while not self._server.started:
            if self._serving.done():
                await self._serving
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        if self._serving:
            await self._serving
