"""Which cameras answer, what one is, and a picture of it.

What a command needs is imported when it runs, so that the help is quick.
"""

import asyncio
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lineside_inference.camera_command.common import (
    SNAP_S,
    WRONG,
    Camera,
    Config,
    Json,
    end,
    settings_of,
    show,
    tried,
)

_SHOWN = (
    *("DeviceVendorName", "DeviceModelName", "DeviceSerialNumber", "DeviceID", "DeviceUserID", "DeviceFirmwareVersion"),
    *("PixelFormat", "Width", "Height", "OffsetX", "OffsetY", "ExposureAuto", "ExposureTime", "ExposureTimeAbs"),
    *("GainAuto", "Gain", "GainRaw", "AcquisitionFrameRate", "TriggerMode", "TriggerSource", "GevSCPSPacketSize"),
)
_SUFFIXES = ("png", "jpg", "bmp")


def list_cameras(as_json: Json = False) -> None:
    """Ask for about two seconds who is there; exit status 1 where nobody answers.

    Also those whose address is in another network than this machine's, with the command that mends it.
    """
    from lineside_inference.sources.cameras.genicam.discovery import discover  # noqa: PLC0415 - see above

    found = tried(discover)
    astray = _astray()
    elsewhere = {each["mac"] for each in astray}
    found = [each for each in found if each.mac.lower() not in elsewhere]
    if as_json:
        show(json.dumps([*(asdict(each) for each in found), *astray], indent=2))
    for each in () if as_json else found:
        show(
            f"{each.address or each.mac}  {each.protocol}  {each.vendor} {each.model}  serial {each.serial}  {each.mac}"
        )
    for lost in () if as_json else astray:
        show(
            f"{lost['address']}  {lost['protocol']}  {lost['vendor']} {lost['model']}  serial {lost['serial']}  "
            f"{lost['mac']}\n  is not reached: its address is not in {lost['network']} of {lost['interface']}. "
            f"Mend it with an address that nobody has: {lost['mend']}"
        )
    if not found and not astray:
        raise end("no camera answers: see power and cable, and that this machine has an address in the camera's subnet")


def _astray() -> list[dict[str, str]]:
    """Return the cameras that answer a search and are in another network than the card on which they do."""
    from lineside_inference.errors import CameraFailed  # noqa: PLC0415 - see above
    from lineside_inference.sources.cameras.genicam import addressing  # noqa: PLC0415

    try:
        heard = addressing.search(addressing.cards())
    except CameraFailed:  # what can be found without is shown
        return []
    reached = {each.camera.mac for each in heard if each.is_reached}
    taken = {each.camera.address for each in heard}
    shown = []
    for each in heard:
        if each.is_reached or each.camera.mac in reached:
            continue
        address = addressing.proposal(each, taken)
        shown.append(
            {
                **{name: getattr(each.camera, name) for name in ("vendor", "model", "serial", "mac")},
                "address": str(each.camera.address),
                "protocol": "GigEVision",
                "interface": each.card.name,
                "network": str(each.card.address.network),
                "mend": f"lineside camera force-ip {each.camera.mac} {address or 'ADDRESS/PREFIX'}",
            }
        )
    return shown


def info(camera: Camera, config: Config = None, as_json: Json = False) -> None:
    """Show what a camera is, who controls it, and its usual features with their bounds; changes nothing."""
    device = settings_of(camera, config).device or camera
    described, control = tried(lambda: _looked_at(device))
    if as_json:
        features = {name: {"value": value, "takes": takes} for name, (value, takes) in described.items()}
        show(json.dumps({"control": control, "features": features}, indent=2))
        return
    show(f"control: {control}")
    for name, (value, takes) in described.items():
        show(f"{name}: {value}   ({takes})")


def snap(
    camera: Camera,
    to: Annotated[Path, typer.Option(help="The file to write, .png, .jpg or .bmp.")] = Path("frame.png"),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Take one whole frame as the service would and write it; refused where another program controls the camera."""
    from lineside_inference.camera_command.grabbing import pixels_of  # noqa: PLC0415 - see above
    from lineside_inference.imaging.encode import encode  # noqa: PLC0415

    suffix = to.suffix.lower().removeprefix(".").replace("jpeg", "jpg")
    if suffix not in _SUFFIXES:
        raise end(f"--to: {to} must end in {', '.join(_SUFFIXES)}", status=WRONG)
    settings = settings_of(camera, config)
    started = time.monotonic()
    frame = tried(lambda: asyncio.run(_grabbed(camera, settings)))
    took = round((time.monotonic() - started) * 1000)
    pixels = tried(lambda: pixels_of(frame, settings))
    tried(lambda: to.write_bytes(encode(pixels, suffix)))
    height, width = pixels.shape[:2]
    if as_json:
        show(json.dumps({"file": str(to), "width": width, "height": height, "ms": took}))
    else:
        show(f"{to}: {width} x {height} pixels, {took} ms with connecting")


def _looked_at(device: str) -> tuple[dict[str, tuple[Any, str]], str]:
    from lineside_inference.sources.cameras.genicam.device import Device  # noqa: PLC0415 - see above

    opened = Device(device, max_pixels=1, controls=False)
    try:
        control = "free" if opened.has_control() else opened.owner()
        return opened.describe(_SHOWN), control
    finally:
        opened.close()


async def _grabbed(name: str, settings: Any) -> Any:
    from lineside_inference.camera_command.grabbing import kept  # noqa: PLC0415 - see above

    async with kept(name, settings.by_itself()) as held:
        return await held.grab(SNAP_S)
