"""Where the desired state is: an object of S3, a file, or the desired part of a named shadow."""

import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lineside.bus import Bus
from lineside.contract import uuid7
from lineside.documents import read_json
from lineside.errors import BusError
from lineside_deployer.desired.document import MAX_BYTES
from lineside_deployer.errors import DocumentRefused, PackageAway
from lineside_deployer.s3 import explain

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ANSWER_S = 10.0
_NO_SHADOW = 404


class Source(Protocol):
    """Gives the desired state."""

    async def read(self) -> bytes:
        """Return the document; raises PackageAway where it cannot be had now, PackageWrong, DocumentRefused."""


class FileSource:
    """A file, which is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> bytes:
        """Return its content."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as stream:
                return stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise PackageAway(f"the desired state {self._path} cannot be read: {error.strerror}") from None


class S3Source:
    """An object of S3."""

    def __init__(self, url: str, client: "Callable[[], S3Client]") -> None:
        self._url = url
        self._client = client

    async def read(self) -> bytes:
        """Return its content."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> bytes:
        bucket, _slash, key = self._url.removeprefix("s3://").partition("/")
        try:
            with closing(self._client().get_object(Bucket=bucket, Key=key)["Body"]) as body:
                return body.read(MAX_BYTES + 1)
        except Exception as error:  # botocore, urllib3 and sockets each have their own
            raise explain(error, self._url) from error


class ShadowSource:
    """The desired part of a named shadow, over AWS IoT's reserved topics on the bus; make it before that is entered.

    `rung` is called whenever somebody changes the shadow's desired part.
    """

    def __init__(self, bus: Bus, thing: str, name: str, rung: Callable[[], None]) -> None:
        self._bus = bus
        self._prefix = f"$aws/things/{thing}/shadow/name/{name}"
        self._rung = rung
        self._heard = {kind: bus.subscribe(f"{self._prefix}/{kind}") for kind in ("get/accepted", "get/rejected")}
        self._deltas = bus.subscribe(f"{self._prefix}/update/delta")
        self._answers: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def listen(self) -> None:
        """Take the answers for ever."""
        async with asyncio.TaskGroup() as group:
            for kind in self._heard:
                group.create_task(self._hear(kind))
            group.create_task(self._ring())

    async def read(self) -> bytes:
        """Return the desired part."""
        token = uuid7()
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._bus.publish(f"{self._prefix}/get", b'{"clientToken":"%s"}' % token.encode(), keep=False)
                while True:
                    kind, said = await self._answers.get()
                    if isinstance(said, dict) and said.get("clientToken") == token:
                        break
        except (TimeoutError, BusError) as error:
            why = str(error) or f"no answer within {ANSWER_S:g} s"
            raise PackageAway(f"the shadow {self._prefix} cannot be read: {why}") from None
        return _desired(kind, said, self._prefix)

    async def _hear(self, kind: str) -> None:
        async for message in self._heard[kind]:
            message.ack()
            try:
                self._answers.put_nowait((kind, read_json(message.payload)))
            except ValueError:
                continue  # no answer of a shadow

    async def _ring(self) -> None:
        async for message in self._deltas:
            message.ack()
            self._rung()


def _desired(kind: str, said: dict[str, Any], prefix: str) -> bytes:
    if kind == "get/rejected":
        code, reason = said.get("code"), str(said.get("message", ""))[:200]
        if code == _NO_SHADOW:
            raise PackageAway(f"there is no shadow {prefix} yet")
        raise PackageAway(f"the shadow {prefix} is refused with {code}: {reason}")
    state = said.get("state")
    desired = state.get("desired") if isinstance(state, dict) else None
    if not isinstance(desired, dict):
        raise DocumentRefused(f"the shadow {prefix} has no desired state", remedy="Write Definitions into it")
    return json.dumps(desired).encode()
