"""Values as JSON and as bytes."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.errors import LinesideError
from lineside_inference.dataplane.datatypes import check_strings, pack, size_of, unpack
from lineside_inference.errors import TensorValues
from lineside_inference.models.dtypes import DTYPES

WHOLE = sorted(name for name, kind in DTYPES.items() if np.dtype(kind).kind in "iu")


@pytest.mark.parametrize("datatype", sorted(DTYPES))
@given(data=st.data())
def test_values_come_back_as_they_went(datatype: str, data: st.DataObject) -> None:
    dtype = np.dtype(DTYPES[datatype])
    if dtype.kind == "b":
        one: st.SearchStrategy[Any] = st.booleans()
    elif dtype.kind == "f":
        one = st.floats(width=dtype.itemsize * 8, allow_nan=False, allow_infinity=False)  # type: ignore[call-overload]
    else:
        one = st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    values = data.draw(st.lists(one, max_size=20))
    packed = pack("x", datatype, [len(values)], values)
    assert len(packed) == size_of(datatype, [len(values)])
    assert unpack("x", datatype, packed) == values


@given(st.lists(st.text(max_size=8), max_size=20))
def test_strings_come_back_as_they_went(values: list[str]) -> None:
    packed = pack("x", "BYTES", [len(values)], values)
    check_strings("x", packed, len(values))
    assert unpack("x", "BYTES", packed) == values


@given(st.binary(max_size=40), st.integers(0, 6))
def test_lengths_that_lie_are_refused_and_never_crash(data: bytes, count: int) -> None:
    at = 0
    for _ in range(count):
        at += 4 + int.from_bytes(data[at : at + 4], "little")
    if at == len(data):
        check_strings("x", data, count)
    else:
        with pytest.raises(TensorValues):
            check_strings("x", data, count)


@pytest.mark.parametrize("shape", [[2, 3], [6], [1, 2, 3, 1]])
def test_nested_as_the_shape_or_flat(shape: list[int]) -> None:
    values = np.arange(6, dtype=np.int32)
    assert pack("x", "INT32", shape, values.reshape(shape).tolist()) == values.tobytes()
    assert pack("x", "INT32", shape, values.tolist()) == values.tobytes()


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "code"),
    [
        ("INT32", [2], [1], "tensor-shape"),
        ("INT32", [2, 2], [[1, 2], [3]], "tensor-shape"),
        ("INT32", [2, 2], [[1, 2], 3], "tensor-shape"),
        ("INT32", [2, 2], [[[1], [2]], [[3], [4]]], "tensor-values"),
        ("INT32", [1], [1.0], "tensor-values"),
        ("INT32", [1], [True], "tensor-values"),
        ("INT8", [1], [128], "tensor-values"),
        ("UINT64", [1], [-1], "tensor-values"),
        ("BOOL", [1], [1], "tensor-values"),
        ("FP32", [1], ["1"], "tensor-values"),
        ("FP32", [1], [None], "tensor-values"),
        ("FP32", [1], [1e39], "tensor-values"),
        ("FP64", [1], [10**400], "tensor-values"),
        ("FP16", [1], [70000], "tensor-values"),
        ("BYTES", [1], [1], "tensor-values"),
        ("BF16", [1], [1.0], "tensor-datatype"),
    ],
)
def test_what_does_not_fit_is_refused(datatype: str, shape: list[int], data: list[Any], code: str) -> None:
    with pytest.raises(LinesideError) as caught:
        pack("x", datatype, shape, data)
    assert caught.value.code == code


@pytest.mark.parametrize("datatype", WHOLE)
def test_the_ends_of_the_range_fit(datatype: str) -> None:
    info = np.iinfo(DTYPES[datatype])
    ends = [int(info.min), int(info.max), 0]
    assert unpack("x", datatype, pack("x", datatype, [3], ends)) == ends


@pytest.mark.parametrize(
    ("datatype", "data", "code"),
    [
        ("FP32", np.array([math.nan], np.float32).tobytes(), "output-not-finite"),
        ("BF16", b"ab", "output-not-json"),
        ("BYTES", b"\1\0\0\0\xff", "output-not-json"),
    ],
)
def test_what_json_cannot_say_is_refused(datatype: str, data: bytes, code: str) -> None:
    with pytest.raises(LinesideError) as caught:
        unpack("x", datatype, data)
    assert caught.value.code == code
