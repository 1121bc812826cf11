"""A GigE Vision camera in another network: it hears what goes to everybody, and takes the address that it is told."""

import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lineside_bench.gige_camera import gvcp
from tests.support.genicam_fakes import camera_port

MAC = "00:30:53:12:34:56"
_LOOK_S = 0.05


class AstrayCamera:
    """What it is asked and where it is; `refuses` says access denied, `stays` says yes and does not move."""

    def __init__(self, *, refuses: bool = False, stays: bool = False) -> None:
        self.address = ipaddress.IPv4Address("169.254.3.4")
        self.mask, self.gateway = bytes(4), bytes(4)
        self.refuses, self.stays = refuses, stays

    def answer(self, request: gvcp.Request) -> bytes | None:
        """Return what it answers; None where it says nothing."""
        if request.command == gvcp.Command.DISCOVERY:
            payload = bytearray(248)
            payload[10:16] = bytes.fromhex(MAC.replace(":", ""))
            payload[36:40], payload[52:56] = self.address.packed, self.mask
            payload[72:77], payload[104:106], payload[216:218] = b"Maker", b"M1", b"S9"
            return gvcp.ack(request, bytes(payload))
        forced = gvcp.forced_address(request.payload) if request.command == gvcp.Command.FORCEIP else None
        if forced is None or forced[0].hex(":") != MAC:
            return None
        if self.refuses:
            return gvcp.ack(request, status=gvcp.Status.ACCESS_DENIED)
        if not self.stays:
            self.address = ipaddress.IPv4Address(forced[1])
            self.mask, self.gateway = request.payload[36:40], request.payload[52:56]
        return gvcp.ack(request)


@contextmanager
def astray_camera(**options: bool) -> Iterator[AstrayCamera]:
    """Give such a camera, answering."""
    camera, ended = AstrayCamera(**options), threading.Event()
    with camera_port(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        heard.bind(("255.255.255.255", gvcp.PORT))
        heard.settimeout(_LOOK_S)

        def run() -> None:
            while not ended.is_set():
                try:
                    datagram, peer = heard.recvfrom(2048)
                except TimeoutError:
                    continue
                request = gvcp.parse(datagram)
                answer = None if request is None else camera.answer(request)
                if answer is not None:
                    heard.sendto(b"\0\0nonsense", peer)
                    heard.sendto(answer, peer)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield camera
        finally:
            ended.set()
            thread.join()
