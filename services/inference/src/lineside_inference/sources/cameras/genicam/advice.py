"""What to do about a camera's stream, by what was seen of it and of its way: pure rules, one function each.

What is due is a cause of frames that are missing or late; what is not may help, and is no fault.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

_JUMBO = 9000
"""Bytes of the largest packet that switches and cards usually pass."""
_HEADERS = 36
"""Bytes of a stream packet before its part of the image: IP, UDP and GVSP."""
_ETHERNET = 38
"""Bytes that a packet takes on the wire beside itself: header, checksum, preamble and gap."""
_MIB = 1 << 20
_FULL = 0.9
_UNEVEN = 3
_GIGABIT = 1_000_000_000
_PERCENT = 100


@dataclass(frozen=True)
class Channel:
    """How a GigE Vision camera sends its stream, as it tells itself.

    To which address and port of ours; a packet's bytes with its IP and UDP headers; the delay between packets in ticks
    of the camera's clock; a frame's bytes.
    """

    host: str
    port: int
    packet_size: int
    packet_delay: int
    ticks_a_second: int
    payload: int


@dataclass(frozen=True)
class Seen:
    """What came of a camera in so many seconds; intervals between whole frames in milliseconds, None without two.

    `channel` is None on USB, and where the camera does not tell.
    """

    seconds: float
    frames: int
    is_gige: bool = True
    incomplete: int = 0
    missing_packets: int = 0
    resent_packets: int = 0
    received_packets: int = 0
    underruns: int = 0
    bytes_a_second: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    longest_ms: float | None = None
    lost_control: bool = False
    channel: Channel | None = None

    @property
    def is_lossy(self) -> bool:
        """Return whether frames or packets are missing."""
        return self.incomplete > 0 or self.missing_packets > 0

    @property
    def frames_a_second(self) -> float:
        """Return the rate of whole frames."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class Way:
    """This machine's end of the way: None where it does not tell; drops and damaged packets while it was watched."""

    interface: str | None = None
    mtu: int | None = None
    bits_a_second: int | None = None
    rmem_max: int | None = None
    by_packet_socket: bool = False
    """Whether the library reads past the receive buffer, as it does where the program may open raw sockets."""
    socket_drops: int = 0
    card_drops: int = 0
    card_errors: int = 0


@dataclass(frozen=True)
class Advice:
    """What to do, in sentences; `is_due` where frames are missing or late for it."""

    text: str
    is_due: bool = True


def advise(seen: Seen, way: Way) -> list[Advice]:
    """Return what to do, what is due first; nothing where all is well."""
    given = [each for rule in RULES if (each := rule(seen, way)) is not None]
    return sorted(given, key=lambda each: not each.is_due)


def control(seen: Seen, _way: Way) -> Advice | None:
    """Control was lost."""
    if not seen.lost_control:
        return None
    return Advice(
        f"Control of the camera was lost after {seen.seconds:.0f} s. See its power and cable, and whether another "
        "program takes it."
    )


def silence(seen: Seen, _way: Way) -> Advice | None:
    """No packet came at all."""
    if seen.lost_control or seen.frames or seen.incomplete or seen.received_packets:
        return None
    if not seen.is_gige:
        return Advice(
            "No frame came. See the cable and the port, and whether the exposure time is longer than the watch."
        )
    where = f" (UDP port {seen.channel.port} of {seen.channel.host})" if seen.channel else ""
    return Advice(
        f"No packet of the stream came{where}. Let UDP from the camera through the firewall, give a container an "
        "address in the camera's network (docker/compose.gige.yaml), and see whether the exposure time is longer than "
        "the watch."
    )


def packet_above_mtu(seen: Seen, way: Way) -> Advice | None:
    """Packets are larger than the card takes."""
    if seen.channel is None or way.mtu is None or seen.channel.packet_size <= way.mtu:
        return None
    size = seen.channel.packet_size
    return Advice(
        f"The camera sends packets of {size} bytes, and {way.interface} takes {way.mtu}. Set the card to jumbo frames "
        f"(ip link set {way.interface} mtu {max(size, _JUMBO)}) where the switch passes them, or the camera to "
        f"GevSCPSPacketSize={way.mtu}."
    )


def packet_below_mtu(seen: Seen, way: Way) -> Advice | None:
    """Packets are smaller than the card takes."""
    if seen.channel is None or way.mtu is None:
        return None
    best = min(way.mtu, _JUMBO)
    if seen.channel.packet_size >= best * _FULL:
        return None
    return Advice(
        f"The camera sends packets of {seen.channel.packet_size} bytes, and {way.interface} takes {way.mtu}: set the "
        f"camera to GevSCPSPacketSize={best} where it and the switch pass them. Fewer packets take less time.",
        is_due=seen.is_lossy,
    )


def no_jumbo(seen: Seen, way: Way) -> Advice | None:
    """Packets are lost, and the card is not set to jumbo frames."""
    if not seen.is_lossy or seen.channel is None or way.mtu is None or way.mtu >= _JUMBO:
        return None
    return Advice(
        f"{way.interface} takes packets of {way.mtu} bytes. Jumbo frames need fewer: where card, switch and camera "
        f"have them, ip link set {way.interface} mtu {_JUMBO}, then GevSCPSPacketSize={_JUMBO}.",
        is_due=False,
    )


def receive_buffer(seen: Seen, way: Way) -> Advice | None:
    """A frame does not fit into the largest receive buffer that a program may have, or one overflowed."""
    if seen.channel is None:
        return None
    if way.rmem_max is not None and way.rmem_max < seen.channel.payload:
        size = math.ceil(2 * seen.channel.payload / _MIB) * _MIB
        dropped = f"{way.socket_drops} packets were dropped at it. " if way.socket_drops else ""
        return Advice(
            f"A frame has {seen.channel.payload} bytes, and a receive buffer may have {way.rmem_max}. {dropped}"
            f"Set sysctl -w net.core.rmem_max={size}, and for the next start in /etc/sysctl.d/.",
            is_due=not way.by_packet_socket and (seen.is_lossy or way.socket_drops > 0),
        )
    if not way.socket_drops:
        return None
    return Advice(
        f"{way.socket_drops} packets were dropped at the receive buffer, which this machine did not empty in time. "
        "Give the service more of the processor, or let the camera send less: a lower rate, a smaller region."
    )


def packet_socket(seen: Seen, way: Way) -> Advice | None:
    """What was seen is not what the service sees."""
    if seen.channel is None or not way.by_packet_socket:
        return None
    return Advice(
        "This program may open raw sockets, and read past the receive buffer. The service may not in its container, "
        "nor as a usual user: watch as the user whom the service runs as.",
        is_due=False,
    )


def card(seen: Seen, way: Way) -> Advice | None:
    """The card had no room for packets, or was too slow to be served."""
    if not way.card_drops:
        return None
    return Advice(
        f"{way.interface} dropped {way.card_drops} packets, because it was not emptied in time. Give it a larger ring "
        f"(ethtool -g {way.interface}, then -G {way.interface} rx with the most that it has), and see its interrupt "
        f"moderation (ethtool -c {way.interface}, -C {way.interface} rx-usecs). Offloads for TCP do nothing here.",
        is_due=seen.is_lossy or seen.resent_packets > 0,
    )


def cable(seen: Seen, way: Way) -> Advice | None:
    """Packets came damaged."""
    if not way.card_errors:
        return None
    return Advice(
        f"{way.card_errors} packets came damaged at {way.interface}. Replace the cable, and see plug and shield, "
        "before anything else.",
        is_due=seen.is_lossy or seen.resent_packets > 0,
    )


def underruns(seen: Seen, _way: Way) -> Advice | None:
    """Frames came faster than they are made into images."""
    if not seen.underruns:
        return None
    return Advice(
        f"{seen.underruns} packets found no free buffer: frames come faster than this machine makes images of them. "
        "Let the camera send less: a lower AcquisitionFrameRate, a smaller region."
    )


def full_link(seen: Seen, way: Way) -> Advice | None:
    """The stream takes most of the link."""
    if not way.bits_a_second:
        return None
    share = seen.bytes_a_second * 8 / way.bits_a_second
    if share < _FULL:
        return None
    return Advice(
        f"The stream takes {share * _PERCENT:.0f} % of {way.interface}, so that nothing lost can be sent again in "
        "time. Lower the frame rate, the region or the bits of a pixel.",
        is_due=seen.is_lossy,
    )


def packet_delay(seen: Seen, way: Way) -> Advice | None:
    """Packets are lost before they reach this machine: the camera can send them less densely."""
    if not seen.is_gige or way.socket_drops or way.card_drops or way.card_errors:
        return None
    if not seen.is_lossy and not seen.resent_packets:
        return None
    what = (
        f"{seen.incomplete} frames were not whole, at most {seen.missing_packets} packets are missing and "
        f"{seen.resent_packets} were sent again, none of them lost in this machine as far as it tells."
    )
    ticks = _room(seen, way)
    if seen.channel is None or ticks <= seen.channel.packet_delay:
        return Advice(f"{what} See cable, plugs and switch, and what else uses this link.", is_due=seen.is_lossy)
    return Advice(
        f"{what} Where cameras share a switch or a link, put a delay between packets: GevSCPD={ticks} (it is "
        f"{seen.channel.packet_delay}) spreads a frame over half of its interval. Else see cable and plugs.",
        is_due=seen.is_lossy,
    )


def usb(seen: Seen, _way: Way) -> Advice | None:
    """Frames of a USB camera are not whole."""
    if seen.is_gige or not seen.is_lossy:
        return None
    return Advice(
        f"{seen.incomplete} frames were not whole. Take another cable and a USB 3 port without a hub, and give USB "
        "more memory: 1000 into /sys/module/usbcore/parameters/usbfs_memory_mb."
    )


def uneven(seen: Seen, _way: Way) -> Advice | None:
    """Whole frames come at uneven intervals, though none is missing."""
    if seen.is_lossy or seen.p50_ms is None or seen.longest_ms is None or seen.longest_ms <= _UNEVEN * seen.p50_ms:
        return None
    return Advice(
        f"Frames come unevenly: {seen.longest_ms:.0f} ms apart at the longest, {seen.p50_ms:.0f} ms usually. See what "
        "else uses the link and the processor, and whether the exposure is automatic.",
        is_due=False,
    )


RULES: tuple[Callable[[Seen, Way], Advice | None], ...] = (
    *(control, silence, packet_above_mtu, receive_buffer, underruns, cable, card, packet_delay, usb),
    *(full_link, packet_below_mtu, no_jumbo, uneven, packet_socket),
)


def _room(seen: Seen, way: Way) -> int:
    """Return the delay between packets, in the camera's ticks, that spreads a frame over half of its interval."""
    if seen.channel is None or seen.p50_ms is None or seen.channel.packet_size <= _HEADERS:
        return 0
    packets = math.ceil(seen.channel.payload / (seen.channel.packet_size - _HEADERS))
    on_the_wire_s = (seen.channel.packet_size + _ETHERNET) * 8 / (way.bits_a_second or _GIGABIT)
    free_s = seen.p50_ms / 1000 / 2 / max(1, packets) - on_the_wire_s
    return max(0, int(free_s * seen.channel.ticks_a_second))
