"""Tells camera-sim by HTTP which part stands at which station."""

import httpx

from lineside.connections import Connection
from lineside_bench.parts.labels import Truth, truth
from lineside_bench.runner.feeding import NotShown


class RemoteCameras:
    """camera-sim, at the address of its connection."""

    def __init__(self, client: httpx.AsyncClient, connection: Connection) -> None:
        self._client = client
        self._connection = connection

    async def show(self, station: str, *, seed: int, index: int) -> None:
        """Put a part before a station's camera and return once it is shown; raises NotShown."""
        await self._ask("PUT", station, {"seed": seed, "index": index})

    async def clear(self, station: str) -> None:
        """Take it away; raises NotShown."""
        await self._ask("DELETE", station, None)

    async def _ask(self, method: str, station: str, body: object) -> None:
        url = f"{self._connection.target}/{station}/part"
        try:
            answer = await self._client.request(method, url, json=body)
        except httpx.HTTPError as error:
            what = f"{url} does not answer ({type(error).__name__})"
            self._connection.backoff(what)
            raise NotShown(what) from None
        if not answer.is_success:
            what = f"{url} answers {answer.status_code}: {answer.text:.200}"
            self._connection.backoff(what)
            raise NotShown(what)
        self._connection.online()


class RemotePartSupply:
    """The parts of a run, one after the other, before the cameras of another process."""

    def __init__(self, cameras: RemoteCameras, *, seed: int) -> None:
        self._cameras = cameras
        self._seed = seed
        self._index = 0

    async def next(self) -> Truth:
        """Return the next part."""
        part = truth(self._seed, self._index)
        self._index += 1
        return part

    async def show(self, station: str, part: Truth) -> None:
        """Put a part before a station's camera; raises NotShown."""
        await self._cameras.show(station, seed=self._seed, index=part.index)

    async def clear(self, station: str) -> None:
        """Take it away; raises NotShown."""
        await self._cameras.clear(station)
