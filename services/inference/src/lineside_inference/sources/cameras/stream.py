"""A camera through OpenCV: RTSP, V4L2, or a video file in a loop; the newest frame is kept as pixels."""

import os
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote, urlsplit, urlunsplit

import cv2
import numpy as np

from lineside.connections import Connection
from lineside_inference.errors import CameraFailed
from lineside_inference.settings import CameraSettings
from lineside_inference.sources import Frame
from lineside_inference.sources.cameras.camera import look_at
from lineside_inference.sources.cameras.live import FrameRate
from lineside_inference.sources.cameras.threaded import ThreadedCamera
from lineside_inference.sources.credentials import Credentials

# FFmpeg prints nothing: its errors are the connection's state, and its lines may hold an address with the password.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

_DEVICE = "/dev/"
_FILE_FPS = 25.0  # of a file that does not say
_MAX_MISSES = 3  # reads without an image, one after another


class StreamCamera(ThreadedCamera):
    """Reads all the time, so that no old frame waits in a buffer; decodes what it keeps."""

    def __init__(
        self,
        name: str,
        settings: CameraSettings,
        connection: Connection,
        *,
        credentials: Credentials | None,
        max_pixels: int,
    ) -> None:
        super().__init__(name, settings, connection)
        self._credentials = credentials
        self._max_pixels = max_pixels

    def read(self, stop: threading.Event) -> Iterator[Frame | None]:
        """Yield the stream's frames; a file begins again at its end, at its own speed."""
        capture = self._open()
        try:
            period = self._period(capture)
            rate, due, misses = FrameRate(self.settings.most_fps), time.monotonic(), 0
            while not stop.is_set():
                if not capture.grab():
                    misses += 1
                    if period is None or misses >= _MAX_MISSES or not capture.set(cv2.CAP_PROP_POS_FRAMES, 0):
                        raise CameraFailed("it gives no more frames")
                    continue
                clock = time.monotonic()
                if rate.is_due(clock):
                    yield self._retrieve(capture, clock)
                else:
                    self.frames["skipped"] += 1
                    yield None
                misses = 0
                if period is not None:
                    due = max(due + period, clock)
                    stop.wait(max(0.0, due - time.monotonic()))
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        wait = round(self.silence_s * 1000)
        path = self.settings.path
        if path is not None and str(path).startswith(_DEVICE):
            capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        elif path is not None:
            capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        else:
            bounds = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, wait, cv2.CAP_PROP_READ_TIMEOUT_MSEC, wait]
            capture = cv2.VideoCapture(self._address(), cv2.CAP_FFMPEG, bounds)
        if not capture.isOpened():
            capture.release()
            raise CameraFailed("it cannot be opened", remedy=look_at(self.settings))
        width, height = (capture.get(name) for name in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self._check_size(round(width), round(height))
        return capture

    def _address(self) -> str:
        """Return the address with the password in it, as FFmpeg wants it; it is never shown."""
        url = self.settings.url or ""
        if self._credentials is None:
            return url
        parts = urlsplit(url)
        user, password = (quote(text, safe="") for text in (self._credentials.username, self._credentials.password))
        return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc}"))

    def _period(self, capture: cv2.VideoCapture) -> float | None:
        """Return the seconds between two frames of a file, or None for what comes at its own pace."""
        path = self.settings.path
        if path is None or str(path).startswith(_DEVICE):
            return None
        fps = capture.get(cv2.CAP_PROP_FPS)
        return 1 / (fps if np.isfinite(fps) and fps > 0 else _FILE_FPS)

    def _retrieve(self, capture: cv2.VideoCapture, clock: float) -> Frame | None:
        is_there, pixels = capture.retrieve()
        if not is_there or pixels.dtype != np.uint8:
            self.frames["refused"] += 1
            return None
        if pixels.ndim == 2:  # noqa: PLR2004 - height x width
            pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
        self._check_size(pixels.shape[1], pixels.shape[0])
        return Frame(pixels=pixels, clock=clock)  # type: ignore[arg-type]  # the dtype was looked at above

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise CameraFailed(
                f"it sends {width} x {height} pixels",
                remedy=f"At most {self._max_pixels} are allowed (inference.limits.pixels)",
            )
