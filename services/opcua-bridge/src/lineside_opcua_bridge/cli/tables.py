"""Tables on a terminal or in a pipe: nothing is cut, so that a node id can be copied whole."""

import json
import sys
from collections.abc import Sequence
from typing import Any


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows under their heads, each column as wide as its widest cell."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def show(text: str) -> None:
    """Print text at once, for who reads along."""
    sys.stdout.write(text)
    sys.stdout.flush()


def show_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON."""
    show(json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")
