import pytest

from lineside.tables import table, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä 部品", "plain ä 部品"),
        ("\x1b[2Jgone\x07", "\\x1b[2Jgone\\x07"),
        ("two\nlines\r", "two\nlines\\x0d"),
        ("c1 \x9b31m", "c1 \\x9b31m"),
        ("turned \u202e", "turned \\u202e"),
        ("tab\t", "tab\\x09"),
    ],
)
def test_control_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_no_cell_breaks_its_row() -> None:
    assert table(["A", "B"], [["x\ny", "\x1b[31m"]]) == "A    B\nx y  \\x1b[31m\n"
