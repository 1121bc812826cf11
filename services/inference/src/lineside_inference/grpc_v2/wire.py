"""ModelInferRequest and ModelInferResponse as bytes, so that the tensors in them are copied by nobody on their way.

Protocol Buffers' encoding (protobuf.dev/programming-guides/encoding): fields one behind the other, each a key (its
number and how its value is written), then the value; repeated ones may stand anywhere.
"""

from collections.abc import Iterable

from lineside_inference.errors import MessageInvalid

_VARINT, _FIXED_64, _LENGTH, _FIXED_32 = 0, 1, 2, 5
_FIXED = {_FIXED_64: 8, _FIXED_32: 4}
_RAW_INPUT = 7 << 3 | _LENGTH
_RAW_OUTPUT = bytes([6 << 3 | _LENGTH])
_INFER_RESPONSE = bytes([2 << 3 | _LENGTH])
_MAX_VARINT = 10


def split(body: bytes, max_fields: int) -> tuple[bytes, list[memoryview]]:
    """Return a ModelInferRequest without its `raw_input_contents`, and these, which lie in `body`.

    Raises MessageInvalid where these are no fields, or more than so many.
    """
    view, end = memoryview(body), len(body)
    head: list[memoryview] = []
    raw: list[memoryview] = []
    at = kept = count = 0
    while at < end:
        count += 1
        if count > max_fields:
            raise MessageInvalid(
                f"the request has more than {max_fields} fields",
                remedy="The bounds are inference.limits.tensors and outputs",
            )
        start = at
        key, at = _varint(body, at)
        kind, size = key & 7, 0
        if kind == _VARINT:
            _, at = _varint(body, at)
        elif kind == _LENGTH:
            size, at = _varint(body, at)
        elif (size := _FIXED.get(kind, -1)) < 0:
            raise MessageInvalid(f"the request is not a ModelInferRequest: byte {start} begins no field")
        at += size
        if at > end:
            raise MessageInvalid(f"the request is not a ModelInferRequest: it ends {at - end} bytes too early")
        if key == _RAW_INPUT:
            head.append(view[kept:start])
            raw.append(view[at - size : at])
            kept = at
    head.append(view[kept:])
    return b"".join(head), raw


def join(head: bytes, outputs: Iterable[bytes | memoryview]) -> bytes:
    """Return a ModelInferResponse from one without `raw_output_contents`, and these."""
    return b"".join(_parts(head, outputs))


def in_stream(head: bytes, outputs: Iterable[bytes | memoryview]) -> bytes:
    """Return a ModelStreamInferResponse with that as its `infer_response`."""
    parts = _parts(head, outputs)
    return b"".join((_INFER_RESPONSE, _written(sum(map(len, parts))), *parts))


def _parts(head: bytes, outputs: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
    parts: list[bytes | memoryview] = [head]
    for data in outputs:
        parts += (_RAW_OUTPUT, _written(len(data)), data)
    return parts


def _written(value: int) -> bytes:
    """Return a whole number of 0 or more as it is written: seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """Return the whole number at a place, and where it ends."""
    value = shift = 0
    for byte in body[at : at + _MAX_VARINT]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follow
            return value, at
        shift += 7
    raise MessageInvalid(f"the request is not a ModelInferRequest: no whole number ends at byte {at}")
