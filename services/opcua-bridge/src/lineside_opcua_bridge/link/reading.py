"""Decodes Read responses (OPC 10000-6, 5.2.2.17).

asyncua reads a DataValue's two timestamps before the picoseconds of the first: where a server sends picoseconds, a
time becomes one of the year 9999 or of 1601.
"""

import struct

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import variant_from_binary
from asyncua.ua.uaerrors import UaStatusCodeError

from lineside_opcua_bridge.link.publishing import Malformed, after_header
from lineside_opcua_bridge.link.ua_time import timestamp

_VALUE, _STATUS, _SOURCE, _SERVER, _SOURCE_PICO, _SERVER_PICO = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_COUNT = struct.Struct("<i")
_CODE = struct.Struct("<I")
_TICKS = struct.Struct("<q")
_PICO_BYTES = 2


def decode_values(body: bytes) -> list[ua.DataValue]:
    """Return the values of a Read response; raises the service's own UaStatusCodeError, or Malformed."""
    try:
        at = after_header(body)
        (count,) = _COUNT.unpack_from(body, at)
        rest = Buffer(body, at + _COUNT.size)
        return [_value(rest) for _ in range(count)]
    except UaStatusCodeError:
        raise
    except Exception as error:  # any error in decoding bytes from outside means the same
        raise Malformed(f"the server's Read response cannot be read: {type(error).__name__}: {error}") from error


def _value(rest: Buffer) -> ua.DataValue:
    mask = rest.read(1)[0]
    value = variant_from_binary(rest) if mask & _VALUE else None
    code = _CODE.unpack(rest.read(_CODE.size))[0] if mask & _STATUS else 0
    source = _moment(rest, has=mask & _SOURCE, has_pico=mask & _SOURCE_PICO)
    server = _moment(rest, has=mask & _SERVER, has_pico=mask & _SERVER_PICO)
    return ua.DataValue(value, ua.StatusCode(ua.UInt32(code)), source, server)


def _moment(rest: Buffer, *, has: int, has_pico: int) -> ua.DateTime | None:
    ticks = _TICKS.unpack(rest.read(_TICKS.size))[0] if has else 0
    if has_pico:
        rest.read(_PICO_BYTES)
    found = timestamp(ticks)
    return None if found is None else ua.DateTime.combine(found.date(), found.timetz())
