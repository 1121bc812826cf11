"""Files on their way through Stream Manager, each until S3 has it.

An export is a task of its own: its caller may be cancelled or time out, and finds it again by its key when the same
batch is delivered again. Only the end of the session ends what waits, and then it is begun anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from lineside.threads import run_to_end
from lineside_forwarder.errors import DestinationAway
from lineside_forwarder.rate_limiter import RateLimiter
from lineside_forwarder.stream_manager import tasks
from lineside_forwarder.stream_manager.client import StreamManagerError
from lineside_forwarder.stream_manager.folder import Folder, LocalFile
from lineside_forwarder.stream_manager.inflight_limit import InflightLimit
from lineside_forwarder.stream_manager.session import Session
from lineside_forwarder.stream_manager.tasks import Status, StatusMessage

Source = Callable[[], Awaitable[BinaryIO | None]]
"""Opens what is to be exported; None: it is damaged."""

_PIECE = 64 * 1024
_MAX_DONE = 100_000
_SURELY_LOST_S = 3600.0


@dataclass(eq=False, slots=True)
class Export:
    """One file on its way. `last_status_s` is when its last status came, None before its task is appended."""

    key: str
    session: Session
    sequence: int = -1
    last_status_s: float | None = None
    last_status: str = "nothing"
    work: asyncio.Task[bool] = field(init=False)

    def note(self, status: StatusMessage) -> None:
        """Note a status message that is not final."""
        self.last_status_s = asyncio.get_running_loop().time()
        self.last_status = f"{status.status.name} {status.message}".strip()


class Exports:
    """All exports of a destination; they go to `bucket`, by way of files in `folder`."""

    def __init__(self, folder: Folder, limit: InflightLimit, bucket: str, target: str, max_silence_s: float) -> None:
        self._folder = folder
        self._limit = limit
        self._bucket = bucket
        self._target = target
        self._max_silence_s = max_silence_s
        self._live: dict[str, Export] = {}
        self._done: dict[str, None] = {}

    async def export(self, session: Session, key: str, size: int, source: Source, limiter: RateLimiter) -> bool:
        """Return once S3 has it under its key; False where the source is damaged. Raises ForwarderError."""
        if key in self._done:
            return True
        export = self._live.get(key)
        if export is None:
            export = Export(key, session)
            export.work = asyncio.create_task(self._run(export, size, source, limiter), name=f"export {key}")
            export.work.add_done_callback(lambda work: self._ended(key, work))
            self._live[key] = export
        while not (await asyncio.wait({export.work}, timeout=self._max_silence_s))[0]:
            await self._look_after(export)
        if export.work.cancelled():
            raise DestinationAway(f"the export of {key} was given up", remedy="It is sent again")
        return export.work.result()

    def forget(self, keys: Iterable[str]) -> None:
        """Forget that these keys are exported, since their batch is."""
        for key in keys:
            self._done.pop(key, None)

    async def close(self) -> None:
        """Cancel all exports; their files are removed."""
        works = [export.work for export in self._live.values()]
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    async def _run(self, export: Export, size: int, source: Source, limiter: RateLimiter) -> bool:
        async with self._limit.taken(size):
            opened = await source()
            if opened is None:
                return False
            file = self._folder.file(export.key.rpartition("/")[2])
            try:
                try:
                    await run_to_end(file.make)
                    while piece := await run_to_end(opened.read, _PIECE):
                        await limiter.spend(len(piece))
                        await run_to_end(file.write, piece)
                finally:
                    opened.close()
                await run_to_end(file.finish)
                last = await self._export_file(export, file)
            finally:
                await run_to_end(file.remove)
        if last.status is not Status.SUCCESS:
            raise tasks.failure(last, export.key)
        self._done[export.key] = None
        if len(self._done) > _MAX_DONE:
            del self._done[next(iter(self._done))]
        return True

    async def _export_file(self, export: Export, file: LocalFile) -> StatusMessage:
        """Append a file's export task; return its final status."""
        message = tasks.task(file.path, self._bucket, export.key)
        try:
            export.sequence, last = await export.session.append(file.path.as_uri(), message, export.note)
            export.last_status_s = asyncio.get_running_loop().time()
            return await last
        except StreamManagerError as error:
            raise tasks.trouble(error, self._target) from None

    async def _look_after(self, export: Export) -> None:
        """Raise DestinationAway where Stream Manager has been silent for too long about an export.

        The export stays, unless it is certain that nothing more will be heard of it.
        """
        if export.last_status_s is None:
            return
        silent_s = asyncio.get_running_loop().time() - export.last_status_s
        if silent_s < self._max_silence_s:
            return
        try:
            info: dict[str, Any] = await export.session.describe()
        except StreamManagerError as error:
            raise tasks.trouble(error, self._target) from None
        is_lost = silent_s > _SURELY_LOST_S and tasks.is_passed(info, export.sequence)
        if is_lost or tasks.is_gone(info, export.sequence):
            export.work.cancel()
        raise DestinationAway(
            f"Stream Manager has not exported {export.key}, and said nothing of it for {silent_s:.0f} s; "
            f"before: {export.last_status}",
            remedy="Is the box connected? Stream Manager goes on trying by itself",
        )

    def _ended(self, key: str, work: asyncio.Task[bool]) -> None:
        self._live.pop(key, None)
        if not work.cancelled():
            work.exception()  # Retrieved, also where nothing awaits it any more.
