"""Which cameras answer in the network and on USB, and which of them a setting means."""

import ipaddress
import threading
from contextlib import suppress
from dataclasses import dataclass

from lineside_inference.errors import CameraFailed
from lineside_inference.sources.cameras.genicam import addressing, gvcp
from lineside_inference.sources.cameras.genicam.library import Aravis, load, text

_lock = threading.Lock()  # the library's list of devices is one for the whole process
_NO_MAC = "00:00:00:00:00:00"


@dataclass(frozen=True)
class Found:
    """One camera as it tells of itself; `mac` is the USB3 Vision GUID where it hangs on USB."""

    vendor: str
    model: str
    serial: str
    mac: str
    address: str
    protocol: str

    def __str__(self) -> str:
        return f"{self.vendor} {self.model}, serial {self.serial}, at {self.address or self.mac}"

    def is_meant(self, device: str) -> bool:
        """Return whether a setting names it by serial, MAC or address."""
        wanted = {device.lower()}
        with suppress(ValueError):  # with dashes, or without anything between
            wanted.add(gvcp.mac_of(device))
        return bool(wanted & ({self.serial.lower(), self.mac.lower(), self.address.lower()} - {"", _NO_MAC}))


def discover() -> list[Found]:
    """Ask who is there, for about a second a kind of interface; raises CameraFailed where the library is not."""
    with _lock:
        return _discover(load())


def choose(found: list[Found], device: str) -> Found | None:
    """Return the camera that a setting means, None where it is none of these by serial, MAC or address.

    Raises CameraFailed where several are meant.
    """
    meant = [each for each in found if each.is_meant(device)]
    if len(meant) > 1:
        raise CameraFailed(
            f"{device!r} is {len(meant)} cameras: {'; '.join(map(str, meant))}", remedy="Name it by its MAC"
        )
    return meant[0] if meant else None


def open_camera(device: str) -> int:
    """Return the library's camera, which the caller has to let go; raises CameraFailed, naming those that are there.

    An address is asked alone, without a search, so that a camera in another subnet is found too. What is neither
    address, serial nor MAC is taken for a user-defined name. Cameras are opened one at a time; an address at which
    nobody answers keeps no other camera waiting.
    """
    aravis = load()
    asked = _address(device)
    if isinstance(asked, ipaddress.IPv4Address) and not addressing.is_there(asked):
        raise _not_opened("nobody answers there")
    with _lock:
        name, found = device, []
        if asked is None:
            found = _discover(aravis)
            chosen = choose(found, device)
            if chosen is None:
                _check_name(device)
            else:
                name = chosen.address or chosen.mac
        try:
            return int(aravis.call("arv_camera_new", name.encode()))
        except CameraFailed as error:
            seen = "; ".join(map(str, found)) or "none"
            raise _not_opened(error.what if asked else f"{error.what}; cameras that answer: {seen}") from None


def _discover(aravis: Aravis) -> list[Found]:
    aravis.call("arv_update_device_list")
    asked = ("vendor", "model", "serial_nbr", "physical_id", "address", "protocol")
    return [
        Found(*(text(aravis.call(f"arv_get_device_{what}", number)) for what in asked))
        for number in range(aravis.call("arv_get_n_devices"))
    ]


def _check_name(name: str) -> None:
    """Raise CameraFailed where several cameras have a user-defined name: the library takes one without a word."""
    heard: list[addressing.Heard] = []
    with suppress(CameraFailed):  # nobody can be asked: the library finds nobody either
        heard = addressing.search(addressing.cards(with_loopback=True))
    named = {each.camera.mac: each.camera for each in heard if each.camera.name == name}
    if len(named) > 1:
        shown = "; ".join(f"{each.mac} at {each.address}" for each in named.values())
        raise CameraFailed(f"{name!r} is the name of {len(named)} cameras: {shown}", remedy="Name it by its MAC")


def _not_opened(why: str) -> CameraFailed:
    return CameraFailed(
        f"it cannot be opened: {why}",
        remedy="See its power, cable and subnet; `lineside camera list` shows what answers",
    )


def _address(device: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(device)
    except ValueError:
        return None
