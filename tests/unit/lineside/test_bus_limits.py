"""What a CONNACK's properties mean for us, and how long a packet is."""

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lineside.bus.limits import Limits, own_packet_bytes, packet_bytes
from lineside.errors import BusError, MessageRefused

V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311


def announced(**said: int) -> Properties:
    properties = Properties(PacketTypes.CONNACK)
    for name, value in said.items():
        setattr(properties, name, value)
    return properties


def test_what_is_not_announced_is_not_bounded() -> None:
    assert Limits.of(None) == Limits.of(announced()) == Limits()
    Limits().check()
    Limits().check_message("t", b"x" * 10**7, V5)


def test_what_is_announced_counts() -> None:
    said = announced(
        RetainAvailable=0, MaximumPacketSize=4096, ReceiveMaximum=5, SessionExpiryInterval=60, MaximumQoS=1
    )
    limits = Limits.of(said)
    assert limits == Limits(retains=False, max_bytes=4096, in_flight=5, max_qos=1, session_expiry_s=60)
    limits.check()
    assert limits.in_words(60) == ", retains nothing"
    assert "60 s instead of 3600 (bus.session_expiry_s)" in limits.in_words(3600)
    assert Limits.of(announced(ReceiveMaximum=65535)).in_flight == 20


def test_a_broker_that_delivers_once_at_most_is_none_for_us() -> None:
    with pytest.raises(BusError, match="maximum QoS 0") as refused:
        Limits.of(announced(MaximumQoS=0)).check()
    assert refused.value.transient is False


@pytest.mark.parametrize(
    ("payload", "protocol", "size"),
    [(0, V311, 8), (0, V5, 9), (121, V311, 129), (122, V311, 131), (122, V5, 132), (16377, V311, 16386)],
)
def test_how_long_a_packet_is(payload: int, protocol: MQTTProtocolVersion, size: int) -> None:
    assert packet_bytes("ab", b"x" * payload, protocol) == size
    Limits(max_bytes=size).check_message("ab", b"x" * payload, protocol)
    with pytest.raises(MessageRefused, match=f"{size} bytes; the broker takes {size - 1}"):
        Limits(max_bytes=size - 1).check_message("ab", b"x" * payload, protocol)


def test_our_own_bound_leaves_room_to_refuse_by_name_what_is_too_large() -> None:
    assert own_packet_bytes(6144) == 1024 * 1024
    assert own_packet_bytes(2**20) == 2**21
