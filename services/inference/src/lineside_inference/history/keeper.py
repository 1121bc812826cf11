"""The queue between the line and the history: bounded, written in batches by one thread, and said where it fails.

Nothing of the line waits for the disk. What the PLC got is answered once it is written, which takes about a tenth of
a second, so that it comes again where this process is killed; it is answered without where the disk cannot be written
or is slow, and then waits in memory.
"""

import asyncio
import itertools
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from lineside.connections import Connection
from lineside.contract import TRY_STATION, Outcome, utc_now
from lineside.errors import LinesideError
from lineside.service import Service
from lineside.spool.store.clock import Clock, wall_ms
from lineside.threads import hand_over
from lineside_inference.dataplane.judged import Judged
from lineside_inference.history import folder as folders
from lineside_inference.history.columns import Columns, judged_half, told_half
from lineside_inference.history.metrics import HistoryMetrics
from lineside_inference.history.store import Damaged, Halves, Store
from lineside_inference.interpret.thresholds import Thresholds
from lineside_inference.settings.history import HistorySettings

log = structlog.get_logger("lineside.inference.history")

LINGER_S = 0.1
"""How long what the PLC got waits for others, to be written with them."""
RESULT_WAIT_S = 1.0
"""How long what was judged waits for what the PLC got, so that a part is written once."""
WAIT_S = 1.0
"""How long who tells what the PLC got waits for the disk."""
_BATCH = 512
_OPEN_S = 5.0
_CLOSE_S = 5.0
_LOOK_S = 60.0
_SAY_EVERY_S = 10.0


@dataclass(slots=True)
class _Waiting:
    """A part that waits for the disk, since an instant of the monotonic clock; `told_since` since its outcome came."""

    since: float
    told_since: float | None = None
    judged: Columns | None = None
    told: Columns | None = None
    futures: list["asyncio.Future[None]"] = field(default_factory=list)


class HistoryKeeper:
    """Takes parts on the event loop; one thread of its own writes them."""

    def __init__(
        self,
        settings: HistorySettings,
        service: Service,
        *,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self.settings = settings
        self.link: Connection | None = None
        self.metrics: HistoryMetrics | None = None
        self._now_ms = now_ms
        self._store: Store | None = None
        self._condition = threading.Condition()
        self._parts: OrderedDict[str, _Waiting] = OrderedDict()
        self._told_since: float | None = None
        self._in_hand = 0
        self._damaged: list[Path] = []
        self._is_closing = False
        self._is_waited_for = True
        self._opened = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._said: dict[str, tuple[float, int]] = {}
        self._clock = Clock()
        if settings.folder is not None:
            self.link = service.connection("history", str(settings.folder), required=False, longest_s=30.0)
            self.metrics = HistoryMetrics(service.registry)
            self.metrics.waiting.set_function(lambda: len(self._parts) + self._in_hand)
            self._store = Store(settings.folder, max_bytes=settings.max_bytes, days=settings.days)

    @property
    def is_on(self) -> bool:
        """Whether a history is kept here; its disk may be away now."""
        return self.link is not None

    async def start(self) -> None:
        """Begin to write; waits a bounded time for the disk, then the line goes on and the history when it can."""
        if not self.is_on:
            log.info("no history of the parts is kept", remedy="give inference.history.folder, on a local disk")
            return
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="history", daemon=True)
        self._thread.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_OPEN_S):
                await self._opened.wait()

    def judged(self, judged: Judged, in_force: Thresholds | None) -> None:
        """Take what a part was judged; never waits."""
        request = judged.request
        if self.is_on and request.context.station != TRY_STATION:
            self._put(request.id, judged_half(judged, in_force, utc_now()), None, None)

    async def conclude(self, outcome: Outcome) -> None:
        """Take what the PLC got for a part; return once it is written, or after a bounded time where that takes long.

        The same outcome again changes nothing.
        """
        if not self.is_on or self._is_closing:
            return
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._put(outcome.request_id, None, told_half(outcome), written) or not self._is_waited_for:
            self._count("unwaited")
            return
        await asyncio.wait((written,), timeout=WAIT_S)
        if not written.done():
            self._is_waited_for = False
            self._count("unwaited")
            self._say("unwaited", "the history's disk is slow: parts are acknowledged before they are written")

    def report_damage(self, path: Path) -> None:
        """Have a file set aside that a reader found damaged."""
        with self._condition:
            if path not in self._damaged:
                self._damaged.append(path)
            self._condition.notify()

    async def close(self) -> None:
        """Write what waits, for a bounded time."""
        with self._condition:
            self._is_closing = True
            self._condition.notify()
        thread = self._thread
        if thread is not None:
            await asyncio.to_thread(thread.join, _CLOSE_S)
        if lost := len(self._parts) + self._in_hand:
            log.error("parts are not in the history: it could not be written before the stop", parts=lost)

    # On the loop.

    def _put(
        self, request_id: str, judged: Columns | None, told: Columns | None, written: "asyncio.Future[None] | None"
    ) -> bool:
        now = time.monotonic()
        with self._condition:
            part = self._parts.get(request_id)
            if part is None:
                if len(self._parts) + self._in_hand >= self.settings.queue:
                    self._lost("queue_full", f"{self.settings.queue} parts wait for the disk (inference.history.queue)")
                    return False
                part = self._parts[request_id] = _Waiting(now)
            self._add(part, judged, told, now)
            if written is not None:
                part.futures.append(written)
            self._condition.notify()
        return True

    def _add(self, part: _Waiting, judged: Columns | None, told: Columns | None, now: float) -> None:
        """Add a half to a part that waits; the first of each counts."""
        if judged is not None and part.judged is None:
            part.judged = judged
        if told is None:
            return
        if part.told is None:
            part.told, part.told_since = told, now
            self._told_since = now if self._told_since is None else self._told_since
        else:
            self._count("repeated" if part.told["mark"] == told["mark"] else "conflicting")

    # In the thread.

    def _work(self) -> None:
        """Write for ever; whatever fails is said, and tried again."""
        failures = 0
        looked = -_LOOK_S
        while True:
            try:
                parts = self._take(until=looked + _LOOK_S)
                if parts is None:
                    break
                self._work_once(parts)
                if time.monotonic() - looked >= _LOOK_S:
                    looked = time.monotonic()
                    self._look()
                failures = 0
            except Exception as error:  # noqa: BLE001 - whatever it is: the line goes on without its history
                failures += 1
                self._failed(error)
                if self._is_closing:
                    break
        if self._store is not None:
            with suppress(Exception):
                self._store.close()

    def _work_once(self, parts: "OrderedDict[str, _Waiting]") -> None:
        store, link = self._store, self.link
        if store is None or link is None:
            return
        try:
            while self._damaged:
                self._set_aside(store, self._damaged[0], "a reader found it damaged")
                self._damaged.pop(0)
            fates = self._write(store, parts)
        except Damaged as damage:
            self._back(parts)
            self._set_aside(store, damage.path, str(damage))
            self._hand_over(self._opened.set)
            return
        except BaseException:
            self._back(parts)
            raise
        self._in_hand = 0
        for fate, count in Counter(fates).items():
            self._count(fate, count)
        if "conflicting" in fates:
            self._say("conflicting", "a second outcome of one request differs from the first, which stands")
        self._is_waited_for = True
        if not link.is_online:
            link.online(self._remark())
        self._release([future for part in parts.values() for future in part.futures])
        self._hand_over(self._opened.set)

    def _write(self, store: Store, parts: "OrderedDict[str, _Waiting]") -> list[str]:
        """Write a batch; where one part of it cannot be written at all, the others are."""
        halves = [Halves(request_id, part.judged, part.told) for request_id, part in parts.items()]
        try:
            return list(store.write(halves, self._now_ms()))
        except (ValueError, TypeError, OverflowError) as error:
            log.exception("a batch of the history has a part that cannot be written", error=repr(error))
        fates: list[str] = []
        for one in halves:
            try:
                fates += store.write([one], self._now_ms())
            except (ValueError, TypeError, OverflowError) as error:
                log.error("a part cannot be written", request_id=one.request_id, error=repr(error))  # noqa: TRY400 - said above
                fates.append("unwritable")
        return fates

    def _take(self, *, until: float) -> "OrderedDict[str, _Waiting] | None":
        """Return what is due, after waiting for it until an instant at most; None where all is done at the end."""
        with self._condition:
            while True:
                now = time.monotonic()
                due = self._due(now)
                if due or self._damaged or (now >= until and not self._is_closing):
                    taken = OrderedDict((request_id, self._parts.pop(request_id)) for request_id in due)
                    self._in_hand = len(taken)
                    self._told_since = min(
                        (part.told_since for part in self._parts.values() if part.told_since is not None), default=None
                    )
                    return taken
                if self._is_closing:
                    return None
                self._condition.wait(max(0.0, min(until, self._next(now)) - now))

    def _due(self, now: float) -> list[str]:
        """Return whose turn it is: all that the PLC got once the first of them is due, and what waits for none."""
        told = self._told_since
        is_time = self._is_closing or (told is not None and now >= told + LINGER_S)
        due = (
            request_id
            for request_id, part in self._parts.items()
            if (part.told is not None and is_time) or self._is_closing or now >= part.since + RESULT_WAIT_S
        )
        return list(itertools.islice(due, _BATCH))

    def _next(self, now: float) -> float:
        oldest = next((part.since for part in self._parts.values()), now + _LOOK_S)
        told = self._told_since
        return min(oldest + RESULT_WAIT_S, now + _LOOK_S if told is None else told + LINGER_S)

    def _back(self, parts: "OrderedDict[str, _Waiting]") -> None:
        """Put parts that were not written back to where they were."""
        with self._condition:
            for request_id, part in reversed(parts.items()):
                newer = self._parts.get(request_id)
                if newer is not None:
                    part.judged = part.judged or newer.judged
                    part.told, part.told_since = part.told or newer.told, part.told_since or newer.told_since
                    part.futures += newer.futures
                self._parts[request_id] = part
                self._parts.move_to_end(request_id, last=False)
            self._in_hand = 0
            if parts:
                self._told_since = min(
                    (part.told_since for part in self._parts.values() if part.told_since is not None), default=None
                )

    def _failed(self, error: Exception) -> None:
        """Say that the disk cannot be written, let go of who waits for it, and wait until it is tried again."""
        if isinstance(error, LinesideError | OSError) or type(error).__module__ == "sqlite3":
            why = str(error)
        else:
            log.error("the history failed in a way that nobody foresaw", exc_info=error)
            why = repr(error)
        self._is_waited_for = False
        with self._condition:
            futures = [future for part in self._parts.values() for future in part.futures]
            for part in self._parts.values():
                part.futures = []
        self._release(futures)
        self._hand_over(self._opened.set)
        link = self.link
        if link is None or self._is_closing:
            return
        self._say("failed", f"the history cannot be written: {why}")
        end = time.monotonic() + link.backoff(why)
        with self._condition:
            self._condition.wait_for(self._stopped, max(0.0, end - time.monotonic()))
        link.connecting()

    def _stopped(self) -> bool:
        return self._is_closing

    def _set_aside(self, store: Store, path: Path, why: str) -> None:
        if not path.exists():
            return
        aside = store.set_aside(path, self._now_ms())
        log.error(
            "a file of the history is damaged; it was set aside",
            file=str(aside),
            why=why,
            remedy="its parts are missing from the history; `sqlite3 FILE .recover` may save some",
        )
        self._measure()
        if self.link is not None:
            self.link.online(self._remark())

    def _look(self) -> None:
        """Give up what is too old or too much, and say how much there is."""
        store = self._store
        if store is None:
            return
        for path in store.forget(self._now_ms(), by_age=self._clock.is_trusted()):
            log.info("a file of the history was given up", file=path.name, days=self.settings.days)
        store.add_filter()
        self._measure()

    def _measure(self) -> None:
        folder, metrics = self.settings.folder, self.metrics
        if folder is not None and metrics is not None:
            aside = folders.damaged(folder)
            metrics.damaged.set(len(aside))
            used = sum(file.bytes for file in folders.files(folder)) + sum(map(folders.damaged_bytes, aside))
            metrics.bytes.set(used)

    def _remark(self) -> str:
        """Return what a person should know of a history that works."""
        folder = self.settings.folder
        aside = [path.name for path in folders.damaged(folder)] if folder is not None else []
        return f"set aside as damaged: {', '.join(aside)}"[:500] if aside else ""

    # In either.

    def _release(self, futures: "list[asyncio.Future[None]]") -> None:
        def release() -> None:
            for future in futures:
                if not future.done():
                    future.set_result(None)

        if futures:
            self._hand_over(release)

    def _hand_over(self, call: Callable[[], object]) -> None:
        if self._loop is not None:
            hand_over(self._loop, call)

    def _count(self, kind: str, by: int = 1) -> None:
        if self.metrics is not None:
            self.metrics.count(kind, by)

    def _lost(self, kind: str, why: str) -> None:
        self._count(kind)
        self._say(kind, f"a part is not in the history: {why}")

    def _say(self, kind: str, what: str) -> None:
        """Say something once, then how often it was every so often."""
        now = time.monotonic()
        last, silent = self._said.get(kind, (-_SAY_EVERY_S, 0))
        if now - last < _SAY_EVERY_S:
            self._said[kind] = (last, silent + 1)
            return
        log.error(what, times=silent + 1)
        self._said[kind] = (now, 0)
