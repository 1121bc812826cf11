"""The widths that cards are read with are numpy's."""

import numpy as np

from lineside_inference.models.dtypes import DTYPES
from lineside_inference.models.head import ITEM_BYTES


def test_each_datatype_has_numpys_width() -> None:
    assert {name: np.dtype(kind).itemsize for name, kind in DTYPES.items()} == ITEM_BYTES
