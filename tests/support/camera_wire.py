"""A network card of the engine's machine with a GigE camera on it: Aravis' fake in a container, on a wire of its own.

The card is a bridge, up as long as the camera is plugged in. What is to read the camera has to be on the card itself,
as docker/compose.gige.yaml and component.sh put it: no other network of the engine leads there.
"""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.compose_project import run

_DOCKERFILE = """\
FROM {base}
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends aravis-tools-cli >/dev/null
ENTRYPOINT ["arv-fake-gv-camera-0.8"]
"""


class CameraWire:
    """The card's name, the cameras' subnet, addresses in it for containers, and the camera's own."""

    def __init__(self, base: str) -> None:
        token = secrets.token_hex(4)
        net = f"198.18.{int(token[:2], 16)}"  # for measurements between networks: RFC 2544
        self.name, self.card = f"lineside-test-{token}-wire", f"gige-{token}"
        self.subnet, self.addresses, self.address = f"{net}.0/24", f"{net}.8/29", f"{net}.50"
        self._camera = f"lineside-test-{token}-gige-camera"
        self._image = _image(base)
        run("docker", "network", "create", "--opt", f"com.docker.network.bridge.name={self.card}", self.name)

    def plug_in(self, network: str) -> None:
        """Put the camera on a network that the engine has on the card, and switch it on."""
        run("docker", "create", "--name", self._camera, "--network", self.name, self._image, "-i", self.address)
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
def camera_wire(base: str) -> Iterator[CameraWire]:
    """Give a wire, with the camera's image of a base image; the camera has to be removed before what is on the card."""
    wire = CameraWire(base)
    try:
        yield wire
    finally:
        wire.remove()


def _image(base: str) -> str:
    name = "lineside-test/gige-camera:1"
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", name, "-"], input=_DOCKERFILE.format(base=base), text=True, check=True
    )
    return name
