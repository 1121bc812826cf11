"""What a register takes, and how long a frame is, by the registers as they are."""

import struct

from lineside_bench.gige_camera import description, pixels
from lineside_bench.gige_camera.description import CHUNKS, SOURCES
from lineside_bench.gige_camera.gvcp import Refused, Status
from lineside_bench.gige_camera.registers import Bootstrap, Memory, Register

_FIXED = {Register.WIDTH, Register.HEIGHT, Register.PIXEL_FORMAT, Register.CHUNK_MODE}
"""What cannot be changed while frames are taken."""
_CHUNK_SIZES = {"Timestamp": 8, "ExposureTime": 8, "LineStatusAll": 4, "FrameID": 8}


def check(memory: Memory, address: int, data: bytes, *, is_running: bool) -> None:
    """Raise Refused for a value that a register does not take."""
    if not _is_taken(memory, address, data):
        raise Refused(Status.INVALID_PARAMETER)
    if address in _FIXED and is_running:
        raise Refused(Status.WRITE_PROTECT)


def payload_size(memory: Memory) -> int:
    """Return the bytes of a frame, with its chunks."""
    made_as = pixels.BY_CODE[memory.word(Register.PIXEL_FORMAT)]
    image = made_as.size(memory.word(Register.WIDTH), memory.word(Register.HEIGHT))
    if not memory.word(Register.CHUNK_MODE):
        return image
    return image + -image % 4 + 8 + sum(size + 8 for name, size in _CHUNK_SIZES.items() if is_enabled(memory, name))


def is_enabled(memory: Memory, chunk: str) -> bool:
    """Return whether frames carry a chunk, where they carry any."""
    return bool(memory.word(Register.CHUNK_ENABLE + 4 * CHUNKS[chunk][0]))


def _is_taken(memory: Memory, address: int, data: bytes) -> bool:  # noqa: PLR0911 - one return a register reads best
    value = int.from_bytes(data[:4], "big")
    width, height = memory.word(Register.SENSOR_WIDTH), memory.word(Register.SENSOR_HEIGHT)
    if address == Register.WIDTH:
        return _fits(value, width - memory.word(Register.OFFSET_X), description.WIDTH_STEP)
    if address == Register.HEIGHT:
        return _fits(value, height - memory.word(Register.OFFSET_Y), description.HEIGHT_STEP)
    if address == Register.OFFSET_X:
        return value + memory.word(Register.WIDTH) <= width and value % description.WIDTH_STEP == 0
    if address == Register.OFFSET_Y:
        return value + memory.word(Register.HEIGHT) <= height and value % description.HEIGHT_STEP == 0
    if address == Register.PIXEL_FORMAT:
        return value in pixels.BY_CODE
    if address == Register.TRIGGER_SOURCE:
        return value in SOURCES.values()
    if address == Register.EXPOSURE_TIME:
        exposure = struct.unpack(">d", data)[0] if len(data) == struct.calcsize(">d") else 0.0
        return bool(description.LEAST_EXPOSURE_US <= exposure <= description.LONGEST_EXPOSURE_US)
    if address == Bootstrap.STREAM_PACKET_SIZE:
        return description.LEAST_PACKET <= value & 0xFFFF <= description.LARGEST_PACKET
    return True


def _fits(value: int, most: int, step: int) -> bool:
    return description.LEAST_SIDE <= value <= most and (value - description.LEAST_SIDE) % step == 0
