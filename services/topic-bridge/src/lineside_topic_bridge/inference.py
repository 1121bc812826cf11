"""The connection to the inference service: one supervisor, and calls that wait while it is away."""

import asyncio
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import httpx
import structlog

from lineside.connections import Connection, describe
from lineside.errors import LinesideError
from lineside.secret_files import SecretFileError, read_token

log = structlog.get_logger("lineside.topic_bridge")

CONNECT_TIMEOUT_S = 2.0
_LOOK_S = 0.02
BUSY = frozenset({429, 502, 503, 504})
"""HTTP statuses that mean: the same call can succeed later."""


class InferenceAway(LinesideError):
    """The inference service did not answer; the call can be made again with the same id."""

    code = "inference-away"
    transient = True


class Token(httpx.Auth):
    """The bearer token of a file's first line; read again when the service does not know it any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = self._read()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the token, and once more where the file has another one by now."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        answer = yield request
        if answer.status_code != httpx.codes.UNAUTHORIZED:
            return
        try:
            now = self._read()
        except LinesideError as error:
            log.error("the token cannot be read again", reason=error.what)  # noqa: TRY400 - its traceback says nothing more
            return
        if now != self._token:
            self._token = now
            request.headers["Authorization"] = f"Bearer {now}"
            yield request

    def _read(self) -> str:
        remedy = "topic_bridge.inference_token_file names it; its first line must be one of the service's tokens"
        try:
            return read_token(self._path)
        except SecretFileError as error:
            raise LinesideError(f"token file {error.what}", remedy=remedy) from None


class InferenceLink:
    """Calls the inference service; after a failure every caller waits until `/livez` answers again."""

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

    @property
    def trouble(self) -> str:
        """Why the service is away, for people."""
        return self._connection.detail or "it is being reached"

    async def is_back_within(self, seconds: float) -> bool:
        """Return whether the service can be asked, or can within so many seconds; at once where it surely cannot."""
        running = asyncio.get_running_loop()
        end = running.time() + seconds
        while not self._online.is_set():
            left = end - running.time()
            if left <= 0 or self._connection.away_for() > left:
                return False
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LOOK_S)):
                    await self._online.wait()
        return True

    async def infer(self, payload: bytes, timeout_s: float) -> httpx.Response:
        """Return the answer; wait while the service is away. Raises InferenceAway when this call failed.

        That the service does not know our token counts as away too.
        """
        return await self._ask("POST", "/v1/infer", payload, timeout_s)

    async def post(self, path: str, payload: bytes, timeout_s: float) -> httpx.Response:
        """Return the answer of a `POST`; waits and raises as `infer` does."""
        return await self._ask("POST", path, payload, timeout_s)

    async def put_policy(self, payload: bytes, timeout_s: float) -> httpx.Response:
        """Return the answer of `PUT /v1/policy`; waits and raises as `infer` does."""
        return await self._ask("PUT", "/v1/policy", payload, timeout_s)

    async def get_policy(self, timeout_s: float) -> httpx.Response:
        """Return the answer of `GET /v1/policy`; waits and raises as `infer` does."""
        return await self._ask("GET", "/v1/policy", None, timeout_s)

    async def get(self, path: str, timeout_s: float) -> httpx.Response:
        """Return the answer to a GET; waits and raises as `infer` does."""
        return await self._ask("GET", path, None, timeout_s)

    async def _ask(self, method: str, path: str, payload: bytes | None, timeout_s: float) -> httpx.Response:
        await self._online.wait()
        try:
            answer = await self._client.request(
                method,
                path,
                content=payload,
                headers={"content-type": "application/json"},
                timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            )
        except httpx.RequestError as error:
            self._lose(describe(error))
            raise InferenceAway(f"the inference service did not answer: {self._reason}") from error
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            # Not the request's fault: it waits until the two agree on a token.
            self._lose("it does not know our token; see topic_bridge.inference_token_file")
            raise InferenceAway(f"the inference service refused us: {self._reason}")
        return answer

    def _lose(self, reason: str) -> None:
        self._reason = reason
        self._online.clear()
        self._lost.set()
