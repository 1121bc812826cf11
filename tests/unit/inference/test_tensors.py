from typing import Any

import numpy as np
import pytest

from lineside.contract import Tensor, TensorsSource
from lineside_inference.errors import TensorDatatype, TensorName, TensorShape, TensorValues
from lineside_inference.models.card import CardInput
from lineside_inference.tensors import write

FLOATS = CardInput(name="window", kind="tensor", datatype="FP32", shape=(2, 3), columns=("a", "b", "c"))


def source(**fields: Any) -> TensorsSource:
    tensor = {"name": "window", "datatype": "FP32", "shape": (2, 3), "values": [1, 2.5, 3, 4, 5, 6]} | fields
    return TensorsSource(tensors=(Tensor.model_validate(tensor),))


def written(card: CardInput, dtype: type[np.generic], **fields: Any) -> np.ndarray:
    out = np.zeros(card.shape, dtype)
    write(source(datatype=card.datatype, **fields), card, out)
    return out


def test_row_major() -> None:
    assert written(FLOATS, np.float32).tolist() == [[1, 2.5, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"name": "w"}, TensorName, "named 'window'"),
        ({"datatype": "FP64"}, TensorDatatype, "Give it as FP32"),
        ({"shape": (3, 2)}, TensorShape, r"shape \[3, 2\].*Give \[2, 3\].*a, b, c"),
        ({"shape": (1, 2, 3)}, TensorShape, "without a batch dimension"),
        ({"values": [1.0] * 5}, TensorShape, "has 5 values.*needs 6"),
        ({"values": [1e300] * 6}, TensorValues, "out of its range"),
        ({"values": [True] * 6}, TensorValues, "true or false"),
    ],
)
def test_what_does_not_fit_is_named(fields: dict[str, Any], error: type[Exception], said: str) -> None:
    out = np.zeros(FLOATS.shape, np.float32)
    with pytest.raises(error, match=said):
        write(source(**fields), FLOATS, out)
    assert not out.any()


@pytest.mark.parametrize(
    ("datatype", "dtype", "value", "said"),
    [
        ("INT8", np.int8, 300, "out of its range"),
        ("INT8", np.int8, 300.0, "out of its range"),
        ("INT64", np.int64, 1e300, "out of its range"),
        ("UINT8", np.uint8, -1, "out of its range"),
        ("INT32", np.int32, 1.5, "a fraction"),
        ("BOOL", np.bool_, 2, "not true or false"),
        ("FP16", np.float16, 1e6, "out of its range"),
    ],
)
def test_values_are_never_bent_to_fit(datatype: Any, dtype: type[np.generic], value: float, said: str) -> None:
    card = CardInput(name="window", kind="tensor", datatype=datatype, shape=(2, 3))
    with pytest.raises(TensorValues, match=said):
        written(card, dtype, values=[value] * 6)


def test_whole_numbers_may_be_written_as_floats() -> None:
    card = CardInput(name="window", kind="tensor", datatype="INT32", shape=(2, 3))
    assert written(card, np.int32, values=[1.0, 2, 3, 4, 5, 6]).tolist() == [[1, 2, 3], [4, 5, 6]]
