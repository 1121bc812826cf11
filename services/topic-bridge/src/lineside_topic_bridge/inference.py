"""The connection to the inference service: one supervisor, and calls that wait while it is away."""

import asyncio

import httpx
import structlog

from lineside.connections import Connection, describe
from lineside.errors import LinesideError

log = structlog.get_logger("lineside.topic_bridge")

CONNECT_TIMEOUT_S = 2.0
BUSY = frozenset({429, 502, 503, 504})
"""HTTP statuses that mean: the same call can succeed later."""


class InferenceAway(LinesideError):
    """The inference service did not answer; the call can be made again with the same id."""

    code = "inference-away"
    transient = True


class InferenceLink:
    """Calls `POST /v1/infer`; after a failure every caller waits until `/livez` answers again."""

    def __init__(self, client: httpx.AsyncClient, connection: Connection) -> None:
        self._client = client
        self._connection = connection
        self._online = asyncio.Event()
        self._lost = asyncio.Event()
        self._reason = ""

    async def supervise(self) -> None:
        """Keep the state right for ever."""
        while True:
            self._connection.connecting()
            try:
                (await self._client.get("/livez", timeout=CONNECT_TIMEOUT_S)).raise_for_status()
            except httpx.HTTPError as error:
                await asyncio.sleep(self._connection.backoff(error))
                continue
            self._connection.online()
            self._lost.clear()
            self._online.set()
            await self._lost.wait()
            await asyncio.sleep(self._connection.backoff(self._reason))

    async def infer(self, payload: bytes, timeout_s: float) -> httpx.Response:
        """Return the answer; wait while the service is away. Raises InferenceAway when this call failed."""
        await self._online.wait()
        try:
            return await self._client.post(
                "/v1/infer",
                content=payload,
                headers={"content-type": "application/json"},
                timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            )
        except httpx.TransportError as error:
            self._reason = describe(error)
            self._online.clear()
            self._lost.set()
            raise InferenceAway(f"the inference service did not answer: {self._reason}") from error
