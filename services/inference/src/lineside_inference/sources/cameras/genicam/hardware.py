"""A camera that the line fires: each frame has its instant by the camera's stamp, and is given to the part of that.

The reader's thread reads the camera's clock twice a second and says when each frame was exposed; the event loop gives
the frames to the requests, by `matching`. A frame whose stamp cannot be true is nobody's.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import structlog

from lineside.connections import Connection
from lineside_inference.deadline import Deadline, Trigger
from lineside_inference.errors import (
    CameraAmbiguous,
    CameraFailed,
    CameraIncomplete,
    CameraStale,
    CameraUnmatched,
    RequestError,
)
from lineside_inference.settings import CameraSettings, HardwareTrigger
from lineside_inference.sources import Frame
from lineside_inference.sources.cameras.camera import look_at
from lineside_inference.sources.cameras.genicam.action import Acknowledged
from lineside_inference.sources.cameras.genicam.camera import GenicamCamera, trigger_features
from lineside_inference.sources.cameras.genicam.clock import DeviceClock, Instant
from lineside_inference.sources.cameras.genicam.device import BUFFERS, Device, Taken
from lineside_inference.sources.cameras.genicam.features import Value
from lineside_inference.sources.cameras.genicam.firing import ActionGroup
from lineside_inference.sources.cameras.genicam.latching import ClockReader, host_clocks
from lineside_inference.sources.cameras.genicam.matching import Answer, Cause, Exposure, Matcher, Rule

log = structlog.get_logger("lineside.inference.camera")

_LOOK_S = 0.02
_LATCH_S = 0.5
_FIRST_LATCHES, _MOST_LATCHES = 5, 20
_BEFORE_IT_CAME_S = 0.005
"""By how much a frame may seem to be exposed after it began to arrive: two clocks of ours are read for that."""
_LONGEST_WAY_S = 30.0
"""From an exposure to the begin of its arrival, the exposure time included."""
_HOW_TO = "docs/how-to/fire-a-camera-by-the-line.md"


@dataclass(frozen=True)
class _Exposed(Frame):
    """A frame whose `clock` is its exposure's, within `error_s`; without pixels where it is not whole."""

    error_s: float = 0.0
    is_whole: bool = True


_CLOCK_WAS_SET = Frame()
"""What the reader yields where stamps from before mean nothing any more."""


class HardwareCamera(GenicamCamera):
    """Gives each part the frame that was exposed for it, or says why there is none."""

    def __init__(
        self,
        name: str,
        settings: CameraSettings,
        connection: Connection,
        *,
        max_pixels: int,
        group: ActionGroup | None = None,
    ) -> None:
        """Make it; `group` are the cameras that are fired with it by the service, where the line does not."""
        super().__init__(name, settings, connection, max_pixels=max_pixels)
        self._hardware = settings.hardware_trigger or HardwareTrigger()
        self._matcher: Matcher[_Exposed] = Matcher(rule_of(self._hardware))
        self._waiting: dict[object, asyncio.Future[Answer[_Exposed]]] = {}
        self.matching = self._matcher.counts
        self.matching["unplaced"] = 0
        self.transport.update({"clock_set": 0, "clock_wrapped": 0, "ptp_lost": 0})
        self._clock: DeviceClock | None = None
        self._group = group
        if group is not None:
            self.transport.update({"action_sent": 0, "action_acknowledged": 0, "action_refused": 0})
            group.tell(name, self._heard)

    async def grab(self, trigger: float, deadline: Deadline) -> Frame:
        """Return a frame that was exposed after the trigger, whichever part it is of; nothing is fired for it."""
        try:
            return await super().grab(trigger, deadline)
        except CameraStale:
            by = "the line" if self._group is None else "an action command of the service"
            raise CameraUnmatched(
                f"camera {self.name!r}: no frame of it came, which {by} has to fire meanwhile",
                remedy=f"See its wiring, and inference.cameras.{self.name}.hardware_trigger ({_HOW_TO})",
            ) from None

    async def grab_for(self, trigger: Trigger, deadline: Deadline) -> Frame:
        """Return the frame that was exposed for the part of this trigger.

        Raises CameraUnmatched, CameraAmbiguous, CameraIncomplete, or CameraFailed where the camera is away.
        """
        at = self._instant_of(trigger)
        if self._group is not None:
            at = self._fire(self._group, at)
        allowed = min(self.settings.timeout_ms / 1000, deadline.left())
        before, part = Counter(self.transport), object()
        answered = self._waiting[part] = asyncio.get_running_loop().create_future()
        try:
            self._tell(self._matcher.ask(part, at, time.monotonic()))
            if not answered.done() and self.connection.away_for() > allowed:
                raise self._is_away()
            async with asyncio.timeout(allowed):
                answer = await answered
        except TimeoutError:
            if not self.connection.is_online:
                raise self._is_away() from None
            raise self._nothing(f"no frame of it within {allowed * 1000:.0f} ms", before) from None
        finally:
            del self._waiting[part]
            self._matcher.give_up(part)
        if answer.exposure is None or answer.exposure.frame is None:
            raise self._refusal(answer.cause, before)
        self.trigger_offset_s = answer.off_s
        frame: Frame = answer.exposure.frame
        return replace(frame, metadata={**frame.metadata, "offsetMs": round(answer.off_s * 1000, 3)})

    def close(self) -> None:
        """Tell the reader to end, and close the socket of actions."""
        super().close()
        if self._group is not None:
            self._group.close()

    def connected(self) -> None:
        """Say that a new connection begins: what came over the one before was stamped by a clock that is not known."""
        super().connected()
        self._matcher.forget()

    def deliver(self, frame: Frame) -> None:
        """Take a frame from the reader, and give it to the part that waits for it."""
        if not isinstance(frame, _Exposed):
            self._matcher.forget()
            return
        if frame.is_whole:
            super().deliver(frame)
            self.clock_error_s = frame.error_s
        exposure = Exposure(frame.clock, frame.error_s, frame if frame.is_whole else None)
        self._tell(self._matcher.expose(exposure, time.monotonic()))

    def idle(self) -> None:
        """Let go of frames that nobody asks for any more."""
        self._matcher.tidy(time.monotonic())

    @property
    def _buffers(self) -> int:
        return max(BUFFERS, self._hardware.most_kept)

    def _trigger_features(self, device: Device) -> dict[str, Value]:
        hardware, action = self._hardware, self._hardware.action
        if action is None:
            return trigger_features(device, hardware.trigger_source, hardware.activation)
        if not device.is_gige:
            raise CameraFailed("action commands are of GigE Vision", remedy="Use acquisition software for it")
        keys = {"Device": action.device_key, "Group": action.group_key}
        return {
            **{f"Action{of}Key": key for of, key in keys.items()},
            "ActionGroupMask": action.group_mask,
            **trigger_features(device, hardware.trigger_source),
        }

    def _frames(self, device: Device, stop: threading.Event) -> Iterator[Frame | None]:
        reader = ClockReader(device)
        if self._hardware.ptp:
            reader.follow_ptp()
        clock = self._clock = DeviceClock(reader.tick_hz)
        newest = float("-inf")
        self._latch(reader, clock)
        self._learn(reader, clock)
        due = time.monotonic() + _LATCH_S
        while not stop.is_set():
            taken = device.take_any(_LOOK_S)
            self._look(device)
            was_set = time.monotonic() >= due and self._latch(reader, clock)
            instant = None if taken is None else _instant(taken, clock, newest)
            if taken is not None and instant is None and not was_set:  # it may be the clock that was set
                was_set = self._latch(reader, clock)
                instant = _instant(taken, clock, float("-inf") if was_set else newest)
            if time.monotonic() >= due or was_set:
                due = time.monotonic() + _LATCH_S
            if was_set:
                newest = float("-inf")
                yield _CLOCK_WAS_SET
            if taken is None:
                yield None
            elif instant is None:
                self._leave(taken)
                yield None
            else:
                newest = instant.clock
                yield _exposed(taken, instant)

    def _latch(self, reader: ClockReader, clock: DeviceClock) -> bool:
        """Read the camera's clock; return whether it was set since."""
        latch = reader.latch()
        if latch is None:
            return False
        had_ptp = clock.has_ptp
        change = clock.add(latch)
        if change == "wrapped":
            self.transport["clock_wrapped"] += 1
        if change == "reset":
            self.transport["clock_set"] += 1
            log.warning("the camera's clock was set: stamps from before mean nothing", camera=self.name)
            self._learn(reader, clock)
        if self._hardware.ptp:
            self._follow_ptp(reader, clock, had_ptp=had_ptp)
        return change == "reset"

    def _learn(self, reader: ClockReader, clock: DeviceClock) -> None:
        """Read a clock of which nothing is known some times more, until it is known well enough for the window."""
        room_s = (self._hardware.apart_ms / 2 - self._hardware.window_ms) / 1000
        for number in range(1, _MOST_LATCHES):
            latch = reader.latch()
            if latch is not None:
                clock.add(latch)
            if number >= _FIRST_LATCHES and clock.shortest_round_trip_s < room_s / 2:
                return

    def _follow_ptp(self, reader: ClockReader, clock: DeviceClock, *, had_ptp: bool) -> None:
        if not reader.is_kept_by_ptp():
            clock.leave_ptp()
            why = "it is no slave of PTP"
        elif clock.keep_by_ptp(*host_clocks()) is None:
            why = "this host's clock and the camera's do not agree"
        else:
            return
        if had_ptp:
            self.transport["ptp_lost"] += 1
            log.warning("the camera's clock is read as without PTP", camera=self.name, reason=why)

    def _leave(self, taken: Taken) -> None:
        """Count a frame that has no instant: its stamp is no time, or of another one."""
        if taken.pixels is None:
            return
        self.matching["unplaced"] += 1
        log.warning("a frame's stamp cannot be true: it is nobody's", camera=self.name, device_ns=taken.device_ns)

    def _fire(self, group: ActionGroup, trigger: float) -> float:
        """Fire the group for a part, unless another of its cameras has; return when it is fired.

        Raises CameraFailed where the camera is away: it would not hear it.
        """
        if not self.connection.is_online:
            raise self._is_away()
        clock = self._clock
        fire, is_new = group.fire(
            self.name,
            trigger,
            apart_s=self._hardware.apart_ms / 1000,
            device_ns=lambda at: None if clock is None else clock.ptp_ns(at),
        )
        self.transport["action_sent"] += is_new
        return fire.at

    def _heard(self, acknowledged: Acknowledged) -> None:
        self.transport["action_refused" if acknowledged.problem else "action_acknowledged"] += 1
        if acknowledged.problem:
            log.warning("a camera did not take an action command", camera=self.name, reason=acknowledged.problem)

    def _tell(self, answers: list[Answer[_Exposed]]) -> None:
        for answer in answers:
            answered = self._waiting.get(answer.part)
            if answered is not None and not answered.done():
                answered.set_result(answer)

    def _instant_of(self, trigger: Trigger) -> float:
        """Return when a part was triggered, as the settings say; raises CameraUnmatched where that is not known."""
        if trigger.is_recovered:
            raise CameraUnmatched(
                f"camera {self.name!r}: the part was found after a gap, and nobody knows when it was triggered",
                remedy="Nothing to do: the next part is judged",
            )
        at = trigger.stamps.get(self._hardware.time)
        if at is None:
            raise CameraUnmatched(
                f"camera {self.name!r}: the request has no time.{self._hardware.time}",
                remedy=f"See inference.cameras.{self.name}.hardware_trigger.time, and {_HOW_TO}",
            )
        return at

    def _refusal(self, cause: Cause | None, before: Counter[str]) -> RequestError:
        window = f"{self._hardware.window_ms:g} ms"
        if cause == "ambiguous":
            return CameraAmbiguous(
                f"camera {self.name!r}: more than one frame or part is within {window} of one another, or closer than "
                f"{self._hardware.apart_ms:g} ms",
                remedy=f"See whether the line bounces or is faster than the settings say ({_HOW_TO})",
            )
        if cause == "inexact":
            return CameraAmbiguous(
                f"camera {self.name!r}: its clock is known to {(self.clock_error_s or 0.0) * 1000:.1f} ms only",
                remedy=f"See the network to it; a smaller window_ms or PTP leaves more room ({_HOW_TO})",
            )
        if cause == "incomplete":
            return self._incomplete("the part's frame is not whole")
        if cause == "forgotten":
            return CameraUnmatched(
                f"camera {self.name!r}: the part's frame was let go before it was asked for",
                remedy=f"Raise inference.cameras.{self.name}.hardware_trigger.keep_ms or most_kept",
            )
        return self._nothing(f"a later frame came, and none within {window} of the part's trigger", before)

    def _nothing(self, what: str, before: Counter[str]) -> RequestError:
        if self.transport["incomplete"] > before["incomplete"]:
            return self._incomplete(what)
        if self.transport["underruns"] > before["underruns"]:
            what += "; frames came for which no buffer was free: this machine is too busy"
        return CameraUnmatched(
            f"camera {self.name!r}: {what}",
            remedy=f"See whether the line fires it; its delay and window: {_HOW_TO}",
        )

    def _incomplete(self, what: str) -> CameraIncomplete:
        return CameraIncomplete(
            f"camera {self.name!r}: {what}; packets are missing",
            remedy="See the cable, the switch and the socket buffers (docs/how-to/connect-a-gige-camera.md)",
        )

    def _is_away(self) -> CameraFailed:
        link = self.connection
        detail = f": {link.detail}" if link.detail else ""
        return CameraFailed(f"camera {self.name!r} is away ({link.state}{detail})", remedy=look_at(self.settings))


def rule_of(settings: HardwareTrigger) -> Rule:
    """Return by which rule frames are given to parts."""
    return Rule(
        delay_s=settings.delay_ms / 1000,
        within_s=settings.window_ms / 1000,
        apart_s=settings.apart_ms / 1000,
        keep_s=settings.keep_ms / 1000,
        most_kept=settings.most_kept,
    )


def _exposed(taken: Taken, instant: Instant) -> _Exposed:
    """Return a frame with its instant, and what is said of it."""
    frame = taken.frame(instant.clock)
    return _Exposed(
        frame.data,
        frame.pixels,
        frame.layout,
        frame.clock,
        {**taken.chunks, "deviceNs": taken.device_ns, "errorMs": round(instant.error_s * 1000, 3)},
        error_s=instant.error_s,
        is_whole=taken.pixels is not None,
    )


def _instant(taken: Taken, clock: DeviceClock, newest: float) -> Instant | None:
    """Return when a frame was exposed; None where its stamp cannot be true.

    It has to be behind the newest frame's, before the frame began to arrive, and not long before that.
    """
    instant = clock.at(taken.device_ns)
    if instant is None or instant.clock <= newest:
        return None
    is_before_it_came = instant.clock - instant.error_s <= taken.clock + _BEFORE_IT_CAME_S
    return instant if is_before_it_came and instant.clock >= taken.clock - _LONGEST_WAY_S else None
