import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PACKAGES = (ROOT, ROOT / "src", ROOT / "bench" / "src", ROOT / "fleet" / "src", *(ROOT / "services").glob("*/src"))
TESTS = (ROOT / "tests",)


def rows(section: str) -> list[list[str]]:
    """Return the cells of each row of a section's table, without its head."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def missing(cell: str, below: tuple[Path, ...]) -> list[str]:
    """Return the paths of a cell that stand below none of these folders."""
    paths = re.findall(r"`([\w./-]+(?:\.\w+|/))`", cell)
    return [path for path in paths if not any((folder / path).exists() for folder in below)]


INVARIANTS = rows("Invariants, and where each is kept")


@pytest.mark.parametrize(("what", "kept", "proven"), INVARIANTS, ids=[row[0] for row in INVARIANTS])
def test_an_invariant_is_kept_and_proven_by_files_that_are_there(what: str, kept: str, proven: str) -> None:
    """A module's path begins at its package or at the root, a test's below `tests/`."""
    assert missing(kept, PACKAGES) == [], what
    assert missing(proven, TESTS) == [], what
    assert "/test_" in proven, f"no test proves: {what}"


def test_every_room_is_there() -> None:
    found = [path for row in rows("Rooms") for path in missing(row[0], PACKAGES)]
    assert found == []


def test_no_two_files_of_tests_have_one_name() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name not in {"conftest.py", "__init__.py"}]
    assert sorted(names) == sorted(set(names))


def test_no_page_has_two_sides_of_a_conflict() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    conflict = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)
    assert [str(page) for page in pages if conflict.search(page.read_text(encoding="utf-8"))] == []
