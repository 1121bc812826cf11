"""The protocol's seven datatypes, and which of them stands for each of Triton's.

A datatype that the protocol has not goes as the one whose elements have as many bytes, bit for bit: BOOL and INT8 as
UINT8, UINT16 and BF16 as INT16, UINT32 as INT32, UINT64 as INT64. BYTES goes as UINT8 too: the bytes are those of
Triton, each element's length in four bytes and then the element. Bytes are little-endian, in row-major order.
"""

from collections.abc import Mapping, Sequence

from lineside.edge_manager.protocol import agent_pb2 as pb
from lineside_inference.dataplane.datatypes import BYTES

OURS: Mapping[str, int] = {
    "UINT8": pb.UINT8,
    "BOOL": pb.UINT8,
    "INT8": pb.UINT8,
    BYTES: pb.UINT8,
    "INT16": pb.INT16,
    "UINT16": pb.INT16,
    "BF16": pb.INT16,
    "INT32": pb.INT32,
    "UINT32": pb.INT32,
    "INT64": pb.INT64,
    "UINT64": pb.INT64,
    "FP16": pb.FLOAT16,
    "FP32": pb.FLOAT32,
    "FP64": pb.FLOAT64,
}
"""By Triton's datatype the protocol's."""


def word(datatype: int) -> str:
    """Return the protocol's word for one of its datatypes, the number for any other."""
    known = pb.DataType.values()
    return str(pb.DataType.Name(datatype)) if datatype in known else str(datatype)


def told_shape(datatype: str, shape: Sequence[int], size: int) -> list[int]:
    """Return the shape that a client sees of a tensor of `size` bytes: of BYTES, which go as UINT8, their number."""
    return [size] if datatype == BYTES else list(shape)
