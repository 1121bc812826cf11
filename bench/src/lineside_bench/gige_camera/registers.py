"""The camera's memory: the bootstrap registers of GigE Vision, those behind its features, and its description."""

import struct
from collections.abc import Iterable
from enum import IntEnum

from lineside_bench.gige_camera.gvcp import Refused, Status


class Bootstrap(IntEnum):
    """Registers that every GigE Vision camera has at these addresses."""

    VERSION = 0x0000
    DEVICE_MODE = 0x0004
    MAC_HIGH = 0x0008
    MAC_LOW = 0x000C
    IP_SUPPORTED = 0x0010
    IP_CONFIGURATION = 0x0014
    ADDRESS = 0x0024
    SUBNET_MASK = 0x0034
    GATEWAY = 0x0044
    VENDOR = 0x0048
    MODEL = 0x0068
    DEVICE_VERSION = 0x0088
    VENDOR_INFO = 0x00A8
    SERIAL = 0x00D8
    USER_ID = 0x00E8
    FIRST_URL = 0x0200
    SECOND_URL = 0x0400
    INTERFACES = 0x0600
    PERSISTENT_ADDRESS = 0x064C
    PERSISTENT_MASK = 0x065C
    PERSISTENT_GATEWAY = 0x066C
    MESSAGE_CHANNELS = 0x0900
    STREAM_CHANNELS = 0x0904
    ACTION_SIGNALS = 0x0908
    ACTION_DEVICE_KEY = 0x090C
    STREAM_CAPABILITY = 0x092C
    CAPABILITY = 0x0934
    HEARTBEAT_TIMEOUT = 0x0938
    TICK_FREQUENCY = 0x093C
    TIMESTAMP_CONTROL = 0x0944
    TIMESTAMP = 0x0948
    GVCP_CONFIGURATION = 0x0954
    PENDING_TIMEOUT = 0x0958
    CONTROL_PRIVILEGE = 0x0A00
    CONTROLLER_PORT = 0x0A04
    CONTROLLER_ADDRESS = 0x0A14
    STREAM_PORT = 0x0D00
    STREAM_PACKET_SIZE = 0x0D04
    STREAM_PACKET_DELAY = 0x0D08
    STREAM_ADDRESS = 0x0D18
    STREAM_SOURCE_PORT = 0x0D1C
    ACTION_GROUP_KEY = 0x9800
    ACTION_GROUP_MASK = 0x9804


class Register(IntEnum):
    """Registers behind features; floats are doubles."""

    WIDTH = 0x10000
    HEIGHT = 0x10004
    OFFSET_X = 0x10008
    OFFSET_Y = 0x1000C
    PIXEL_FORMAT = 0x10010
    PAYLOAD_SIZE = 0x10014
    SENSOR_WIDTH = 0x10018
    SENSOR_HEIGHT = 0x1001C
    ACQUISITION_MODE = 0x10020
    ACQUISITION_START = 0x10024
    ACQUISITION_STOP = 0x10028
    FRAME_COUNT = 0x1002C
    TRIGGER_SELECTOR = 0x10030
    TRIGGER_MODE = 0x10034
    TRIGGER_SOURCE = 0x10038
    TRIGGER_SOFTWARE = 0x1003C
    TRIGGER_ACTIVATION = 0x10040
    LINE_STATUS = 0x10044
    CHUNK_MODE = 0x10048
    CHUNK_SELECTOR = 0x1004C
    CHUNK_ENABLE = 0x10050
    """One word for each choice of the selector."""
    PTP_ENABLE = 0x10080
    PTP_STATUS = 0x10084
    PTP_LATCH = 0x10088
    ACTION_SELECTOR = 0x1008C
    DEVICE_RESET = 0x10090
    EXPOSURE_TIME = 0x100A0
    GAIN = 0x100A8
    FRAME_RATE = 0x100B0
    TRIGGER_DELAY = 0x100B8
    TEMPERATURE = 0x100C0
    PTP_OFFSET = 0x100C8
    END = 0x10100


DESCRIPTION = 0x100000
"""Where the description in XML is, plain or zipped."""
DISCOVERED = 0xF8
"""Bytes of a discovery's acknowledgement: the bootstrap registers up to the user-defined name."""
USER_ID_LENGTH = 16
_LOW_END = 0xA000
_WORD = 4
_B, _R = Bootstrap, Register


def _words(start: int, length: int = _WORD) -> Iterable[int]:
    return range(start, start + length, _WORD)


_WRITABLE = frozenset(
    (
        *_words(_B.USER_ID, USER_ID_LENGTH),
        *(_B.IP_CONFIGURATION, _B.PERSISTENT_ADDRESS, _B.PERSISTENT_MASK, _B.PERSISTENT_GATEWAY),
        *(_B.ACTION_DEVICE_KEY, _B.ACTION_GROUP_KEY, _B.ACTION_GROUP_MASK),
        *(_B.HEARTBEAT_TIMEOUT, _B.TIMESTAMP_CONTROL, _B.GVCP_CONFIGURATION, _B.CONTROL_PRIVILEGE),
        *(_B.STREAM_PORT, _B.STREAM_PACKET_SIZE, _B.STREAM_PACKET_DELAY, _B.STREAM_ADDRESS),
        *(_R.WIDTH, _R.HEIGHT, _R.OFFSET_X, _R.OFFSET_Y, _R.PIXEL_FORMAT),
        *(_R.ACQUISITION_MODE, _R.ACQUISITION_START, _R.ACQUISITION_STOP, _R.FRAME_COUNT),
        *(_R.TRIGGER_SELECTOR, _R.TRIGGER_MODE, _R.TRIGGER_SOURCE, _R.TRIGGER_SOFTWARE, _R.TRIGGER_ACTIVATION),
        *(_R.CHUNK_MODE, _R.CHUNK_SELECTOR, *_words(_R.CHUNK_ENABLE, 0x30)),
        *(_R.PTP_ENABLE, _R.PTP_LATCH, _R.ACTION_SELECTOR, _R.DEVICE_RESET),
        *_words(_R.EXPOSURE_TIME, 8),
        *_words(_R.GAIN, 8),
        *_words(_R.FRAME_RATE, 8),
        *_words(_R.TRIGGER_DELAY, 8),
    )
)


class Memory:
    """The bytes at every address; reading and writing where there are none raises Refused."""

    def __init__(self, description: bytes) -> None:
        self._regions = {
            0: bytearray(_LOW_END),
            int(Register.WIDTH): bytearray(Register.END - Register.WIDTH),
            DESCRIPTION: bytearray(description + bytes(-len(description) % _WORD)),
        }

    def read(self, address: int, count: int) -> bytes:
        """Return bytes."""
        region, start = self._at(address, count)
        return bytes(region[start : start + count])

    def write(self, address: int, data: bytes) -> None:
        """Write bytes, as an application may: only what is writable."""
        if not _WRITABLE.issuperset(_words(address, len(data))):
            self._at(address, len(data))
            raise Refused(Status.WRITE_PROTECT)
        self.put(address, data)

    def put(self, address: int, data: bytes) -> None:
        """Write bytes, as the camera itself may."""
        region, start = self._at(address, len(data))
        region[start : start + len(data)] = data

    def word(self, address: int) -> int:
        """Return a register of 32 bits."""
        return int.from_bytes(self.read(address, _WORD), "big")

    def put_word(self, address: int, value: int) -> None:
        """Write a register of 32 bits."""
        self.put(address, value.to_bytes(_WORD, "big"))

    def put_text(self, address: int, text: str, length: int) -> None:
        """Write a text of at most so many bytes, filled up with zeros."""
        self.put(address, text.encode()[:length].ljust(length, b"\0"))

    def double(self, address: int) -> float:
        """Return a float of 64 bits."""
        value: float = struct.unpack(">d", self.read(address, 8))[0]
        return value

    def put_double(self, address: int, value: float) -> None:
        """Write a float of 64 bits."""
        self.put(address, struct.pack(">d", value))

    def _at(self, address: int, count: int) -> tuple[bytearray, int]:
        for start, region in self._regions.items():
            if start <= address and address + count <= start + len(region):
                return region, address - start
        raise Refused(Status.INVALID_ADDRESS)
