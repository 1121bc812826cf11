"""`lineside camera`: which GigE Vision and USB3 Vision cameras answer, what one is, and a picture of it.

What a command needs is imported when it runs, so that the help is quick.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from lineside.errors import LinesideError

app = typer.Typer(help="Find GigE Vision and USB3 Vision cameras, and look at one.", no_args_is_help=True)

Value = TypeVar("Value")
Camera = Annotated[
    str, typer.Argument(metavar="CAMERA", help="Address, MAC, serial, user-defined name, or a name in the settings.")
]
Config = Annotated[Path | None, typer.Option(help="The settings file; else what LINESIDE_CONFIG names.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]

_SHOWN = (
    *("DeviceVendorName", "DeviceModelName", "DeviceSerialNumber", "DeviceID", "DeviceUserID", "DeviceFirmwareVersion"),
    *("PixelFormat", "Width", "Height", "OffsetX", "OffsetY", "ExposureAuto", "ExposureTime", "ExposureTimeAbs"),
    *("GainAuto", "Gain", "GainRaw", "AcquisitionFrameRate", "TriggerMode", "TriggerSource", "GevSCPSPacketSize"),
)
_LOOK_S = 0.02
_SUFFIXES = ("png", "jpg", "bmp")
_FAILED, _WRONG = 1, 2
_SNAP_S = 10.0


@app.command("list")
def list_cameras(as_json: Json = False) -> None:
    """Ask for about a second who is there; exit status 1 where nobody answers."""
    from lineside_inference.sources.cameras.genicam.discovery import discover  # noqa: PLC0415 - see above

    found = _tried(discover)
    if as_json:
        _show(json.dumps([asdict(each) for each in found], indent=2))
    for each in () if as_json else found:
        _show(
            f"{each.address or each.mac}  {each.protocol}  {each.vendor} {each.model}  serial {each.serial}  {each.mac}"
        )
    if not found:
        raise _end(
            "no camera answers: see power and cable, and that this machine has an address in the camera's subnet"
        )


@app.command()
def info(camera: Camera, config: Config = None, as_json: Json = False) -> None:
    """Show what a camera is, who controls it, and its usual features with their bounds; changes nothing."""
    device = _settings(camera, config).device or camera
    described, control = _tried(lambda: _looked_at(device))
    if as_json:
        features = {name: {"value": value, "takes": takes} for name, (value, takes) in described.items()}
        _show(json.dumps({"control": control, "features": features}, indent=2))
        return
    _show(f"control: {control}")
    for name, (value, takes) in described.items():
        _show(f"{name}: {value}   ({takes})")


@app.command()
def snap(
    camera: Camera,
    to: Annotated[Path, typer.Option(help="The file to write, .png, .jpg or .bmp.")] = Path("frame.png"),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Take one whole frame as the service would and write it; refused where another program controls the camera."""
    from lineside_inference.imaging.encode import encode  # noqa: PLC0415 - see above

    suffix = to.suffix.lower().removeprefix(".").replace("jpeg", "jpg")
    if suffix not in _SUFFIXES:
        raise _end(f"--to: {to} must end in {', '.join(_SUFFIXES)}", status=_WRONG)
    settings = _settings(camera, config)
    started = time.monotonic()
    frame = _tried(lambda: asyncio.run(_grabbed(camera, settings)))
    took = round((time.monotonic() - started) * 1000)
    _tried(lambda: to.write_bytes(encode(frame.pixels, suffix)))
    height, width = frame.pixels.shape[:2]
    if as_json:
        _show(json.dumps({"file": str(to), "width": width, "height": height, "ms": took}))
    else:
        _show(f"{to}: {width} x {height} pixels, {took} ms with connecting")


def _settings(camera: str, config: Path | None) -> Any:
    """Return the settings of a camera that is configured by this name, else those of a device that is named so."""
    from lineside.errors import SettingsError  # noqa: PLC0415 - see above
    from lineside.settings import load  # noqa: PLC0415
    from lineside_inference.settings import CameraSettings, Settings  # noqa: PLC0415

    named = CameraSettings(kind="genicam", device=camera, acquisition="free", timeout_ms=_SNAP_S * 1000)
    try:
        own = load(Settings, file=config).inference.cameras
    except SettingsError as error:
        if config is not None:
            raise _end("\n".join(error.problems), status=_WRONG) from None
        return named
    found = own.get(camera, named)
    if found.kind != "genicam":
        raise _end(f"camera {camera!r} is of kind {found.kind}: this command is for kind genicam", status=_WRONG)
    return found


def _looked_at(device: str) -> tuple[dict[str, tuple[Any, str]], str]:
    from lineside_inference.sources.cameras.genicam.device import Device  # noqa: PLC0415 - see above

    opened = Device(device, max_pixels=1, controls=False)
    try:
        control = "free" if opened.has_control() else opened.owner()
        return opened.describe(_SHOWN), control
    finally:
        opened.close()


async def _grabbed(name: str, settings: Any) -> Any:
    from lineside.connections import State  # noqa: PLC0415 - see above
    from lineside.service import Service  # noqa: PLC0415
    from lineside.telemetry import configure  # noqa: PLC0415
    from lineside_inference.deadline import Deadline  # noqa: PLC0415
    from lineside_inference.errors import CameraFailed  # noqa: PLC0415
    from lineside_inference.settings import LimitSettings  # noqa: PLC0415
    from lineside_inference.sources.cameras import Cameras  # noqa: PLC0415

    configure("camera", level="error", style="console")
    limits = LimitSettings()
    cameras = Cameras({name: settings}, Service("camera"), max_bytes=limits.body_bytes, max_pixels=limits.pixels)
    (only,) = cameras
    supervisor = asyncio.create_task(only.supervise(), name="camera snap")
    trigger = time.monotonic()
    grabbing = asyncio.ensure_future(cameras.grab(name, trigger, Deadline(trigger + _SNAP_S)))
    try:
        while not grabbing.done():
            if only.connection.state is State.BACKOFF:  # the first attempt failed: its cause is what is wanted
                raise CameraFailed(only.connection.detail)
            await asyncio.wait((grabbing,), timeout=_LOOK_S)
        return grabbing.result()
    finally:
        grabbing.cancel()
        supervisor.cancel()
        cameras.close()


def _tried(work: Callable[[], Value]) -> Value:
    """Return what the work gives; ends the program with its error in one line."""
    try:
        return work()
    except LinesideError as error:
        raise _end(str(error)) from None
    except OSError as error:
        raise _end(f"cannot be written: {error}") from None


def _show(text: str) -> None:
    """Print what a camera tells of itself without what a terminal would obey."""
    sys.stdout.write("".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text) + "\n")


def _end(why: str, *, status: int = _FAILED) -> typer.Exit:
    sys.stderr.write(f"{why}\n")
    return typer.Exit(status)
