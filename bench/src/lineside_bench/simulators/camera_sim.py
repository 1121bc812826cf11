"""The simulated cameras as a service: it is told which part stands where, renders it, and shows it.

PUT    /station-1/part {"seed": 7, "index": 12}    answers 204 once the camera shows it
DELETE /station-1/part                             answers 204: there is no part there
GET    /station-1/snapshot.jpg                     the JPEG; 404 where there is no part
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

import lineside.service
from lineside.service import Service
from lineside.settings import HttpSettings
from lineside_bench.options import station_names
from lineside_bench.parts.labels import TRAINING_SEED
from lineside_bench.peers.camera import SimulatedCameras
from lineside_bench.simulators.body import Refused, RequestBody, read, refuse
from lineside_bench.simulators.jpeg_cache import JpegCache, TooManyWaiting
from lineside_bench.simulators.settings import CameraSim

LARGEST_INDEX = 2**31


class PartRequest(RequestBody):
    """Which part stands at a station."""

    seed: Annotated[int, Field(ge=0, lt=TRAINING_SEED)]
    index: Annotated[int, Field(ge=0, lt=LARGEST_INDEX)]


class _Parts:
    """The parts before the cameras, as they are told."""

    def __init__(self, cameras: SimulatedCameras, jpegs: JpegCache) -> None:
        self._cameras = cameras
        self._jpegs = jpegs

    async def put(self, request: Request) -> Response:
        station = self._station(request)
        body = await read(request, PartRequest)
        try:
            part = await self._jpegs.get(body.seed, body.index)
        except TooManyWaiting:
            detail = "Too many parts wait for their pictures already; ask again."
            raise Refused(503, "pictures-busy", detail, headers={"Retry-After": "1"}) from None
        self._cameras.show(station, part)
        return Response(status_code=204)

    async def delete(self, request: Request) -> Response:
        self._cameras.show(self._station(request), None)
        return Response(status_code=204)

    def _station(self, request: Request) -> str:
        station: str = request.path_params["station"]
        if unknown := self._cameras.unknown(station):
            raise Refused(404, "camera-unknown", unknown)
        return station


def build(settings: CameraSim, service: Service) -> tuple[ASGIApp, HttpSettings]:
    """Return the application and where it is served."""
    own = settings.camera_sim
    cameras, jpegs = SimulatedCameras(station_names(own.stations)), JpegCache()
    parts = _Parts(cameras, jpegs)

    @asynccontextmanager
    async def body() -> AsyncIterator[None]:
        try:
            yield
        finally:
            jpegs.close()

    routes = [
        *service.routes(),
        cameras.route,
        Route("/{station}/part", parts.put, methods=["PUT"]),
        Route("/{station}/part", parts.delete, methods=["DELETE"]),
    ]
    app = Starlette(routes=routes, exception_handlers={Refused: refuse}, lifespan=lambda _app: service.life(body()))
    return app, own.http


def main() -> None:
    """Run until SIGTERM."""
    sys.exit(lineside.service.main(CameraSim, "camera_sim", build))


if __name__ == "__main__":
    main()
