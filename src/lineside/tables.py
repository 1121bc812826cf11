"""Tables on a terminal or in a pipe: nothing is cut, so that an id can be copied whole."""

from collections.abc import Sequence

_CONTROLS = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 - what two digits hold
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if code != ord("\n")
}
"""Control characters, line separators, and what turns the direction of text."""


def visible(text: str) -> str:
    """Return a text that came from elsewhere as a terminal may show it: control characters as escapes, lines kept."""
    return text.translate(_CONTROLS)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """Return rows under their heads, each column as wide as its widest cell; columns named in `right` end alike."""
    lines = [list(heads), *([visible(cell).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "".join(
        "  ".join(
            cell.rjust(width) if head in right else cell.ljust(width)
            for head, cell, width in zip(heads, line, widths, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )
