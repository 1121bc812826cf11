from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from lineside.contract import Request, Tensor, TensorsSource, parse_request, to_json
from lineside_inference.errors import (
    TensorColumns,
    TensorDatatype,
    TensorName,
    TensorShape,
    TensorUnits,
    TensorValues,
)
from lineside_inference.models.card import CardInput
from lineside_inference.usecases.request_tensors import write

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


NAMED = CardInput(
    name="window", kind="tensor", datatype="FP32", shape=(2, 3), columns=("a", "b", "c"), units=("mm/s", None, "%")
)


@pytest.mark.parametrize("units", [None, (None, None, None), ("%", "rpm", "mm/s")])
def test_columns_are_put_in_the_cards_order(units: Any) -> None:
    assert written(NAMED, np.float32, columns=("c", "b", "a"), units=units).tolist() == [[3, 2.5, 1], [6, 5, 4]]


def test_columns_in_another_order_come_through_json_unharmed() -> None:
    values = [0.1, 2.5, -3e-7, 4, 1234567, 3.4e38]
    given = source(columns=("b", "c", "a"), units=("rpm", "%", "mm/s"), values=values)
    read = parse_request(to_json(Request.new(model="m", source=given))).source
    assert isinstance(read, TensorsSource)
    out = np.zeros(NAMED.shape, np.float32)
    write(read, NAMED, out)
    expected = np.array(values, np.float32).reshape(2, 3)[:, [2, 0, 1]]
    assert out.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"columns": ("a", "b", "d")}, TensorColumns, "'c' is missing; 'd' is not one.*exactly a, b, c"),
        ({"columns": ("a", "b"), "shape": (3, 2)}, TensorColumns, "'c' is missing"),
        ({"columns": ("a", "b", "c", "d"), "shape": (2, 4)}, TensorColumns, "'d' is not one"),
        ({"columns": ("a", "b", "c"), "units": ("in/s", None, None)}, TensorUnits, "'a'.*in 'in/s'.*'mm/s'"),
        ({"columns": ("c", "b", "a"), "units": ("mm/s", None, None)}, TensorUnits, "'c'.*in 'mm/s'.*'%'"),
    ],
)
def test_wrong_columns_and_units_are_named(fields: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        written(NAMED, np.float32, **fields)


def test_the_nearest_column_is_named() -> None:
    card = CardInput(name="window", kind="tensor", datatype="FP32", shape=(2, 1), columns=("speed_rpm",))
    with pytest.raises(TensorColumns, match=r"'spindle_rpm' is not one.*did you mean 'speed_rpm'"):
        written(card, np.float32, columns=("spindle_rpm",), shape=(2, 1), values=[1, 2])


def test_columns_need_a_card_that_names_its_own() -> None:
    card = CardInput(name="window", kind="tensor", datatype="FP32", shape=(2, 3))
    with pytest.raises(TensorColumns, match="card has none"):
        written(card, np.float32, columns=("a", "b", "c"))


@pytest.mark.parametrize("units", [("mm",), ("mm", None, None, None)])
def test_a_card_has_one_unit_for_each_column(units: tuple[str | None, ...]) -> None:
    with pytest.raises(ValidationError, match="one unit or null for each"):
        CardInput(name="w", kind="tensor", datatype="FP32", shape=(2, 3), columns=("a", "b", "c"), units=units)
