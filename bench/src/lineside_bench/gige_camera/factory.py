"""The registers as they are when power comes."""

import random
import socket
from dataclasses import dataclass

from lineside_bench.gige_camera import description, pixels, values
from lineside_bench.gige_camera.registers import USER_ID_LENGTH, Bootstrap, Memory, Register

_CAPABILITY = 0xC8000047
"""User-defined name, serial number, controller told; actions, resends, WRITEMEM, several registers at once."""
_GROUP_MASK = 0x1
_EXPOSURE_US, _FRAME_RATE = 2000.0, 20.0


@dataclass(frozen=True)
class Identity:
    """What is one camera's own."""

    address: str
    serial: str
    user_id: str
    url: str
    """Where its description is."""
    width: int
    height: int
    pixel_format: str
    packet_size: int
    source_port: int
    ticks_a_second: int


def fill(memory: Memory, own: Identity) -> None:
    """Write them all."""
    words = {
        Bootstrap.VERSION: 0x00010002,
        Bootstrap.DEVICE_MODE: 0x80000001,
        Bootstrap.IP_SUPPORTED: 0x7,
        Bootstrap.IP_CONFIGURATION: 0x6,
        Bootstrap.ADDRESS: int.from_bytes(socket.inet_aton(own.address), "big"),
        Bootstrap.SUBNET_MASK: 0xFF000000 if own.address.startswith("127.") else 0xFFFFFF00,
        Bootstrap.INTERFACES: 1,
        Bootstrap.STREAM_CHANNELS: 1,
        Bootstrap.ACTION_SIGNALS: 1,
        Bootstrap.ACTION_GROUP_MASK: _GROUP_MASK,
        Bootstrap.STREAM_CAPABILITY: 0x80000000,
        Bootstrap.CAPABILITY: _CAPABILITY,
        Bootstrap.HEARTBEAT_TIMEOUT: 3000,
        Bootstrap.STREAM_PACKET_SIZE: own.packet_size,
        Bootstrap.STREAM_SOURCE_PORT: own.source_port,
        Register.SENSOR_WIDTH: own.width,
        Register.SENSOR_HEIGHT: own.height,
        Register.WIDTH: own.width,
        Register.HEIGHT: own.height,
        Register.PIXEL_FORMAT: pixels.FORMATS[own.pixel_format].code,
        Register.FRAME_COUNT: 1,
    }
    for address, value in words.items():
        memory.put_word(address, value)
    texts = (
        (Bootstrap.VENDOR, description.VENDOR, 32),
        (Bootstrap.MODEL, description.MODEL, 32),
        (Bootstrap.DEVICE_VERSION, "1.0", 32),
        (Bootstrap.VENDOR_INFO, "simulated", 48),
        (Bootstrap.SERIAL, own.serial, 16),
        (Bootstrap.USER_ID, own.user_id, USER_ID_LENGTH),
        (Bootstrap.FIRST_URL, own.url, 512),
    )
    for address, text, length in texts:
        memory.put_text(address, text, length)
    chance = random.Random(own.serial + own.address)
    memory.put(Bootstrap.MAC_HIGH + 2, bytes((0x02, *chance.randbytes(5))))  # one that is administered locally
    memory.put(Bootstrap.TICK_FREQUENCY, own.ticks_a_second.to_bytes(8, "big"))
    memory.put_double(Register.EXPOSURE_TIME, _EXPOSURE_US)
    memory.put_double(Register.FRAME_RATE, _FRAME_RATE)
    memory.put_word(Register.PAYLOAD_SIZE, values.payload_size(memory))
