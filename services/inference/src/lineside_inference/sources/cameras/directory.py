"""A camera that writes its images into a folder: the newest file that is complete.

A file is complete when its own format says so (a JPEG's end marker, a PNG's last chunk with its checksum); the others,
whose headers only announce their size, when they did not change between two listings. Files are never moved or
deleted. The instant of a frame is the file's modification time.
"""

import fnmatch
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from lineside.connections import Connection
from lineside_inference.errors import CameraFailed, ImageTooLarge, ImageTruncated, ImageUndecodable
from lineside_inference.imaging.image_headers import check_whole, read_header
from lineside_inference.imaging.pixel_formats.layout import Layout
from lineside_inference.settings import CameraSettings
from lineside_inference.sources import Frame
from lineside_inference.sources.cameras.threaded import ThreadedCamera

log = structlog.get_logger("lineside.inference.camera")

_GRAIN_NS = 20_000_000
"""A file's time comes from a clock that steps: it may be up to so much older than the instant of writing."""
_MAX_AHEAD_NS = 60_000_000_000
"""A file whose time is further in the future would be the newest for so long."""
_END_IS_MARKED = frozenset({"jpeg", "png"})
_UNFINISHED = (".tmp", ".part", ".partial", ".filepart", "~")


@dataclass(frozen=True, order=True)
class Entry:
    """A file as one listing of the folder shows it; the newest sorts last."""

    mtime_ns: int
    name: str
    size: int


class DirectoryCamera(ThreadedCamera):
    """Lists its folder every `poll_ms`, in a thread: a network folder may hang."""

    def __init__(
        self,
        name: str,
        settings: CameraSettings,
        connection: Connection,
        *,
        max_bytes: int,
        layout: Layout | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(name, settings, connection)
        self._folder = settings.path or Path()
        self._max_bytes = max_bytes
        self._layout = layout
        self._now_ns = now_ns
        self._since_ns = now_ns() - _GRAIN_NS if settings.since == "start" else 0
        self._taken: Entry | None = None
        self._useless: set[Entry] = set()

    def read(self, stop: threading.Event) -> Iterator[Frame | None]:
        """Yield the newest complete file, each once."""
        seen: dict[str, Entry] = {}
        while not stop.is_set():
            self._follow_clock(self._now_ns())
            newer = [entry for entry in self._look() if self._taken is None or entry > self._taken]
            yield self._newest_whole(newer, seen)
            seen = {entry.name: entry for entry in newer}
            stop.wait(self.settings.poll_ms / 1000)

    def _follow_clock(self, now_ns: int) -> None:
        """Forget instants in the future, left by a clock that was set back: no file would be newer than those."""
        self._since_ns = min(self._since_ns, now_ns)
        if self._taken is not None and self._taken.mtime_ns > now_ns + _MAX_AHEAD_NS:
            self._taken = None

    def _look(self) -> list[Entry]:
        """Return the folder's image files, the newest first; raises CameraFailed where there are too many entries."""
        found: list[Entry] = []
        try:
            with os.scandir(self._folder) as entries:
                for count, entry in enumerate(entries, start=1):
                    if count > self.settings.most_files:
                        raise CameraFailed(
                            f"its folder has more than {self.settings.most_files} entries",
                            remedy="Move old images away, or raise most_files",
                        )
                    if not self._is_wanted(entry.name):
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if stat.S_ISREG(status.st_mode) and status.st_mtime_ns >= self._since_ns:
                        found.append(Entry(status.st_mtime_ns, entry.name, status.st_size))
        except OSError as error:
            raise CameraFailed(f"its folder cannot be read: {error.strerror}") from None
        return sorted(found, reverse=True)

    def _is_wanted(self, name: str) -> bool:
        return (
            not name.startswith(".")
            and not name.lower().endswith(_UNFINISHED)
            and fnmatch.fnmatchcase(name, self.settings.pattern)
        )

    def _newest_whole(self, newer: list[Entry], seen: dict[str, Entry]) -> Frame | None:
        """Return the newest usable file; one that is unusable and no longer changes is not read again."""
        self._useless &= set(newer)
        for entry in newer:
            if entry in self._useless:
                continue
            is_settled = seen.get(entry.name) == entry
            try:
                frame = self._open(entry, is_settled=is_settled)
            except (ImageTooLarge, ImageTruncated, ImageUndecodable) as error:
                if is_settled:
                    self._useless.add(entry)
                    self.frames["refused"] += 1
                    log.warning("an image cannot be used", camera=self.name, file=entry.name, reason=error.what)
                continue
            if frame is not None:
                self._taken = entry
                return frame
        return None

    def _open(self, entry: Entry, *, is_settled: bool) -> Frame | None:
        """Return a whole file's frame, or None where it changes; raises ImageTooLarge, -Truncated or -Undecodable."""
        if entry.size > self._max_bytes:
            raise ImageTooLarge(f"it has {entry.size} bytes; at most {self._max_bytes} are allowed")
        if entry.mtime_ns > self._now_ns() + _MAX_AHEAD_NS:
            raise ImageUndecodable("its time is in the future: see the clock of whoever writes it")
        try:
            descriptor = os.open(self._folder / entry.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None  # deleted meanwhile, or not readable: the next listing shows it
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(self._max_bytes + 1)
            status = os.fstat(descriptor)
        if (status.st_mtime_ns, status.st_size) != (entry.mtime_ns, len(data)):
            return None  # written to since it was looked at
        is_end_marked = False
        if self._layout is not None:
            self._layout.check_size(len(data))
        else:
            header = read_header(data)
            check_whole(data, header)
            is_end_marked = header.format in _END_IS_MARKED
        if not is_end_marked and not is_settled:
            return None
        age_s = max(0.0, (self._now_ns() - entry.mtime_ns - _GRAIN_NS) / 1e9)
        return Frame(data, layout=self._layout, clock=time.monotonic() - age_s)
