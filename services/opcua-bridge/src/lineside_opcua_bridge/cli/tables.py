"""Tables on a terminal or in a pipe: nothing is cut, so that a node id can be copied whole."""

import json
import sys
from collections.abc import Sequence
from typing import Any


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows under their heads, each column as wide as its widest cell."""
    lines = [list(heads), *([visible(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def visible(text: str) -> str:
    """Return text without what a terminal would obey, shown as escapes: a PLC's names and values are not its own.

    Those are all control characters but the line feed, and the marks that turn or hide text.
    """
    return "".join(each if each.isprintable() or each == "\n" else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def show(text: str) -> None:
    """Print text at once, for who reads along."""
    sys.stdout.write(visible(text))
    sys.stdout.flush()


def show_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    obeyed = (each for each in set(text) if not each.isprintable() and each != "\n")  # inside of strings only
    show(text.translate({ord(each): json.dumps(each)[1:-1] for each in obeyed}) + "\n")
