"""A camera tried in one command, as the service would use it."""

import asyncio
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lineside_inference.camera_command import common
from lineside_inference.camera_command.common import (
    SNAP_S,
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
    from lineside_inference.sources.cameras.genicam.advice import Advice
    from lineside_inference.sources.cameras.genicam.trial import Trial

_INSTEAD = "Stop the service; while it runs, the page's view Health says how camera {!r} does"


def try_camera(
    camera: Camera,
    frames: Annotated[int, typer.Option(min=1, max=10_000, help="How many frames to ask for.")] = 10,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Set a camera as the settings do, take frames by its way of triggering, and say what to do.

    Exit status 1 where there is something to do, or where another program controls the camera.
    """
    from lineside_inference.sources.cameras.genicam.trial import judge  # noqa: PLC0415 - the help is quick without

    sys.stderr.write(f"testing {camera} with {frames} frames\n")
    trial = tried(lambda: _tried(camera, settings_of(camera, config), frames, config))
    advice = judge(trial)
    conclude(as_data(trial, advice), as_lines(trial, advice), advice, as_json=as_json)


def as_data(trial: "Trial", advice: "list[Advice]") -> dict[str, Any]:
    """Return what came for JSON."""
    told = {**asdict(trial), "frames": len(trial.times_ms), "median_ms": trial.median_ms, "jitter_ms": trial.jitter_ms}
    return {"trial": told, "advice": [asdict(each) for each in advice], "is_well": is_well(advice)}


def as_lines(trial: "Trial", advice: "list[Advice]") -> Iterator[str]:
    """Yield what came as lines of text, what to do at the end."""
    yield (
        f"frames: {len(trial.times_ms)} of {trial.asked} came ({trial.acquisition}); {trial.incomplete} were not "
        f"whole, at most {trial.missing_packets} packets are missing, {trial.resent_packets} were sent again"
    )
    if trial.median_ms is not None:
        jitter = "" if trial.jitter_ms is None else f", jitter {trial.jitter_ms:.1f} ms"
        yield f"from asking to a frame: {trial.median_ms:.1f} ms usually, {max(trial.times_ms):.1f} ms at most{jitter}"
    if trial.width is not None:
        packets = f", in packets of {trial.packet_size} bytes" if trial.packet_size else ""
        yield f"image: {trial.width} x {trial.height} pixels, {trial.pixel_format or 'unknown format'}{packets}"
    if trial.light is not None:
        yield (
            f"brightness: {100 * trial.light.mean:.0f} % on average, {100 * trial.light.white:.1f} % of the pixels are "
            f"white, {100 * trial.light.black:.1f} % black"
        )
    if trial.temperature is not None:
        yield f"temperature: {trial.temperature:.0f} °C"
    yield from common.as_lines(advice)
    yield "verdict: well, it can be used" if is_well(advice) else "verdict: see what is to do"


def _tried(camera: str, settings: Any, frames: int, config: Path | None) -> "Trial":
    from lineside_inference.sources.cameras.genicam.device import Device  # noqa: PLC0415 - see above
    from lineside_inference.sources.cameras.genicam.vitals import temperature  # noqa: PLC0415

    name = settings.device or camera
    opened = Device(name, max_pixels=1, controls=False)
    try:
        check_control(opened, name, config, _INSTEAD)
    finally:
        opened.close()
    trial = asyncio.run(_grabbed(camera, settings, frames))
    opened = Device(name, max_pixels=1, controls=False)
    try:
        channel, pixel_format = opened.channel(), opened.read("PixelFormat")
        return replace(
            trial,
            pixel_format=None if pixel_format is None else str(pixel_format),
            packet_size=channel.packet_size if channel else None,
            temperature=temperature(opened),
            hot=settings.hot_celsius,
        )
    finally:
        opened.close()


async def _grabbed(name: str, settings: Any, frames: int) -> "Trial":
    from lineside.errors import LinesideError  # noqa: PLC0415 - see above
    from lineside_inference.camera_command.grabbing import kept, pixels_of  # noqa: PLC0415
    from lineside_inference.sources.cameras.genicam.trial import Trial, light_of  # noqa: PLC0415

    times: list[float] = []
    failures: list[str] = []
    newest = None
    async with kept(name, settings) as held:
        await held.grab(SNAP_S)  # the first: connecting is no part of what is measured
        before = dict(held.camera.transport)
        for _ in range(frames):
            began = time.monotonic()
            try:
                newest = await held.grab(settings.timeout_ms / 1000)
            except LinesideError as error:
                failures.append(error.what)
            else:
                times.append((time.monotonic() - began) * 1000)
        transport = {what: count - before.get(what, 0) for what, count in held.camera.transport.items()}
    pixels = None if newest is None else pixels_of(newest, settings)
    counted = ("incomplete", "missing_packets", "resent_packets", "socket_drops")
    return Trial(
        asked=frames,
        times_ms=tuple(times),
        failures=tuple(failures),
        acquisition=settings.acquisition,
        width=None if pixels is None else int(pixels.shape[1]),
        height=None if pixels is None else int(pixels.shape[0]),
        light=None if pixels is None else light_of(pixels),
        **{name: transport.get(name, 0) for name in counted},
    )
