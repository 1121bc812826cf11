"""How well a camera's frames come, and what to do where they do not."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lineside_inference.camera_command import common
from lineside_inference.camera_command.common import (
    Camera,
    Config,
    Json,
    check_control,
    conclude,
    is_well,
    settings_of,
    tried,
)

if TYPE_CHECKING:
    from lineside_inference.sources.cameras.genicam.advice import Advice, Seen, Way

_INSTEAD = "Stop the service; while it runs, lineside_inference_camera_transport_total{{camera={!r}}} counts the same"
_MEGABYTE = 1_000_000


def watch(
    camera: Camera,
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="For how long.")] = 60.0,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Let a camera send by itself for a minute, count what is whole and what is missing, and say what to do.

    Exit status 1 where there is something to do, or where another program controls the camera. What was set of the
    trigger is Off afterwards, until the service's next connect.
    """
    from lineside_inference.sources.cameras.genicam.advice import advise  # noqa: PLC0415 - the help is quick without

    sys.stderr.write(f"watching {camera} for {seconds:g} s\n")
    seen, way = tried(lambda: _watched(camera, settings_of(camera, config), seconds, config))
    advice = advise(seen, way)
    conclude(as_data(seen, way, advice), as_lines(seen, way, advice), advice, as_json=as_json)


def as_data(seen: "Seen", way: "Way", advice: "list[Advice]") -> dict[str, Any]:
    """Return what was seen for JSON."""
    told = {**asdict(seen), "frames_a_second": seen.frames_a_second}
    return {"seen": told, "way": asdict(way), "advice": [asdict(each) for each in advice]}


def as_lines(seen: "Seen", way: "Way", advice: "list[Advice]") -> Iterator[str]:
    """Yield what was seen as lines of text, what to do at the end."""
    yield (
        f"frames: {seen.frames} whole ({seen.frames_a_second:.1f} a second), {seen.incomplete} not whole; "
        f"{seen.bytes_a_second / _MEGABYTE:.1f} MB a second"
    )
    yield (
        f"packets: {seen.received_packets} came, at most {seen.missing_packets} are missing, {seen.resent_packets} "
        f"were sent again; {seen.underruns} packets without a free buffer"
    )
    if seen.p50_ms is not None:
        yield (
            f"intervals between whole frames: {seen.p50_ms:.1f} ms usually (median), {seen.p99_ms:.1f} ms p99, "
            f"{seen.longest_ms:.1f} ms the longest"
        )
    if seen.channel is not None:
        yield (
            f"way: packets of {seen.channel.packet_size} bytes with a delay of {seen.channel.packet_delay} ticks, to "
            f"{way.interface or seen.channel.host} (MTU {way.mtu or 'unknown'}), receive buffers of at most "
            f"{way.rmem_max or 'unknown'} bytes for frames of {seen.channel.payload}"
        )
        at_buffer = "unknown" if way.by_packet_socket else way.socket_drops
        yield f"packets dropped: {at_buffer} at the buffer, {way.card_drops} by the card; damaged: {way.card_errors}"
    yield from common.as_lines(advice)
    if is_well(advice):
        yield "nothing to do"


def _watched(camera: str, settings: Any, seconds: float, config: Path | None) -> "tuple[Seen, Way]":
    from lineside_inference.settings import LimitSettings  # noqa: PLC0415 - see above
    from lineside_inference.sources.cameras.genicam import watching  # noqa: PLC0415
    from lineside_inference.sources.cameras.genicam.device import Device  # noqa: PLC0415

    name = settings.device or camera
    most = LimitSettings().pixels
    opened = Device(name, max_pixels=most, significant_bits=settings.significant_bits, controls=False)
    try:
        check_control(opened, name, config, _INSTEAD)
        return watching.watch(opened, settings.features, seconds)
    finally:
        opened.close()
