"""What an ONNX file says of its inputs and outputs, read by its wire format.

Only names, types and shapes are read, by small reads at places: a file of hundreds of megabytes costs no memory. The
onnx package would read it whole, and be one more large library in the service's image. Field numbers are those of
onnx.proto3 of the ONNX project.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

# Kinds of fields on the wire, and the fields that are read, by message.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZE = {_FIXED64: 8, _FIXED32: 4}
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE_INITIALIZER = 5, 11, 12, 15
_SPARSE_VALUES = 1
_TENSOR_NAME, _TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 8, 13, 14
_EXTERNAL = 1
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR = 1
_TENSOR_TYPE_ELEMENT, _TENSOR_TYPE_SHAPE = 1, 2
_SHAPE_AXIS = 1
_AXIS_LENGTH = 1

_MORE = 0x80
"""Bit of a byte that says that the number goes on."""
_WINDOW = 4096
_MAX_FIELDS = 2_000_000
"""Read at most; a model has some for each tensor and node, and none for their values."""
_MAX_NAME = 4096
_MAX_RANK = 64
_MAX_TENSORS = 1024

DATATYPES = {
    1: "TYPE_FP32",
    2: "TYPE_UINT8",
    3: "TYPE_INT8",
    4: "TYPE_UINT16",
    5: "TYPE_INT16",
    6: "TYPE_INT32",
    7: "TYPE_INT64",
    8: "TYPE_STRING",
    9: "TYPE_BOOL",
    10: "TYPE_FP16",
    11: "TYPE_FP64",
    12: "TYPE_UINT32",
    13: "TYPE_UINT64",
    16: "TYPE_BF16",
}
"""Triton's datatype by ONNX's number of it; the others (complex, 8-bit floats, 4-bit integers) have none there."""


class NotOnnx(ValueError):
    """The bytes are no ONNX model, or one whose inputs and outputs cannot be told."""


@dataclass(frozen=True)
class Tensor:
    """An input or output: `datatype` as Triton's configuration names it, -1 for an open axis, None for an open rank."""

    name: str
    datatype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives; `external` are the files beside it that hold tensors, by their relative paths."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    external: tuple[str, ...]


def read_signature(descriptor: int) -> Signature:
    """Read an open file; raises NotOnnx, or OSError where it cannot be read."""
    return signature_of(lambda size, at: os.pread(descriptor, size, at), os.fstat(descriptor).st_size)


def signature_of(read_at: Callable[[int, int], bytes], size: int) -> Signature:
    """Read a model of so many bytes, of which `read_at(size, at)` returns some; raises NotOnnx."""
    wire, found = _Wire(read_at, size), _Found()
    graphs = list(wire.messages(0, size, _MODEL_GRAPH))
    if not graphs:
        raise NotOnnx("it has no graph: it is no ONNX model")
    for graph in graphs:
        _read_graph(wire, graph, found)
    # Until 2019 an initializer had to be an input too; nobody sends those.
    inputs = [(name, tensor) for name, tensor in found.inputs if name not in found.initializers]
    if not found.outputs:
        raise NotOnnx("its graph has no output")
    return Signature(_tensors("input", inputs), _tensors("output", found.outputs), tuple(found.external))


def _tensors(what: str, named: list[tuple[str, Tensor | None]]) -> tuple[Tensor, ...]:
    if len(named) > _MAX_TENSORS:
        raise NotOnnx(f"it has {len(named)} {what}s; at most {_MAX_TENSORS} are served")
    for name, tensor in named:
        if tensor is None:
            raise NotOnnx(f"{what} {name!r:.100} is no tensor; export the model with tensors alone (zipmap=False)")
    return tuple(tensor for _, tensor in named if tensor is not None)


class _Found:
    """What was read of the graphs so far; None for an input or output that is no tensor."""

    def __init__(self) -> None:
        self.inputs: list[tuple[str, Tensor | None]] = []
        self.outputs: list[tuple[str, Tensor | None]] = []
        self.initializers: set[str] = set()
        self.external: dict[str, None] = {}


class _Field(NamedTuple):
    number: int
    wire: int
    value: int
    """Of a varint; 0 of the others."""
    start: int
    stop: int


class _Wire:
    """Protobuf's wire format over a file, a window of it in memory; every length is held against what there is."""

    def __init__(self, read_at: Callable[[int, int], bytes], size: int) -> None:
        self._read_at = read_at
        self._size = size
        self._at = 0
        self._window = b""
        self._fields = 0

    def fields(self, at: int, stop: int) -> Iterator[_Field]:
        """Walk over a message's fields, not into them."""
        while at < stop:
            self._fields += 1
            if self._fields > _MAX_FIELDS:
                raise NotOnnx(f"it has more than {_MAX_FIELDS} fields before its inputs and outputs were all found")
            tag, at = self._varint(at, stop)
            number, wire, value, start = tag >> 3, tag & 7, 0, at
            if number == 0:
                raise NotOnnx(f"byte {at} is not a protobuf field")
            if wire == _VARINT:
                value, at = self._varint(at, stop)
            elif wire == _BYTES:
                length, start = self._varint(at, stop)
                at = start + length
            elif wire in _FIXED_SIZE:
                at += _FIXED_SIZE[wire]
            else:
                raise NotOnnx(f"byte {at} is not a protobuf field")
            if at > stop:
                raise NotOnnx(f"it ends before field {number} at byte {start} does: it is damaged, or cut off")
            yield _Field(number, wire, value, start, at)

    def messages(self, at: int, stop: int, number: int) -> Iterator[_Field]:
        """Walk over the fields of this number that hold bytes or a message."""
        return (field for field in self.fields(at, stop) if field.number == number and field.wire == _BYTES)

    def text(self, field: _Field) -> str:
        """Return a field's text."""
        if field.stop - field.start > _MAX_NAME:
            raise NotOnnx(f"a name at byte {field.start} has more than {_MAX_NAME} bytes")
        try:
            return self._bytes(field.start, field.stop).decode()
        except UnicodeDecodeError:
            raise NotOnnx(f"a name at byte {field.start} is not UTF-8") from None

    def _varint(self, at: int, stop: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= stop:
                raise NotOnnx(f"it ends within a number at byte {at}: it is damaged, or cut off")
            byte = self._byte(at)
            at += 1
            value |= (byte & 0x7F) << shift
            if not byte & _MORE:
                return value & 0xFFFF_FFFF_FFFF_FFFF, at
        raise NotOnnx(f"byte {at} is not a protobuf number")

    def _byte(self, at: int) -> int:
        if not self._at <= at < self._at + len(self._window):
            self._window = self._read_at(min(_WINDOW, self._size - at), at)
            self._at = at
            if not self._window:
                raise NotOnnx("it was cut off while it was read")
        return self._window[at - self._at]

    def _bytes(self, start: int, stop: int) -> bytes:
        if self._at <= start and stop <= self._at + len(self._window):
            return self._window[start - self._at : stop - self._at]
        found = self._read_at(stop - start, start)
        if len(found) != stop - start:
            raise NotOnnx("it was cut off while it was read")
        return found


def _read_graph(wire: _Wire, graph: _Field, found: _Found) -> None:
    for field in wire.fields(graph.start, graph.stop):
        if field.wire != _BYTES:
            continue
        if field.number == _GRAPH_INPUT:
            found.inputs.append(_value(wire, field, "input"))
        elif field.number == _GRAPH_OUTPUT:
            found.outputs.append(_value(wire, field, "output"))
        elif field.number == _GRAPH_INITIALIZER:
            found.initializers.add(_initializer(wire, field, found.external))
        elif field.number == _GRAPH_SPARSE_INITIALIZER:
            for values in wire.messages(field.start, field.stop, _SPARSE_VALUES):
                found.initializers.add(_initializer(wire, values, found.external))


def _initializer(wire: _Wire, field: _Field, external: dict[str, None]) -> str:
    """Return a TensorProto's name, and note the file that holds its values where that is another one."""
    name, location, is_external = "", "", False
    for inner in wire.fields(field.start, field.stop):
        if inner.number == _TENSOR_NAME and inner.wire == _BYTES:
            name = wire.text(inner)
        elif inner.number == _TENSOR_DATA_LOCATION and inner.wire == _VARINT:
            is_external = inner.value == _EXTERNAL
        elif inner.number == _TENSOR_EXTERNAL_DATA and inner.wire == _BYTES:
            pair = {
                entry.number: wire.text(entry)
                for entry in wire.fields(inner.start, inner.stop)
                if entry.wire == _BYTES and entry.number in {_ENTRY_KEY, _ENTRY_VALUE}
            }
            location = pair.get(_ENTRY_VALUE, "") if pair.get(_ENTRY_KEY) == "location" else location
    if is_external:
        external[location] = None
    return name


def _value(wire: _Wire, field: _Field, what: str) -> tuple[str, Tensor | None]:
    """Return a ValueInfoProto's name, and the tensor that it is where it is one."""
    name, of = "", None
    for inner in wire.fields(field.start, field.stop):
        if inner.number == _VALUE_NAME and inner.wire == _BYTES:
            name = wire.text(inner)
        elif inner.number == _VALUE_TYPE and inner.wire == _BYTES:
            of = next(wire.messages(inner.start, inner.stop, _TYPE_TENSOR), None)
    if not name:
        raise NotOnnx(f"an {what} has no name")
    return name, None if of is None else _tensor(wire, of, what, name)


def _tensor(wire: _Wire, of: _Field, what: str, name: str) -> Tensor:
    number, shape = 0, None
    for inner in wire.fields(of.start, of.stop):
        if inner.number == _TENSOR_TYPE_ELEMENT and inner.wire == _VARINT:
            number = inner.value
        elif inner.number == _TENSOR_TYPE_SHAPE and inner.wire == _BYTES:
            shape = tuple(_axis(wire, axis) for axis in wire.messages(inner.start, inner.stop, _SHAPE_AXIS))
    if number not in DATATYPES:
        raise NotOnnx(f"{what} {name!r:.100} has ONNX's datatype {number}, and Triton has no such one")
    if shape is not None and len(shape) > _MAX_RANK:
        raise NotOnnx(f"{what} {name!r:.100} has more than {_MAX_RANK} axes")
    return Tensor(name, DATATYPES[number], shape)


def _axis(wire: _Wire, axis: _Field) -> int:
    """Return an axis' length, -1 where it is open: named, absent, or a number that is no length."""
    length = -1
    for inner in wire.fields(axis.start, axis.stop):
        if inner.number == _AXIS_LENGTH and inner.wire == _VARINT:
            length = inner.value if 0 < inner.value < 1 << 31 else -1
    return length
