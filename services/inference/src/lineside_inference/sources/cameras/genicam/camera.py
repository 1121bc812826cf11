"""A GigE Vision or USB3 Vision camera: control of it, its features, and frames by themselves or by software trigger.

Where the line fires the camera, `hardware` gives the frames to the parts.

The reader's thread owns the camera. A frame's clock is the instant at which it began to arrive, less the exposure
time where the camera sends by itself, so that one that was exposed or under way when the part's trigger came is not
taken for a new one. A frame of which packets are missing is never handed
on: another is waited for, or asked for.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator

from lineside.connections import Connection
from lineside_inference.deadline import Deadline
from lineside_inference.errors import CameraFailed, CameraIncomplete, CameraStale
from lineside_inference.settings import CameraSettings
from lineside_inference.sources import Frame
from lineside_inference.sources.cameras.genicam.device import BUFFERS, Counts, Device
from lineside_inference.sources.cameras.genicam.features import Value
from lineside_inference.sources.cameras.genicam.features_loading import set_features
from lineside_inference.sources.cameras.genicam.vitals import Vitals
from lineside_inference.sources.cameras.live import LEAST_SILENCE_S, FrameRate
from lineside_inference.sources.cameras.threaded import ThreadedCamera

_LOOK_S = 0.1
"""How often the reader looks whether it shall end and whether it still has control."""
_COUNTED = ("incomplete", "missing_packets", "resent_packets", "received_packets", "underruns")
_OPENING_S = 30.0
"""Longer than opening takes: the library asks a camera that does not answer six times, and searches for a second."""


def trigger_features(device: Device, source: str | None, activation: str | None = None) -> dict[str, Value]:
    """Return the features by which frames come: by a trigger's source, or by themselves where that is None.

    TriggerMode only where there is one.
    """
    mode: dict[str, Value] = {}
    if device.read("AcquisitionMode") is not None:
        mode["AcquisitionMode"] = "Continuous"
    if "FrameStart" in device.choices("TriggerSelector"):
        mode["TriggerSelector"] = "FrameStart"
    if source is not None:
        edge: dict[str, Value] = {} if activation is None else {"TriggerActivation": activation}
        return {**mode, "TriggerSource": source, **edge, "TriggerMode": "On"}
    return {**mode, "TriggerMode": "Off"} if device.read("TriggerMode") is not None else mode


class _Wish:
    """The newest trigger for which a frame is wanted, and until when: set by `grab`, read by the reader's thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._trigger = self._until = float("-inf")

    def want(self, trigger: float, until: float) -> None:
        """Wish for a frame not older than `trigger`, until an instant; both of time.monotonic()."""
        with self._changed:
            self._trigger = max(self._trigger, trigger)
            self._until = max(self._until, until)
            self._changed.notify()

    def is_open(self, newest: float) -> bool:
        """Return whether a frame newer than `newest` is still wanted."""
        with self._changed:
            return self._is_open(newest)

    def wait(self, newest: float, seconds: float) -> bool:
        """Return whether one is wanted, once it is, or after so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_open(newest), seconds)

    def _is_open(self, newest: float) -> bool:
        return newest < self._trigger and time.monotonic() < self._until


class GenicamCamera(ThreadedCamera):
    """Keeps control of one camera, and takes it again after each loss."""

    def __init__(self, name: str, settings: CameraSettings, connection: Connection, *, max_pixels: int) -> None:
        super().__init__(name, settings, connection)
        self._max_pixels = max_pixels
        self._wish = _Wish()
        self._seen = Counts()
        self._received = 0
        self.transport.update(dict.fromkeys((*_COUNTED, "socket_drops", "lost_control"), 0))

    async def grab(self, trigger: float, deadline: Deadline) -> Frame:
        """Return a frame not older than the trigger; raises CameraIncomplete where those that came were not whole."""
        before = Counter(self.transport)
        if self.settings.acquisition == "software":
            oldest = trigger - self.settings.allow_older_ms / 1000
            left = min(self.settings.timeout_ms / 1000, deadline.left())
            self._wish.want(max(oldest, 0.0), time.monotonic() + left)
        try:
            return await super().grab(trigger, deadline)
        except CameraStale as stale:
            incomplete, packets = (self.transport[what] - before[what] for what in ("incomplete", "missing_packets"))
            if not incomplete:
                raise
            raise CameraIncomplete(
                f"camera {self.name!r} sent {incomplete} frames since the trigger, none of them whole: "
                f"at most {packets} packets are missing",
                remedy="See the cable, the switch and the socket buffers (docs/how-to/connect-a-gige-camera.md); "
                f"{stale.what}",
            ) from None

    def read(self, stop: threading.Event) -> Iterator[Frame | None]:
        """Yield frames; raises CameraFailed where the camera is away, somebody else's, or refuses a feature."""
        settings = self.settings
        device = Device(
            settings.device or "",
            max_pixels=self._max_pixels,
            significant_bits=settings.significant_bits,
            keeps_raw=settings.acquisition != "software",
        )
        self._seen = Counts()
        vitals = Vitals(device)
        try:
            set_features(device, settings.features_file, {**settings.features, **self._trigger_features(device)})
            device.send_chunks(settings.chunks)
            device.start(self._buffers)
            yield None
            for frame in self._frames(device, stop):
                yield frame
                if self._lives(frame):
                    self._feel(vitals, is_idle=frame is None or settings.acquisition == "free")
        finally:
            self.temperature = None
            self._count(device)
            device.close()

    @property
    def silence_s(self) -> float:
        """After how many seconds without a sign of life the reader hangs: opening waits for each lost answer."""
        return max(_OPENING_S, super().silence_s)

    def _trigger_features(self, device: Device) -> dict[str, Value]:
        return trigger_features(device, "Software" if self.settings.acquisition == "software" else None)

    @property
    def _buffers(self) -> int:
        """Return for how many frames there is room while the reader is not given the processor."""
        return BUFFERS

    def _frames(self, device: Device, stop: threading.Event) -> Iterator[Frame | None]:
        """Yield frames of a camera that was started, and None for "alive, nothing new"."""
        is_triggered = self.settings.acquisition == "software"
        return self._triggered(device, stop) if is_triggered else self._free(device, stop)

    def _free(self, device: Device, stop: threading.Event) -> Iterator[Frame | None]:
        rate, last = FrameRate(self.settings.most_fps), time.monotonic()
        exposure_s = device.exposure_s()
        quiet_s = max(LEAST_SILENCE_S, self.settings.timeout_ms / 1000)
        while not stop.is_set():
            taken = device.take(_LOOK_S)
            self._look(device)
            if taken is None:
                if time.monotonic() - last > quiet_s:
                    raise CameraFailed(f"it sent no whole frame for {quiet_s:g} s{self._lost()}")
                yield None
                continue
            last = time.monotonic()
            if rate.is_due(last):
                exposed_s = taken.exposure_s()
                yield taken.frame(taken.clock - (exposure_s if exposed_s is None else exposed_s))
            else:
                self.frames["skipped"] += 1
                yield None

    def _triggered(self, device: Device, stop: threading.Event) -> Iterator[Frame | None]:
        newest, warm = float("-inf"), self.settings.warmup_frames
        while not stop.is_set():
            self._look(device)
            if warm <= 0 and not self._wish.wait(newest, _LOOK_S):
                yield None
                continue
            fired = time.monotonic()
            device.fire()
            frame = self._answer(device, stop, fired)
            if frame is not None:
                if warm > 0:  # it is thrown away, and answers nobody
                    warm -= 1
                else:
                    newest = frame.clock
            yield frame

    def _answer(self, device: Device, stop: threading.Event, fired: float) -> Frame | None:
        """Return the frame of the trigger that was given; None where it is not whole.

        One that does not come at all ends the connection: coming late, it would be taken for the next trigger's.
        """
        incomplete = device.counts().incomplete
        while not stop.is_set() and time.monotonic() - fired < self.settings.timeout_ms / 1000:
            taken = device.take(_LOOK_S)
            self._look(device)
            if taken is not None and taken.clock >= fired:
                return taken.frame(taken.clock)
            if device.counts().incomplete > incomplete:
                return None
        if stop.is_set():
            return None
        raise CameraFailed(f"it did not answer the software trigger within {self.settings.timeout_ms:g} ms")

    def _look(self, device: Device) -> None:
        self._count(device)
        if not device.has_control():
            self.transport["lost_control"] += 1
            raise CameraFailed("control of it was lost: it did not answer the heartbeat, or gave control to another")

    def _count(self, device: Device) -> None:
        now = device.counts()
        for what in _COUNTED:
            self.transport[what] += max(0, getattr(now, what) - getattr(self._seen, what))
        self._seen = now

    def _lives(self, frame: Frame | None) -> bool:
        """Return whether the camera may be asked for its vitals: one that sends by itself only while something comes.

        Silent it may be away: each question would wait some 3 s for its answer, and nobody would see the silence.
        """
        received, self._received = self._received, self.transport["received_packets"]
        return self.settings.acquisition != "free" or frame is not None or received != self._received

    def _feel(self, vitals: Vitals, *, is_idle: bool) -> None:
        if vitals.is_due(is_idle=is_idle):
            self.temperature, drops = vitals.read()
            self.transport["socket_drops"] += drops

    def _lost(self) -> str:
        packets = self.transport["missing_packets"]
        return f"; at most {packets} packets are missing since the start" if packets else ""
