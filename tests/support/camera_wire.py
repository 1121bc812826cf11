"""A network card of the engine's machine with a GigE camera on it: the bench's, in a container, on a wire of its own.

The card is a bridge, up as long as the camera is plugged in. What is to read the camera has to be on the card itself,
as docker/compose.gige.yaml and component.sh put it: no other network of the engine leads there.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.compose_project import run

PROGRAM = """
import sys, threading
from lineside_bench.gige_camera.camera import GigeCamera
from lineside_bench.parts.part import make_part
good, scratched = (make_part(7, 3, label=label).image for label in ("good", "scratch"))
with GigeCamera(lambda number, _trigger: scratched if number % 2 else good, address=sys.argv[1], pixel_format="RGB8"):
    threading.Event().wait()
"""
"""Each second part that it sees is scratched."""


class CameraWire:
    """The card's name, the cameras' subnet, addresses in it for containers, and the camera's own."""

    def __init__(self, image: str) -> None:
        token = secrets.token_hex(4)
        net = f"198.18.{int(token[:2], 16)}"  # for measurements between networks: RFC 2544
        self.name, self.card = f"lineside-test-{token}-wire", f"gige-{token}"
        self.subnet, self.addresses, self.address = f"{net}.0/24", f"{net}.8/29", f"{net}.50"
        self._camera = f"lineside-test-{token}-gige-camera"
        self._image = image
        run("docker", "network", "create", "--opt", f"com.docker.network.bridge.name={self.card}", self.name)

    def plug_in(self, network: str) -> None:
        """Put the camera on a network that the engine has on the card, and switch it on."""
        how = ("--name", self._camera, "--network", self.name, "--entrypoint", "python", self._image)
        run("docker", "create", *how, "-u", "-c", PROGRAM, self.address)
        run("docker", "network", "connect", "--ip", self.address, network, self._camera)
        self.switch_on()

    def switch_on(self) -> None:
        run("docker", "start", self._camera)

    def switch_off(self) -> None:
        run("docker", "kill", self._camera)

    def remove_camera(self) -> None:
        run("docker", "rm", "--force", self._camera, check=False)

    def remove(self) -> None:
        self.remove_camera()
        run("docker", "network", "rm", self.name)


@contextmanager
def camera_wire(image: str) -> Iterator[CameraWire]:
    """Give a wire; `image` has the bench. The camera has to be removed before a network that is on the card."""
    wire = CameraWire(image)
    try:
        yield wire
    finally:
        wire.remove()
