"""How each camera does: what its counters say of the last minute, and what needs a person, in plain words.

What is lost in a minute is judged by the same shares as the alerts judge in a quarter of an hour.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

from lineside.connections import State
from lineside.contract import utc_now
from lineside_inference.sources.cameras.camera import Camera, look_at

WINDOW_S = 60.0
PERIOD_S = 5.0
_LEAST_INCOMPLETE = 3
_MOST_INCOMPLETE = 0.01
_LEAST_RESENT = 100
_MOST_RESENT = 0.01
_PERCENT = 100
_GUIDE = "docs/how-to/connect-a-gige-camera.md"


@dataclass(frozen=True)
class Sample:
    """A camera's counters at an instant of time.monotonic()."""

    at: float
    frames: int
    incomplete: int = 0
    received_packets: int = 0
    resent_packets: int = 0
    socket_drops: int = 0
    underruns: int = 0
    lost_control: int = 0

    def since(self, before: "Sample") -> "Sample":
        """Return what was counted after another one; `at` is the seconds between them."""
        then = asdict(before)
        return Sample(**{name: max(0, now - then[name]) for name, now in asdict(self).items()})


@dataclass(frozen=True)
class Vital:
    """A camera's last minute: `lately.at` is its seconds, 0 at the start; degrees Celsius, None where it tells none."""

    lately: Sample
    has_transport: bool = False
    temperature: float | None = None
    hot: float = 0.0

    @property
    def frames_a_second(self) -> float | None:
        """Return the rate of whole frames; None where nothing was counted yet."""
        return self.lately.frames / self.lately.at if self.lately.at > 0 else None

    @property
    def incomplete_share(self) -> float | None:
        """Return the share of frames that were not whole; None where it is not counted, or no frame came."""
        return (
            _share(self.lately.incomplete, self.lately.frames + self.lately.incomplete) if self.has_transport else None
        )

    @property
    def resent_share(self) -> float | None:
        """Return the share of packets that were sent again; None where it is not counted, or none came."""
        return _share(self.lately.resent_packets, self.lately.received_packets) if self.has_transport else None


@dataclass(frozen=True)
class Need:
    """One thing that needs a person; `is_bad` where parts are lost by it."""

    what: str
    remedy: str
    is_bad: bool = False


def needs(vital: Vital) -> list[Need]:
    """Return what needs a person, what costs parts first; nothing where all is well."""
    given = [each for rule in RULES if (each := rule(vital)) is not None]
    return sorted(given, key=lambda each: not each.is_bad)


def incomplete(vital: Vital) -> Need | None:
    """Frames are not whole."""
    count, share = vital.lately.incomplete, vital.incomplete_share
    if share is None or count < _LEAST_INCOMPLETE or share <= _MOST_INCOMPLETE:
        return None
    return Need(
        f"{count} frames were not whole in the last minute ({share * _PERCENT:.1f} %), and none of them was judged",
        f"see cable, plugs and switch; when the line stands, `lineside camera watch` says what to set ({_GUIDE})",
        is_bad=True,
    )


def lost_control(vital: Vital) -> Need | None:
    """Control was lost."""
    if not vital.lately.lost_control:
        return None
    times = "once" if vital.lately.lost_control == 1 else f"{vital.lately.lost_control} times"
    return Need(
        f"control of it was lost {times} in the last minute: it did not answer, or another program took it",
        "see its power and cable, and close the maker's viewer",
        is_bad=vital.lately.lost_control > 1,
    )


def socket_drops(vital: Vital) -> Need | None:
    """Packets were dropped in this machine."""
    if not vital.lately.socket_drops:
        return None
    return Need(
        f"{vital.lately.socket_drops} packets were dropped by this machine in the last minute, not by the network",
        f"raise net.core.rmem_max to two frames, else give the service more of the processor ({_GUIDE})",
    )


def underruns(vital: Vital) -> Need | None:
    """Frames come faster than this machine takes them."""
    if not vital.lately.underruns:
        return None
    return Need(
        f"{vital.lately.underruns} packets found no free buffer in the last minute: frames come too fast",
        "let the camera send less (a lower frame rate, a smaller region), or give the service more of the processor",
        is_bad=True,
    )


def resent(vital: Vital) -> Need | None:
    """Many packets are sent again: frames are whole, but later, and soon they will not be."""
    share = vital.resent_share
    if share is None or vital.lately.resent_packets < _LEAST_RESENT or share <= _MOST_RESENT:
        return None
    return Need(
        f"{share * _PERCENT:.1f} % of its packets had to be sent again in the last minute; frames come late by it",
        "see cable, plugs and switch before frames are lost, and whether cameras share one link",
    )


def too_hot(vital: Vital) -> Need | None:
    """It is hotter than it may be."""
    if vital.temperature is None or vital.temperature <= vital.hot:
        return None
    return Need(
        f"it is {vital.temperature:.0f} °C hot, and {vital.hot:g} °C are allowed (hot_celsius)",
        "give its housing air or a metal mount; a hot camera has noisy images, then switches itself off",
        is_bad=False,
    )


RULES: tuple[Callable[[Vital], Need | None], ...] = (
    *(incomplete, lost_control, underruns, socket_drops, too_hot, resent),
)


class CameraHealth:
    """Keeps each camera's counters of the last minute; `watch` runs for the service's whole life."""

    def __init__(self, cameras: Iterable[Camera], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cameras = list(cameras)
        self._clock = clock
        self._samples: dict[str, deque[Sample]] = {camera.name: deque() for camera in self._cameras}

    async def watch(self) -> None:
        """Look at the counters every few seconds."""
        while True:
            self.look()
            await asyncio.sleep(PERIOD_S)

    def look(self) -> None:
        """Take each camera's counters as they are, and forget those from before the last minute."""
        for camera in self._cameras:
            samples = self._samples[camera.name]
            samples.append(sample(camera, self._clock()))
            while len(samples) > 1 and samples[1].at <= samples[-1].at - WINDOW_S:
                samples.popleft()

    def vital(self, camera: Camera) -> Vital:
        """Return a camera's last minute, up to now."""
        samples, now = self._samples[camera.name], sample(camera, self._clock())
        return Vital(
            now.since(samples[0] if samples else now),
            has_transport=bool(camera.transport),
            temperature=camera.temperature,
            hot=camera.settings.hot_celsius,
        )

    def document(self) -> dict[str, object]:
        """Return what GET /v1/cameras answers."""
        return {"now": utc_now(), "cameras": list(self._described())}

    def _described(self) -> Iterator[dict[str, object]]:
        for camera in self._cameras:
            vital, link = self.vital(camera), camera.connection.snapshot()
            is_away = link.state in {State.BACKOFF, State.CONNECTING} and bool(link.detail)  # each try may take seconds
            yield {
                "name": camera.name,
                "kind": camera.settings.kind,
                "target": link.target,
                "state": link.state,
                "since": link.since,
                "required": link.required,
                "detail": link.detail,
                "remedy": look_at(camera.settings) if is_away else "",
                "seconds": vital.lately.at,
                "frames_a_second": vital.frames_a_second,
                "newest_age_s": camera.newest_age_s(),
                "incomplete_share": vital.incomplete_share,
                "resent_share": vital.resent_share,
                "socket_drops": vital.lately.socket_drops,
                "lost_control": vital.lately.lost_control,
                "underruns": vital.lately.underruns,
                "clock_error_s": camera.clock_error_s,
                "temperature_celsius": vital.temperature,
                "hot_celsius": vital.hot,
                "needs": [asdict(each) for each in needs(vital)],
            }


def sample(camera: Camera, at: float) -> Sample:
    """Return a camera's counters."""
    came = sum(count for outcome, count in camera.frames.items() if outcome != "refused")
    names = ("incomplete", "received_packets", "resent_packets", "socket_drops", "underruns", "lost_control")
    return Sample(at, came, **{name: camera.transport[name] for name in names})


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
