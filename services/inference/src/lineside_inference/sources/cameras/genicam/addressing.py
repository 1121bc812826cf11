"""Which cameras hang on which network card, whether this machine reaches them, and giving one an address.

A camera whose address is in another network than the card's answers a search that goes to everybody, and nothing else.
"""

import fcntl
import ipaddress
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from lineside_inference.errors import CameraFailed
from lineside_inference.sources.cameras.genicam import gvcp

_SIOCGIFFLAGS, _SIOCGIFADDR, _SIOCGIFNETMASK = 0x8913, 0x8915, 0x891B
_UP, _LOOPBACK = 0x1, 0x8
_NAME_BYTES = 15
_EVERYBODY = "255.255.255.255"
_SEARCH_S = 0.7
_FORCE_S = 2.0
_MOVE_S = 5.0
_PROBES, _PROBE_S = 5, 0.5
_MOST_ANSWERS = 1000
_FIRST_HOST = 100
"""Below it are routers and machines, usually."""
_LEAST_BITS, _MOST_BITS = 1, 30


@dataclass(frozen=True)
class Card:
    """A network card that is up, with its first address."""

    name: str
    address: ipaddress.IPv4Interface


@dataclass(frozen=True)
class Heard:
    """A camera that answered a search, and on which card."""

    camera: gvcp.Seen
    card: Card

    @property
    def is_reached(self) -> bool:
        """Return whether its address is in the card's network, or it is a simulated one of this machine."""
        return self.camera.address in self.card.address.network or self.camera.address.is_loopback


def cards(*, with_loopback: bool = False) -> list[Card]:
    """Return the cards that are up and have an address."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            packed = struct.pack("256s", name.encode()[:_NAME_BYTES])
            try:
                (flags,) = struct.unpack_from("h", fcntl.ioctl(asking, _SIOCGIFFLAGS, packed), 16)
                address, mask = (
                    socket.inet_ntoa(fcntl.ioctl(asking, what, packed)[20:24])
                    for what in (_SIOCGIFADDR, _SIOCGIFNETMASK)
                )
            except OSError:  # it has no address
                continue
            if flags & _UP and (with_loopback or not flags & _LOOPBACK):
                found.append(Card(name, ipaddress.IPv4Interface(f"{address}/{mask}")))
    return found


def search(own: Iterable[Card]) -> list[Heard]:
    """Return who answers on which card, within some 0.7 s; a card on which nothing can be sent hears nobody."""
    number = _number()
    heard: dict[tuple[str, str], Heard] = {}
    with _Cards(own) as sockets:
        sockets.send(gvcp.search(number))
        for card, answer in sockets.answers(_SEARCH_S):
            if answer.command == gvcp.DISCOVERY and answer.number == number and answer.status == 0:
                camera = gvcp.seen(answer.payload)
                if camera is not None:
                    heard.setdefault((camera.mac, card.name), Heard(camera, card))
    return list(heard.values())


def is_there(address: ipaddress.IPv4Address) -> bool:
    """Return whether a camera answers at an address, within 2.5 s; nobody's control of it is touched."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(_PROBE_S)
        for _ in range(_PROBES):
            number, until = _number(), time.monotonic() + _PROBE_S
            try:
                asking.connect((str(address), gvcp.PORT))
                asking.send(gvcp.read(number, gvcp.VERSION))
                while time.monotonic() < until:
                    answer = gvcp.parse(asking.recv(gvcp.MOST_BYTES))
                    if answer is not None and answer.command == gvcp.READREG:  # of an earlier question is as good
                        return True
            except OSError:  # nothing came in time, nobody listens there, or there is no way to it
                continue
    return False


def wrong(address: ipaddress.IPv4Interface, gateway: ipaddress.IPv4Address | None, own: Iterable[Card]) -> str:
    """Return what is wrong with an address that a camera shall take; empty where nothing is."""
    network = address.network
    if not _LEAST_BITS <= network.prefixlen <= _MOST_BITS:
        return f"{address} must have a prefix of {_LEAST_BITS} to {_MOST_BITS}, such as 192.0.2.20/24"
    if address.ip in {network.network_address, network.broadcast_address} or address.ip.is_multicast:
        return f"{address.ip} is the address of nobody in {network}"
    if gateway is not None and (gateway not in network or gateway == address.ip):
        return f"the gateway {gateway} is not in {network}, or is the camera itself"
    cards_of_it = [card for card in own if address.ip in card.address.network]
    if not cards_of_it:
        there = ", ".join(f"{card.name} {card.address}" for card in own) or "none"
        return f"no network card of this machine reaches {address.ip}: {there}"
    taken = [card.name for card in own if card.address.ip == address.ip]
    return f"{address.ip} is this machine's own address ({taken[0]})" if taken else ""


def proposal(heard: Heard, taken: Collection[ipaddress.IPv4Address]) -> ipaddress.IPv4Interface | None:
    """Return an address in the card's network that nobody is known to have; None where there is none."""
    network = heard.card.address.network
    last = network.num_addresses - 1  # the address of everybody in it
    for number in (*range(_FIRST_HOST, min(last, _FIRST_HOST + _MOST_ANSWERS)), *range(1, min(last, _FIRST_HOST))):
        address = network.network_address + number
        if address not in taken and address != heard.card.address.ip:
            return ipaddress.IPv4Interface(f"{address}/{network.prefixlen}")
    return None


def force(
    mac: str, address: ipaddress.IPv4Interface, gateway: ipaddress.IPv4Address | None, own: Iterable[Card]
) -> gvcp.Seen:
    """Give a camera an address until its power goes, and return it as it answers there.

    Raises CameraFailed where it refuses, does not answer, or does not move.
    """
    own = list(own)
    for each in search(own):
        if each.camera.address == address.ip and each.camera.mac != mac:
            raise CameraFailed(f"{address.ip} is the address of the camera {each.camera.mac} already")
    number = _number()
    with _Cards(own) as sockets:
        sockets.send(gvcp.force(number, mac, address, gateway or ipaddress.IPv4Address(0)))
        answered = next(
            (
                answer
                for _card, answer in sockets.answers(_FORCE_S)
                if answer.command == gvcp.FORCEIP and answer.number == number
            ),
            None,
        )
    if answered is not None and answered.problem:
        raise CameraFailed(
            f"the camera {mac} keeps its address: {answered.problem}",
            remedy="Stop the service or viewer that has the camera, and try again",
        )
    return _moved(mac, address, own, is_acknowledged=answered is not None)


def _moved(mac: str, address: ipaddress.IPv4Interface, own: list[Card], *, is_acknowledged: bool) -> gvcp.Seen:
    until, last = time.monotonic() + _MOVE_S, None
    while time.monotonic() < until:
        for each in search(own):
            if each.camera.mac == mac:
                last = each.camera
                if last.address == address.ip:
                    return last
    if last is None:
        said = "acknowledged it and has been silent since" if is_acknowledged else "does not answer"
        raise CameraFailed(
            f"the camera {mac} {said}",
            remedy="See its power and cable, and the MAC on its label; some take some seconds: `lineside camera list`",
        )
    said = "acknowledged it, but is still" if is_acknowledged else "did not acknowledge it, and is still"
    raise CameraFailed(
        f"the camera {mac} {said} at {last.address}",
        remedy="Stop whatever has control of it, then try again; else set its address with the maker's tool",
    )


class _Cards:
    """A socket a card, each bound to its card alone; those that cannot be are left out."""

    def __init__(self, own: Iterable[Card]) -> None:
        self._own = list(own)
        self._sockets: dict[socket.socket, Card] = {}

    def __enter__(self) -> Self:
        for card in self._own:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, card.name.encode() + b"\0")
                # Bound to an address it would not hear an answer to everybody; on loopback nobody sends one.
                made.bind((str(card.address.ip) if card.address.ip.is_loopback else "", 0))
                made.settimeout(0)
            except OSError:
                made.close()
                continue
            self._sockets[made] = card
        return self

    def __exit__(self, *_error: object) -> None:
        for each in self._sockets:
            each.close()

    def send(self, datagram: bytes) -> None:
        """Send to everybody on each card; raises CameraFailed where it can be sent on none."""
        failure = "no network card is up"
        sent = 0
        for each in self._sockets:
            try:
                each.sendto(datagram, (_EVERYBODY, gvcp.PORT))
            except OSError as error:
                failure = str(error.strerror or error)
            else:
                sent += 1
        if not sent:
            raise CameraFailed(
                f"cameras cannot be asked: {failure}",
                remedy="Run it on the machine itself; in a container with network_mode: host",
            )

    def answers(
        self, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> Iterator[tuple[Card, gvcp.Answer]]:
        """Yield what comes for so many seconds; what is no acknowledgement is passed over."""
        until = clock() + seconds
        for _ in range(_MOST_ANSWERS):
            left = until - clock()
            ready = select.select(list(self._sockets), [], [], left)[0] if left > 0 else []
            if not ready:
                return
            for each in ready:
                try:
                    datagram = each.recv(gvcp.MOST_BYTES)
                except OSError:
                    continue
                answer = gvcp.parse(datagram)
                if answer is not None:
                    yield self._sockets[each], answer


def _number() -> int:
    """Return a request's number, which an answer repeats; never 0, which the protocol keeps."""
    return secrets.randbelow(0xFFFF) + 1
