"""A camera whose reading blocks: it has a thread of its own, which is abandoned where it hangs.

A thread in a driver or in a network file system cannot be stopped. One that is silent for too long is told to end and
another is started; at most three are abandoned, then the camera waits for one of them to end.
"""

import asyncio
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator

from lineside.connections import describe
from lineside_inference.errors import CameraFailed
from lineside_inference.sources import Frame
from lineside_inference.sources.cameras.live import LiveCamera

MAX_LEFT_BEHIND = 3


class _Reader(threading.Thread):
    """Runs `read` and hands what it yields to the event loop; what comes after `stop` is dropped."""

    def __init__(
        self,
        name: str,
        read: Callable[[threading.Event], Iterator[Frame | None]],
        loop: asyncio.AbstractEventLoop,
        take: Callable[["_Reader", Frame | None], None],
    ) -> None:
        super().__init__(name=f"camera {name}", daemon=True)
        self.stop = threading.Event()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.beat = loop.time()
        self._read = read
        self._loop = loop
        self._take = take

    def run(self) -> None:
        error: Exception = CameraFailed("it ended")
        try:
            for frame in self._read(self.stop):
                if self.stop.is_set():
                    break
                self._say(self._take, self, frame)
        except Exception as caught:  # noqa: BLE001 - it is shown as the connection's state
            error = caught
        self._say(self._end, error)

    def _end(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)
            self.ended.exception()  # looked at: nobody may be waiting any more

    def _say(self, what: Callable[..., None], *given: object) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *given)
        except RuntimeError:  # the loop is closed: the service has ended
            self.stop.set()


class ThreadedCamera(LiveCamera):
    """Base of the cameras that block; a subclass says how to read."""

    _reader: _Reader | None = None
    _is_closed = False

    @abstractmethod
    def read(self, stop: threading.Event) -> Iterator[Frame | None]:
        """Yield frames, and None for "alive, nothing new", until `stop` is set; runs in the reader's thread."""

    async def supervise(self) -> None:
        """Keep a reader at work."""
        left_behind: list[_Reader] = []
        while not self._is_closed:
            left_behind = [reader for reader in left_behind if reader.is_alive()]
            self.connection.connecting()
            try:
                if len(left_behind) >= MAX_LEFT_BEHIND:
                    raise CameraFailed(f"{len(left_behind)} readers of it hang and cannot be stopped")  # noqa: TRY301 - shown below
                await self._read_until_silent(left_behind)
            except Exception as error:  # noqa: BLE001 - whatever a driver raises: it is shown, and tried again
                await asyncio.sleep(self.connection.backoff(describe(error)))

    def idle(self) -> None:
        """Do what is due where nothing new came; called in the event loop's thread."""

    def close(self) -> None:
        """Tell the reader to end, without waiting for it."""
        self._is_closed = True
        if self._reader is not None:
            self._reader.stop.set()

    def join(self, until: float) -> None:
        """Wait for the reader to end, until an instant of time.monotonic(); one that hangs is left behind."""
        if self._reader is not None:
            self._reader.join(max(0.0, until - time.monotonic()))

    async def _read_until_silent(self, left_behind: list[_Reader]) -> None:
        """Read until the reader ends or gives no sign of life for too long; always raises."""
        loop = asyncio.get_running_loop()
        self.connected()
        reader = self._reader = _Reader(self.name, self.read, loop, self._take)
        reader.start()
        try:
            while not reader.ended.done():
                left = reader.beat + self.silence_s - loop.time()
                if left <= 0:
                    left_behind.append(reader)
                    raise CameraFailed(f"its reader gave no sign of life for {self.silence_s:g} s")
                await asyncio.wait((reader.ended,), timeout=left)
            reader.ended.result()
        finally:
            reader.stop.set()

    def _take(self, reader: _Reader, frame: Frame | None) -> None:
        if reader is not self._reader or reader.stop.is_set():
            return
        reader.beat = asyncio.get_running_loop().time()
        if frame is not None:
            self.deliver(frame)
        elif not self.connection.is_online:
            self.connection.online()
        if frame is None:
            self.idle()
