"""What is advised about a camera's stream: each rule, and that it says nothing where its cause is not there."""

from dataclasses import replace
from typing import Any

import pytest

from lineside_inference.sources.cameras.genicam.advice import RULES, Advice, Channel, Seen, Way, advise

CHANNEL = Channel(
    host="192.0.2.1", port=50_000, packet_size=9000, packet_delay=0, ticks_a_second=1_000_000_000, payload=1_000_000
)
SEEN = Seen(
    seconds=60.0,
    frames=600,
    received_packets=67_200,
    bytes_a_second=10e6,
    p50_ms=100.0,
    p99_ms=101.0,
    longest_ms=102.0,
    channel=CHANNEL,
)
WAY = Way(interface="eth0", mtu=9000, bits_a_second=1_000_000_000, rmem_max=4_194_304)
LOSSY: dict[str, Any] = {"incomplete": 4, "missing_packets": 52}


def by(rule: str, seen: Seen = SEEN, way: Way = WAY) -> Advice | None:
    (found,) = (each for each in RULES if each.__name__ == rule)
    return found(seen, way)


def channel(**changes: int) -> Seen:
    return replace(SEEN, channel=replace(CHANNEL, **changes))


def test_a_stream_that_is_well_needs_nothing() -> None:
    assert advise(SEEN, WAY) == []
    assert advise(Seen(60.0, 600, is_gige=False, p50_ms=100.0, longest_ms=120.0), Way()) == []


@pytest.mark.parametrize(
    ("rule", "seen", "way", "said"),
    [
        ("control", replace(SEEN, lost_control=True), WAY, "lost after 60 s"),
        ("silence", Seen(60.0, 0, channel=CHANNEL), WAY, "No packet of the stream came (UDP port 50000 of 192.0.2.1)"),
        ("silence", Seen(60.0, 0, is_gige=False), Way(), "No frame came"),
        ("packet_above_mtu", SEEN, replace(WAY, mtu=1500), "sends packets of 9000 bytes, and eth0 takes 1500"),
        ("packet_above_mtu", SEEN, replace(WAY, mtu=1500), "mtu 9000) where the switch passes them"),
        ("packet_above_mtu", SEEN, replace(WAY, mtu=1500), "GevSCPSPacketSize=1500"),
        ("packet_below_mtu", replace(channel(packet_size=576), **LOSSY), WAY, "GevSCPSPacketSize=9000"),
        ("receive_buffer", replace(SEEN, **LOSSY), replace(WAY, rmem_max=212_992), "net.core.rmem_max=2097152"),
        ("receive_buffer", SEEN, replace(WAY, rmem_max=212_992, socket_drops=7), "7 packets were dropped at it"),
        ("receive_buffer", SEEN, replace(WAY, socket_drops=7), "7 packets were dropped at the receive buffer, which"),
        ("underruns", replace(SEEN, underruns=3), WAY, "3 packets found no free buffer"),
        ("cable", replace(SEEN, resent_packets=9), replace(WAY, card_errors=9), "9 packets came damaged at eth0"),
        ("card", replace(SEEN, **LOSSY), replace(WAY, card_drops=9), "-G eth0 rx"),
        ("packet_delay", replace(SEEN, **LOSSY), WAY, "4 frames were not whole, at most 52 packets are missing"),
        ("usb", replace(SEEN, is_gige=False, channel=None, **LOSSY), Way(), "usbfs_memory_mb"),
        ("full_link", replace(SEEN, bytes_a_second=120e6, **LOSSY), WAY, "96 % of eth0"),
    ],
)
def test_what_costs_frames_is_due(rule: str, seen: Seen, way: Way, said: str) -> None:
    given = by(rule, seen, way)
    assert given is not None
    assert said in given.text
    assert given.is_due
    assert given in advise(seen, way)


@pytest.mark.parametrize(
    ("rule", "seen", "way", "said"),
    [
        ("packet_below_mtu", channel(packet_size=1500), WAY, "GevSCPSPacketSize=9000"),
        ("receive_buffer", SEEN, replace(WAY, rmem_max=212_992), "net.core.rmem_max=2097152"),
        ("receive_buffer", replace(SEEN, **LOSSY), replace(WAY, rmem_max=1, by_packet_socket=True), "rmem_max"),
        ("card", SEEN, replace(WAY, card_drops=9), "dropped 9 packets"),
        ("cable", SEEN, replace(WAY, card_errors=9), "damaged"),
        ("packet_delay", replace(SEEN, resent_packets=9), WAY, "9 were sent again"),
        ("full_link", replace(SEEN, bytes_a_second=120e6), WAY, "96 %"),
        ("no_jumbo", replace(channel(packet_size=1500), **LOSSY), replace(WAY, mtu=1500), "mtu 9000"),
        ("uneven", replace(SEEN, longest_ms=400.0), WAY, "400 ms apart at the longest, 100 ms usually"),
        ("packet_socket", SEEN, replace(WAY, by_packet_socket=True), "read past the receive buffer"),
    ],
)
def test_what_costs_none_may_help_and_is_not_due(rule: str, seen: Seen, way: Way, said: str) -> None:
    given = by(rule, seen, way)
    assert given is not None
    assert said in given.text
    assert not given.is_due


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_says_nothing_of_what_nobody_told(rule: Any) -> None:
    assert rule(Seen(60.0, 600), Way()) is None


@pytest.mark.parametrize(
    ("seen", "way"),
    [
        (replace(SEEN, **LOSSY), replace(WAY, socket_drops=1)),
        (replace(SEEN, **LOSSY), replace(WAY, card_drops=1)),
        (replace(SEEN, **LOSSY), replace(WAY, card_errors=1)),
    ],
)
def test_a_delay_is_not_advised_where_packets_are_lost_in_this_machine(seen: Seen, way: Way) -> None:
    assert by("packet_delay", seen, way) is None
    assert any(each.is_due for each in advise(seen, way)), "something else is"


def test_the_delay_spreads_a_frame_over_half_of_its_interval_and_is_advised_only_where_it_is_more() -> None:
    """112 packets in 50 ms: 446.4 us each, of which 72.3 us are on the wire."""
    given = by("packet_delay", replace(SEEN, **LOSSY))
    assert given is not None
    assert "GevSCPD=374124 (it is 0)" in given.text
    for seen in (channel(packet_delay=400_000), channel(packet_size=0), replace(SEEN, p50_ms=5.0)):
        other = by("packet_delay", replace(seen, **LOSSY))
        assert other is not None
        assert "GevSCPD" not in other.text


def test_every_loss_has_something_due_and_what_is_due_stands_first() -> None:
    for seen in (
        replace(SEEN, incomplete=1),
        replace(SEEN, missing_packets=1),
        Seen(9.0, 1, is_gige=False, incomplete=1),
    ):
        assert any(each.is_due for each in advise(seen, Way()))
    due = [each.is_due for each in advise(replace(channel(packet_size=1400), **LOSSY), replace(WAY, mtu=1500))]
    assert due == sorted(due, reverse=True)
    assert set(due) == {True, False}
