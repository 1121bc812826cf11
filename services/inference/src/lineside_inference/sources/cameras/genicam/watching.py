"""A camera's stream, watched for a time: what came of it and how evenly, and what this machine lost on its way."""

import time
from collections.abc import Mapping, Sequence
from itertools import pairwise

from lineside_inference.sources.cameras.genicam.advice import Seen, Way
from lineside_inference.sources.cameras.genicam.camera import trigger_features
from lineside_inference.sources.cameras.genicam.device import Device
from lineside_inference.sources.cameras.genicam.features import Value
from lineside_inference.sources.cameras.genicam.way import interface_of, look, since

_LOOK_S = 0.1
_FIRST_S = 5.0
_P99 = 0.99


def watch(device: Device, features: Mapping[str, Value], seconds: float) -> tuple[Seen, Way]:
    """Let the camera send by itself and make an image of each frame, as the service does, for so many seconds.

    The first frame is not counted. Ends early where control is lost. Raises CameraFailed where the camera refuses a
    feature, or sends no image.
    """
    device.apply({**features, **trigger_features(device, None)})
    device.start()
    channel = device.channel()
    interface = interface_of(channel.host) if channel else None
    _await_first(device, min(seconds, _FIRST_S))
    before, began_at, started = look(channel, interface), device.counts(), time.monotonic()
    clocks: list[float] = []
    has_control = True
    while has_control and (left := started + seconds - time.monotonic()) > 0:
        taken = device.take(min(_LOOK_S, left))
        if taken is not None:
            clocks.append(taken.clock)
        has_control = device.has_control()
    took, counts = time.monotonic() - started, device.counts().since(began_at)
    p50, p99, longest = intervals(clocks)
    seen = Seen(
        seconds=took,
        frames=len(clocks),
        is_gige=device.is_gige,
        incomplete=counts.incomplete,
        missing_packets=counts.missing_packets,
        resent_packets=counts.resent_packets,
        received_packets=counts.received_packets,
        underruns=counts.underruns,
        bytes_a_second=counts.bytes / took,
        p50_ms=p50,
        p99_ms=p99,
        longest_ms=longest,
        lost_control=not has_control,
        channel=channel,
    )
    return seen, since(before, look(channel, interface))


def _await_first(device: Device, seconds: float) -> None:
    """Let the first frame go by, whole or not: with it the library gives the socket its receive buffer."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and device.take(_LOOK_S) is None and not device.counts().incomplete:
        pass


def intervals(clocks: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """Return median, 99th percentile and longest of the intervals between instants in seconds, in milliseconds."""
    between = sorted((later - earlier) * 1000 for earlier, later in pairwise(clocks))
    if not between:
        return None, None, None
    last = len(between) - 1
    return between[last // 2], between[min(last, int(_P99 * len(between)))], between[last]
