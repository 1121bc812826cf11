"""What a broker allows, by what it announced when it took the connection (MQTT 5, section 3.2.2.3)."""

from dataclasses import dataclass

from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.properties import Properties

from lineside.errors import BusError, MessageRefused

MAX_FILTERS = 8
"""Topics in one SUBSCRIBE: AWS IoT closes the connection at a ninth."""
MAX_IN_FLIGHT = 20
"""Messages of ours that the broker has not acknowledged yet; paho keeps back what is more."""
_SMALLEST_OWN = 1024 * 1024
_LENGTHS = (128, 128**2, 128**3)
"""From which length on the packet's own length takes one byte more."""


@dataclass(frozen=True)
class Limits:
    """The broker's bounds; the defaults hold for MQTT 3.1.1, where nothing is announced."""

    retains: bool = True
    max_bytes: int | None = None
    """Largest packet that it takes; None: it did not say."""
    in_flight: int = MAX_IN_FLIGHT
    max_qos: int = 2
    session_expiry_s: int | None = None
    """Seconds for which it keeps our messages, where it changed what we asked for."""

    @classmethod
    def of(cls, announced: Properties | None) -> "Limits":
        """Return what a CONNACK announces."""
        said = vars(announced) if announced is not None else {}
        return cls(
            retains=bool(said.get("RetainAvailable", 1)),
            max_bytes=said.get("MaximumPacketSize"),
            in_flight=min(MAX_IN_FLIGHT, said.get("ReceiveMaximum", MAX_IN_FLIGHT)),
            max_qos=said.get("MaximumQoS", 2),
            session_expiry_s=said.get("SessionExpiryInterval"),
        )

    def in_words(self, asked_expiry_s: int) -> str:
        """Return what people should know of it, empty where the broker does all that we ask for."""
        said = "" if self.retains else ", retains nothing"
        if self.session_expiry_s is not None and self.session_expiry_s < asked_expiry_s:
            said += (
                f", keeps our messages for {self.session_expiry_s} s instead of {asked_expiry_s} (bus.session_expiry_s)"
            )
        return said

    def check(self) -> None:
        """Raise BusError where the broker cannot be a bus."""
        if self.max_qos < 1:
            raise BusError(
                "the broker takes messages at most once (maximum QoS 0): requests and results could be lost unseen",
                remedy="allow QoS 1 at the broker, or use another one",
                transient=False,
            )

    def check_message(self, topic: str, payload: bytes, protocol: MQTTProtocolVersion) -> None:
        """Raise MessageRefused where the broker takes no packet as large as this message makes it."""
        size = packet_bytes(topic, payload, protocol)
        if self.max_bytes is not None and size > self.max_bytes:
            raise MessageRefused(
                f"the message on {topic!r} makes a packet of {size} bytes; the broker takes {self.max_bytes}",
                remedy="raise the broker's maximum packet size, or lower bus.max_message_bytes",
            )


def packet_bytes(topic: str, payload: bytes, protocol: MQTTProtocolVersion) -> int:
    """Return how long the PUBLISH packet of a message is: QoS 1, without properties."""
    inner = 2 + len(topic.encode()) + 2 + (protocol == MQTTProtocolVersion.MQTTv5) + len(payload)
    return 2 + sum(inner >= length for length in _LENGTHS) + inner


def own_packet_bytes(max_message_bytes: int) -> int:
    """Return the largest packet that this client accepts: twice a message, so that one too large is refused by name.

    A broker drops larger ones, so that no message can fill our memory.
    """
    return max(_SMALLEST_OWN, 2 * max_message_bytes)
