"""A camera in another network is heard, and given an address, over loopback."""

import ipaddress
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lineside_inference.errors import CameraFailed
from lineside_inference.sources.cameras.genicam import addressing, discovery, gvcp
from lineside_inference.sources.cameras.genicam.addressing import Card
from lineside_inference.sources.cameras.genicam.device import Device
from tests.support.astray_camera import MAC, astray_camera
from tests.support.genicam_fakes import ADDRESS as CAMERA
from tests.support.genicam_fakes import camera_port, simulated_camera, simulated_cameras
from tests.support.waiting import HANG_S

LOOPBACK = Card("lo", ipaddress.IPv4Interface("127.0.0.1/8"))
ADDRESS = "127.0.0.9/8"


def force_ip(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lineside")), "camera", "force-ip", *words, "--interface", "lo"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_S)


def test_loopback_is_a_card_where_it_is_asked_for() -> None:
    assert LOOPBACK in addressing.cards(with_loopback=True)
    assert "lo" not in {card.name for card in addressing.cards()}


def test_a_camera_elsewhere_is_heard_with_where_it_is() -> None:
    with astray_camera():
        (heard,) = addressing.search([LOOPBACK])
    assert (heard.camera.mac, str(heard.camera.address), heard.camera.serial) == (MAC, "169.254.3.4", "S9")
    assert not heard.is_reached


def test_it_takes_the_address_that_it_is_told_and_is_asked_there() -> None:
    with astray_camera() as camera:
        done = force_ip(MAC.upper().replace(":", "-"), ADDRESS, "--gateway", "127.0.0.2")
        assert done.returncode == 0, done.stderr
        assert "serial S9, is at 127.0.0.9 until its power goes" in done.stdout
        assert (camera.mask, camera.gateway) == (bytes((255, 0, 0, 0)), bytes((127, 0, 0, 2)))
        (heard,) = addressing.search([LOOPBACK])
        assert heard.is_reached


def test_a_camera_that_refuses_stays_or_is_not_there_is_said() -> None:
    for options, said in (
        ({"refuses": True}, "keeps its address: access denied"),
        ({"stays": True}, "acknowledged it, but is still at 169.254.3.4"),
    ):
        with astray_camera(**options):
            done = force_ip(MAC, ADDRESS)
            assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    with camera_port():
        done = force_ip(MAC, ADDRESS)
        assert (done.returncode, "does not answer" in done.stderr) == (1, True), done.stderr


def test_an_address_that_is_none_for_it_is_refused_before_anything_is_sent() -> None:
    for words, said in (
        ((MAC, "192.0.2.300/24"), "192.0.2.300"),
        ((MAC, "203.0.113.9/24"), "no network card of this machine reaches 203.0.113.9"),
        ((MAC, "127.0.0.1/8"), "is this machine's own address"),
        ((MAC, ADDRESS, "--gateway", "10.0.0.1"), "the gateway 10.0.0.1 is not in"),
        (("00:30", ADDRESS), "is no MAC"),
    ):
        done = force_ip(*words)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_the_address_of_another_camera_is_not_given_twice() -> None:
    with astray_camera() as camera:
        camera.address = ipaddress.IPv4Address("127.0.0.9")
        with pytest.raises(CameraFailed, match=f"is the address of the camera {MAC} already"):
            addressing.force("00:30:53:00:00:01", ipaddress.IPv4Interface(ADDRESS), None, [LOOPBACK])


def test_a_simulated_camera_of_the_bench_hears_the_order() -> None:
    with simulated_camera():
        (heard,) = addressing.search([LOOPBACK])
        with pytest.raises(CameraFailed, match=r"acknowledged it, but is still at 127\.0\.0\.1"):
            addressing.force(heard.camera.mac, ipaddress.IPv4Interface(ADDRESS), None, [LOOPBACK])


def test_a_name_that_two_cameras_have_opens_neither() -> None:
    first, second = {"address": CAMERA, "serial": "S1"}, {"address": "127.0.0.2", "serial": "S2"}
    said = r"'left' is the name of 2 cameras: .* at 127\.0\.0\.\d; .* at 127"
    both = ({**first, "user_id": "left"}, {**second, "user_id": "left"})
    with simulated_cameras(*both), pytest.raises(CameraFailed, match=said):
        Device("left", max_pixels=1)
    with simulated_cameras({**first, "user_id": "left"}, {**second, "user_id": "right"}):
        opened = Device("right", max_pixels=1)
        try:
            assert opened.read("DeviceSerialNumber") == "S2"
        finally:
            opened.close()


def test_an_address_at_which_nobody_answers_keeps_no_other_camera_waiting() -> None:
    """A dozen cameras without power shall not keep those that are there from being opened."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with silent, camera_port(), ThreadPoolExecutor() as threads:
        silent.bind(("127.0.0.9", gvcp.PORT))  # it hears, and says nothing; at 127.0.0.8 nobody hears
        with discovery._lock:  # as while another camera is opened
            tries = [threads.submit(discovery.open_camera, address) for address in ("127.0.0.8", "127.0.0.9")]
            said = [str(one.exception(HANG_S)) for one in tries]
        assert [text.partition(".")[0] for text in said] == ["it cannot be opened: nobody answers there"] * 2, said
    with simulated_camera():
        assert addressing.is_there(ipaddress.IPv4Address(CAMERA))
