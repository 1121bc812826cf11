"""Whether a broker accepts clients without an account."""

import contextlib

from paho.mqtt.enums import MQTTProtocolVersion

from lineside.bus.link import Link
from lineside.contract import uuid7
from lineside.errors import LinesideError
from lineside.settings import BusSettings


async def takes_anybody(settings: BusSettings) -> bool:
    """Connect without user, password and certificate of ours; return whether the broker takes that."""
    tls = settings.tls and settings.tls.model_copy(update={"cert_file": None, "key_file": None})
    nobody = settings.model_copy(update={"username": None, "password_file": None, "tls": tls})
    for protocol in (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311):
        link = Link(
            nobody,
            f"anybody-{uuid7()[-12:]}",
            protocol,
            lambda message: message.ack(),
            probe=protocol is MQTTProtocolVersion.MQTTv5,
            keep=False,
        )
        with contextlib.suppress(OSError, TimeoutError, LinesideError):
            try:
                await link.open()
            finally:
                await link.close()
            return True
    return False
