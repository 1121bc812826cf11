"""Typed contents become the bytes that raw contents of the same values have."""

from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from lineside_inference.errors import TensorDatatype, TensorValues
from lineside_inference.grpc_v2.contents import FIELDS, count, pack
from lineside_inference.models.dtypes import DTYPES


def contents(datatype: str, values: list[Any]) -> Any:
    return pb.InferTensorContents(**{FIELDS[datatype][0]: values})


@pytest.mark.parametrize("datatype", [kind for kind in FIELDS if kind != "BYTES"])
def test_each_datatype(datatype: str) -> None:
    kind = np.dtype(DTYPES[datatype])
    edges = {"b": [True, False], "f": [np.nan, -0.0, np.inf]}
    values = edges.get(kind.kind) or [np.iinfo(kind).min, np.iinfo(kind).max]
    array = np.array(values, kind)
    assert pack("x", datatype, contents(datatype, array.tolist())) == array.tobytes()
    assert pack("x", datatype, contents(datatype, [])) == b""


def test_bytes_have_their_lengths_before_them() -> None:
    assert pack("x", "BYTES", contents("BYTES", [b"", b"ab"])) == b"\0\0\0\0\2\0\0\0ab"


@pytest.mark.parametrize(
    ("datatype", "values"), [("INT8", [-129]), ("INT16", [1, 32768]), ("UINT8", [256]), ("UINT16", [65536])]
)
def test_a_value_out_of_its_range_is_refused(datatype: str, values: list[int]) -> None:
    with pytest.raises(TensorValues, match=f"{datatype} takes "):
        pack("x", datatype, contents(datatype, values))


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "", "FP31"])
def test_a_datatype_without_a_field_is_refused(datatype: str) -> None:
    with pytest.raises(TensorDatatype, match="raw_input_contents"):
        pack("x", datatype, pb.InferTensorContents())


def test_values_in_another_field_are_refused() -> None:
    given = contents("INT64", [1])
    with pytest.raises(TensorValues, match="stand in fp32_contents"):
        pack("x", "FP32", given)
    given.fp32_contents.extend([1.0, 2.0])
    assert count(given) == 3
    with pytest.raises(TensorValues, match="int64_contents"):
        pack("x", "FP32", given)
