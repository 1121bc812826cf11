"""The one way from this service into the spool: bounded, in threads, and counted where it fails.

The verdict never depends on it: what cannot be kept is dropped by name, the line goes on.
"""

import asyncio
import time
from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog

from lineside.connections import Connection, State
from lineside.errors import LinesideError
from lineside.service import Service
from lineside.spool import Entry, Receipt, Spool, SpoolFull, SpoolSettings, SpoolUnusable
from lineside_inference.capture.metrics import CaptureMetrics
from lineside_inference.errors import CaptureQueueFull, NotKept
from lineside_inference.settings.capture import CaptureSettings

log = structlog.get_logger("lineside.inference.capture")

PRODUCER = "inference"
_THREADS = 4
_OPEN_S = 5.0
_CLOSE_S = 5.0
_SAY_EVERY_S = 10.0


class Recorder:
    """Takes captures, and puts them into the spool in threads of its own; used on the event loop.

    `spool` is None while there is none: not configured, not open yet, or closed.
    """

    def __init__(
        self, settings: CaptureSettings, spool: SpoolSettings, service: Service, models: Container[str] = ()
    ) -> None:
        """Make it; `models`, and those of the settings, are the names that may be a metric's label."""
        self.settings = settings
        self.spool: Spool | None = None
        self.link: Connection | None = None
        self.metrics = CaptureMetrics(service.registry, models, settings.models)
        self._where = spool
        if spool.folder is not None:
            self.link = service.connection("spool", str(spool.folder), required=False, longest_s=30.0)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="capture")
        self._under_way: dict[asyncio.Future[tuple[Entry, Receipt]], str] = {}
        self._bytes = 0
        self._is_closing = False
        self._said: dict[str, tuple[float, int]] = {}

    @property
    def is_on(self) -> bool:
        """Whether evidence is kept here, that is, a spool is configured; it may be away now."""
        return self.link is not None

    @property
    def under_way(self) -> int:
        """How many captures are on their way to the disk."""
        return len(self._under_way)

    def is_under_way(self, key: str) -> bool:
        """Whether a capture of this id is on its way to the disk."""
        return key in self._under_way.values()

    async def start(self, service: Service) -> None:
        """Open the spool; waits a bounded time for it, then the line goes on without evidence until it is open."""
        if self.link is None:
            log.info("no evidence is kept", remedy="give spool.folder, a folder on a local disk, to keep it")
            return
        tried = asyncio.Event()
        service.spawn("spool", self._supervise(self.link, tried))
        with suppress(TimeoutError):
            async with asyncio.timeout(_OPEN_S):
                await tried.wait()

    async def _supervise(self, link: Connection, tried: asyncio.Event) -> None:
        """Open the spool, trying again for ever while its folder cannot be used."""
        while self.spool is None:
            link.connecting()
            try:
                self.spool = await asyncio.get_running_loop().run_in_executor(self._threads, self._open)
            except Exception as error:  # noqa: BLE001 - whatever it is: the line goes on without evidence
                delay = link.backoff(error)
                tried.set()
                await asyncio.sleep(delay)
        link.online()
        tried.set()
        await asyncio.Event().wait()  # from now on every capture says how the spool is

    def submit(
        self, make: Callable[[], Entry], *, key: str, model: str, size: int, after_s: float = 0.0
    ) -> asyncio.Future[Receipt]:
        """Have `make` called in a thread, after so many seconds, and its entry put into the spool.

        `key` is the entry's, `size` about how many bytes wait meanwhile. The future ends when the entry is on the disk,
        with its Receipt, or fails with what `make` or `Spool.put` raised; that is counted and said here, so it need not
        be awaited.
        Raises NotKept or CaptureQueueFull, counted and said as well.
        """
        spool = self.spool
        if self.link is None:
            raise NotKept("no evidence is kept here", remedy="Give spool.folder, a folder on a local disk")
        if spool is None or self._is_closing:
            raise self._refused("not-open", self._not_open(self.link))
        full = self._bytes and self._bytes + size > self.settings.queue_bytes
        if full or len(self._under_way) >= self.settings.queue:
            raise self._refused(
                "queue-full",
                CaptureQueueFull(
                    f"{len(self._under_way)} captures of {self._bytes} bytes are on their way to the disk",
                    remedy="Keep less, or raise inference.capture.queue and queue_bytes",
                ),
            )
        start = time.monotonic()

        def work() -> tuple[Entry, Receipt]:
            entry = make()
            return entry, spool.put(entry)

        done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        working = asyncio.ensure_future(self._in_thread(work, after_s))
        self._under_way[working] = key
        self._bytes += size
        working.add_done_callback(lambda ended: self._ended(ended, done, model, size, start))
        return done

    async def _in_thread(self, work: Callable[[], tuple[Entry, Receipt]], after_s: float) -> tuple[Entry, Receipt]:
        if after_s:
            await asyncio.sleep(after_s)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def close(self) -> None:
        """Wait a bounded time for what is under way, then close the spool."""
        self._is_closing = True
        if self._under_way:
            _, late = await asyncio.wait(set(self._under_way), timeout=_CLOSE_S)
            if late:
                self._dropped("stopping", f"{len(late)} captures were not on the disk in time", len(late))
                self.spool = None  # a thread may be in it still: the process's end closes it
        spool, self.spool = self.spool, None
        self._threads.shutdown(wait=False, cancel_futures=True)
        if spool is not None:
            await asyncio.to_thread(spool.close)

    def _open(self) -> Spool:
        return Spool.open(self._where, producer=PRODUCER)

    def _ended(
        self,
        ended: "asyncio.Future[tuple[Entry, Receipt]]",
        done: "asyncio.Future[Receipt]",
        model: str,
        size: int,
        start: float,
    ) -> None:
        """Count what became of a capture and tell who waits for it."""
        del self._under_way[ended]
        self._bytes -= size
        if ended.cancelled():
            done.cancel()
            return
        error = ended.exception()
        if error is not None:
            self._failed(error)
            if not done.done():
                done.set_exception(error)
                done.exception()  # it is counted and said: nobody has to look at it
            return
        entry, receipt = ended.result()
        self._works()
        if receipt.is_new:
            self.metrics.kept(model, entry.kept, time.monotonic() - start)
        if not done.done():
            done.set_result(receipt)

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, SpoolFull):
            self._dropped("spool-full", str(error))
        elif isinstance(error, SpoolUnusable):
            self._dropped("spool-unusable", str(error))
        else:
            self._dropped("failed", repr(error))
            return
        if self.link is not None and not self._is_closing:
            self.link.backoff(error)

    def _works(self) -> None:
        if self.link is not None and self.link.state is not State.ONLINE and not self._is_closing:
            self.link.online()

    def _refused(self, reason: str, error: LinesideError) -> LinesideError:
        self._dropped(reason, str(error))
        return error

    def _not_open(self, link: Connection) -> NotKept:
        if self._is_closing:
            return NotKept("the inference service is stopping", remedy="Ask again in a moment", transient=True)
        return NotKept(
            f"the spool {link.target} is not open: {link.detail or 'it is being opened'}",
            remedy="See connection spool in /readyz",
            transient=True,
        )

    def _dropped(self, reason: str, why: str, count: int = 1) -> None:
        """Count what is lost, and say it: the first of a reason, then a sum every so often."""
        self.metrics.dropped(reason, count)
        now = time.monotonic()
        last, silent = self._said.get(reason, (-_SAY_EVERY_S, 0))
        if now - last < _SAY_EVERY_S:
            self._said[reason] = (last, silent + count)
            return
        log.error("evidence was dropped", reason=reason, captures=silent + count, why=why)
        self._said[reason] = (now, 0)
