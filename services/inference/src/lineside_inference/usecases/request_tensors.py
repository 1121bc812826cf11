"""From a request's tensors to the model's input, refused by name where they do not fit."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.contract import Tensor, TensorsSource
from lineside.settings import nearest
from lineside_inference.errors import (
    TensorColumns,
    TensorDatatype,
    TensorName,
    TensorShape,
    TensorUnits,
    TensorValues,
)
from lineside_inference.models.card import CardInput


def write(source: TensorsSource, card: CardInput, out: NDArray[Any]) -> None:
    """Write the one tensor that the card names into `out`, which has the card's shape and datatype.

    Columns that the request names are put in the card's order, and their units compared with the card's.
    Raises TensorName, TensorDatatype, TensorColumns, TensorUnits, TensorShape or TensorValues.
    """
    names = [tensor.name for tensor in source.tensors]
    if names != [card.name]:
        raise TensorName(f"the tensors are {', '.join(names)}", remedy=f"Give exactly one, named {card.name!r}")
    tensor = source.tensors[0]
    if tensor.datatype != card.datatype:
        raise TensorDatatype(f"tensor {tensor.name!r} is {tensor.datatype}", remedy=f"Give it as {card.datatype}")
    places = _places(tensor, card)
    if tensor.shape != card.shape:
        columns = f" (last axis: {', '.join(card.columns)})" if card.columns else ""
        raise TensorShape(
            f"tensor {tensor.name!r} has shape {list(tensor.shape)}",
            remedy=f"Give {list(card.shape)}, without a batch dimension{columns}",
        )
    if len(tensor.values) != math.prod(card.shape):
        raise TensorShape(
            f"tensor {tensor.name!r} has {len(tensor.values)} values",
            remedy=f"Shape {list(card.shape)} needs {math.prod(card.shape)}, flat, in row-major order",
        )
    values = _values(tensor, out.dtype).reshape(card.shape)
    out[...] = values if places is None else values[..., places]


def _places(tensor: Tensor, card: CardInput) -> list[int] | None:
    """Return where in the tensor each of the card's columns stands, or None where the request names no columns."""
    if tensor.columns is None:
        return None
    if card.columns is None:
        raise TensorColumns(
            f"tensor {tensor.name!r} names columns and the model's card has none",
            remedy="Name `columns` on the card, or give the values in the model's own order and leave them out",
        )
    missing = [name for name in card.columns if name not in tensor.columns]
    strange = [name for name in tensor.columns if name not in card.columns]
    if missing or strange:
        wrong = [f"{name!r} is missing" for name in missing]
        wrong += [f"{name!r} is not one{nearest(name, missing)}" for name in strange]
        raise TensorColumns(
            f"columns of tensor {tensor.name!r}: {'; '.join(wrong)}",
            remedy=f"Give exactly {', '.join(card.columns)}, in any order",
        )
    places = [tensor.columns.index(name) for name in card.columns]
    for name, place, wanted in zip(card.columns, places, card.units or (None,) * len(places), strict=True):
        given = tensor.units[place] if tensor.units else None
        if given is not None and wanted is not None and given != wanted:
            raise TensorUnits(
                f"column {name!r} of tensor {tensor.name!r} is in {given!r}",
                remedy=f"Give it in {wanted!r}: scale and offset of the bridge's window convert it",
            )
    return places


def _values(tensor: Tensor, dtype: np.dtype[Any]) -> NDArray[Any]:
    wrong = _wrong_kind(tensor, dtype)
    if wrong is None:
        try:
            # numpy checks the range of whole numbers, and silently wraps floats that it makes whole itself.
            given = [int(value) for value in tensor.values] if dtype.kind in "iu" else tensor.values
            with np.errstate(over="ignore"):
                values = np.array(given, dtype)
        except OverflowError:
            wrong = "a value out of its range"
        else:
            if dtype.kind != "f" or np.isfinite(values).all():
                return values
            wrong = "a value out of its range"
    raise TensorValues(f"tensor {tensor.name!r} has {wrong}", remedy=f"Every value must fit {tensor.datatype}")


def _wrong_kind(tensor: Tensor, dtype: np.dtype[Any]) -> str | None:
    kinds = {type(value) for value in tensor.values}
    if dtype.kind == "b":
        return None if kinds <= {bool} else "a value that is not true or false"
    if bool in kinds:
        return "a value that is true or false"
    if dtype.kind in "iu" and float in kinds and not all(float(value).is_integer() for value in tensor.values):
        return "a value with a fraction"
    return None
