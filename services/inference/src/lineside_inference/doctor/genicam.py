"""Each GenICam camera's short form: found, who controls it, packets and buffer on the way, pixel format, temperature.

It is looked at without taking images and changed in nothing; while the service has it, it is read beside the service.
"""

from dataclasses import dataclass

from lineside.checks import Check, fail, ok, warn
from lineside.errors import LinesideError
from lineside_inference.errors import RequestError
from lineside_inference.imaging.pixel_formats.table import NAMES, find
from lineside_inference.settings import CameraSettings
from lineside_inference.sources.cameras.genicam.device import Device
from lineside_inference.sources.cameras.genicam.vitals import temperature
from lineside_inference.sources.cameras.genicam.way import interface_of, local_address, look

_MOST_USUAL = 9000
"""Bytes of the largest packet that cards and switches usually pass."""
_SMALL = 0.9
_GUIDE = "docs/how-to/connect-a-gige-camera.md"


@dataclass(frozen=True)
class Looked:
    """What was seen of a camera; None where it does not tell, or hangs on USB. `owner` is empty where it is free."""

    model: str = ""
    owner: str = ""
    is_services: bool = False
    interface: str | None = None
    mtu: int | None = None
    packet_size: int | None = None
    payload: int | None = None
    rmem_max: int | None = None
    pixel_format: str | None = None
    temperature: float | None = None
    hot: float = 75.0


def check(label: str, settings: CameraSettings, *, runs: bool) -> Check:
    """Return the check of one camera, `runs`: while the service does; blocks for as long as opening takes."""
    try:
        looked = looked_at(settings, runs=runs)
    except LinesideError as error:
        return fail(label, error.what, error.remedy or "`lineside camera list` shows which cameras answer")
    return judged(label, looked)


def looked_at(settings: CameraSettings, *, runs: bool) -> Looked:
    """Open a camera and return what is seen of it; raises CameraFailed where it is not there."""
    device = Device(settings.device or "", max_pixels=1, controls=False)
    try:
        owner = "" if device.has_control() else device.owner()
        channel, address = device.channel(), device.address()
        own = None if address is None else local_address(address)
        interface = None if own is None else interface_of(own)
        way = look(channel, interface)
        pixel_format = device.read("PixelFormat")
        return Looked(
            model=" ".join(str(device.read(name) or "") for name in ("DeviceVendorName", "DeviceModelName")).strip(),
            owner=owner,
            is_services=runs and (own is None or owner in {f"a program at {own}", "another program"}),
            interface=interface,
            mtu=way.mtu,
            packet_size=channel.packet_size if channel else None,
            payload=channel.payload if channel else None,
            rmem_max=way.rmem_max,
            pixel_format=None if pixel_format is None else str(pixel_format),
            temperature=temperature(device),
            hot=settings.hot_celsius,
        )
    finally:
        device.close()


def judged(label: str, looked: Looked) -> Check:
    """Return what is said of a camera: a fail where no part can be judged with it, a warn where frames may be lost."""
    what = ", ".join(_said(looked))
    if remedy := _stops(looked):
        return fail(label, what, remedy)
    if remedy := _threatens(looked):
        return warn(label, what, remedy)
    best = min(looked.mtu or 0, _MOST_USUAL)
    if looked.packet_size and looked.packet_size < best * _SMALL and looked.interface != "lo":
        return ok(label, f"{what}; packets could have {best} bytes (GevSCPSPacketSize)")
    return ok(label, what)


def _stops(looked: Looked) -> str:
    if looked.owner and not looked.is_services:
        return "stop the other program: a camera has one owner"
    if looked.pixel_format is not None and not _is_known(looked.pixel_format):
        return f"set its PixelFormat (inference.cameras.*.features) to one of {NAMES}"
    return ""


def _threatens(looked: Looked) -> str:
    if looked.packet_size and looked.mtu and looked.packet_size > looked.mtu:
        return f"its packets are larger than {looked.interface} takes: set GevSCPSPacketSize ({_GUIDE})"
    if looked.temperature is not None and looked.temperature > looked.hot:
        return f"it is hotter than {looked.hot:g} °C (hot_celsius): give its housing air or metal"
    if looked.payload and looked.rmem_max and looked.rmem_max < looked.payload:
        return f"a frame of {looked.payload} bytes does not fit: sysctl -w net.core.rmem_max={2 * looked.payload}"
    return ""


def _said(looked: Looked) -> list[str]:
    said = [looked.model] if looked.model else []
    if not looked.owner:
        said.append("control is free")
    elif looked.is_services:
        said.append("the inference service controls it")
    else:
        said.append(f"{looked.owner} controls it")
    if looked.packet_size:
        mtu = f" ({looked.interface} takes {looked.mtu})" if looked.mtu else ""
        said.append(f"packets of {looked.packet_size} bytes{mtu}")
    if looked.rmem_max:
        said.append(f"receive buffers of at most {looked.rmem_max} bytes")
    if looked.pixel_format is not None:
        said.append(looked.pixel_format)
    if looked.temperature is not None:
        said.append(f"{looked.temperature:.0f} °C")
    return said


def _is_known(pixel_format: str) -> bool:
    try:
        find(pixel_format)
    except RequestError:
        return False
    return True
