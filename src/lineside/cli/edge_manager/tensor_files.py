"""Tensors as files on the command line: read without ever running what is in them, written, and summed up."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from lineside.cli.edge_manager.agent import word
from lineside.cli.edge_manager.errors import BadInput, Refused
from lineside.edge_manager.protocol import agent_pb2 as pb

Array = np.ndarray[Any, np.dtype[Any]]

DTYPES: Mapping[str, np.dtype[Any]] = {
    name: np.dtype(name.lower()).newbyteorder("<")
    for name in pb.DataType.keys()  # noqa: SIM118 - it is no mapping
}
"""By the protocol's word what numpy calls it: the same in small letters."""
_SAME_BITS = {"bool": "uint8", "int8": "uint8", "uint16": "int16", "uint32": "int32", "uint64": "int64"}
_MAX_LENGTH = 2**31 - 1
"""Of one axis: the protocol's int32."""
_RAW = re.compile(r"(?P<path>.+):(?P<dtype>\w+):(?P<shape>(\d+(,\d+)*)?)", re.DOTALL)
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_FORM = "NAME=FILE.npy, or NAME=FILE:DTYPE:SHAPE as image=frame.raw:uint8:1,3,224,224"


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file with the name that its content has for the model; `dtype` and `shape` where it holds raw values."""

    name: str
    path: Path
    dtype: str | None = None
    shape: tuple[int, ...] = ()

    @property
    def is_tensor(self) -> bool:
        """Whether it is said to hold a tensor."""
        return self.dtype is not None or self.path.suffix == ".npy"


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array of one of the protocol's datatypes, little-endian, in row-major order."""

    name: str
    datatype: str
    array: Array

    @property
    def metadata(self) -> pb.TensorMetadata:
        """How the protocol describes it."""
        return pb.TensorMetadata(
            name=os.fsencode(self.name), data_type=pb.DataType.Value(self.datatype), shape=self.array.shape
        )


def named_file(text: str) -> NamedFile:
    """Return what an option names; raises BadInput."""
    name, equals, rest = text.partition("=")
    if not (name and equals and rest):
        raise BadInput(f"{text!r} names no file", remedy=f"Give {_FORM}")
    raw = _RAW.fullmatch(rest)
    if raw is None:
        return NamedFile(name, Path(rest))
    shape = tuple(int(length) for length in raw["shape"].split(",") if length)
    return NamedFile(name, Path(raw["path"]), raw["dtype"], shape)


def read(file: NamedFile) -> Tensor:
    """Return a file's tensor, whose values are read when they are used; raises BadInput."""
    if not file.is_tensor:
        raise BadInput(f"{file.path}: what it holds is not said", remedy=f"Give {_FORM}")
    _readable(file.path)
    array = _saved(file.path) if file.dtype is None else _raw(file.path, file.dtype, file.shape)
    datatype = array.dtype.newbyteorder("=").name.upper()
    if datatype not in DTYPES:
        same = _SAME_BITS.get(array.dtype.name)
        view = f". What has the same bits is sent as such: array.view({same!r})" if same else ""
        raise BadInput(f"{file.path}: dtype {array.dtype} is none of the protocol's", remedy=f"{_known()}{view}")
    _check_lengths(file.path, array.shape)
    return Tensor(file.name, datatype, array)


def values(tensor: Tensor) -> Array:
    """Return a tensor's values as they are sent; raises BadInput where they cannot be read."""
    try:
        return np.asarray(tensor.array, DTYPES[tensor.datatype], order="C")
    except (OSError, MemoryError) as error:
        raise BadInput(f"{tensor.name}: cannot be read: {error}") from None


def content(path: Path, most: int) -> bytes:
    """Return a file's bytes, `most` at most; raises BadInput."""
    _readable(path)
    try:
        with path.open("rb") as opened:
            found = opened.read(most + 1)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None
    if len(found) > most:
        raise BadInput(f"{path}: has more than {most} bytes", remedy="See edge_manager.max_message_bytes")
    return found


def answered(tensor: pb.Tensor) -> Tensor:
    """Return a tensor of an answer; raises Refused where it is none."""
    about = tensor.tensor_metadata
    name, shape = about.name.decode("utf-8", "backslashreplace"), tuple(about.shape)
    datatype = word(pb.DataType, about.data_type)
    wrong = f"the agent's answer cannot be read: output {name!r}"
    if tensor.HasField("shared_memory_handle"):
        raise Refused(f"{wrong} is named as shared memory, which an output never is")
    if datatype not in DTYPES:
        raise Refused(f"{wrong} has data_type {datatype}", remedy=_known())
    dtype, size = DTYPES[datatype], len(tensor.byte_data)
    if any(length < 0 for length in shape) or size != prod(shape) * dtype.itemsize:
        raise Refused(f"{wrong} has {size} bytes, as {datatype} {list(shape)}")
    return Tensor(name, datatype, np.frombuffer(tensor.byte_data, dtype).reshape(shape))


def write(folder: Path, outputs: list[Tensor]) -> list[Path]:
    """Write outputs as .npy, each by its name where that can be a file's; raises BadInput where it cannot be done."""
    paths: list[Path] = []
    try:
        folder.mkdir(exist_ok=True)
        for at, one in enumerate(outputs):
            path = folder / f"{one.name}.npy"
            if _SAFE.fullmatch(one.name) is None or path in paths:
                path = folder / f"output-{at + 1}.npy"
            np.save(path, one.array, allow_pickle=False)
            paths.append(path)
    except OSError as error:
        raise BadInput(
            f"{error.filename or folder}: the outputs cannot be written: {error.strerror or error}"
        ) from None
    return paths


def _readable(path: Path) -> None:
    """Raise BadInput where a path is no file that can be read: a pipe would be waited for."""
    try:
        is_file = path.is_file()
        there = path.exists()
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from None
    if not is_file:
        raise BadInput(f"{path}: is no file" if there else f"{path}: there is no such file")


def _check_lengths(path: Path, shape: tuple[int, ...]) -> None:
    if any(length > _MAX_LENGTH for length in shape):
        raise BadInput(f"{path}: shape {list(shape)}: the protocol's lengths are {_MAX_LENGTH} at most")


def _saved(path: Path) -> Array:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # noqa: BLE001 - whatever numpy raises of a file that is none of its own
        raise BadInput(
            f"{path}: no array that can be sent: {error}", remedy="Save numbers by numpy.save; objects are never read"
        ) from None
    if not isinstance(found, np.ndarray):
        found.close()
        raise BadInput(f"{path}: holds several arrays, as .npz", remedy="Save each by numpy.save")
    return found


def _raw(path: Path, name: str, shape: tuple[int, ...]) -> Array:
    dtype = DTYPES.get(name.upper())
    if dtype is None:
        raise BadInput(f"{path}: dtype {name} is none of the protocol's", remedy=_known())
    _check_lengths(path, shape)
    size, needed = path.stat().st_size, prod(shape) * dtype.itemsize
    if size != needed:
        raise BadInput(f"{path}: has {size} bytes", remedy=f"{name.upper()} {list(shape)} needs {needed}")
    if not size:
        return np.empty(shape, dtype)  # there is no map of no bytes
    try:
        return np.memmap(path, dtype, "r", shape=shape)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from None


def _known() -> str:
    return f"Known are {', '.join(DTYPES)}"
