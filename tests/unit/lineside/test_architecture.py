import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCES = (ROOT / "src", ROOT / "bench" / "src", *(ROOT / "services").glob("*/src"), ROOT)
INVARIANTS = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Invariants")[2].partition("\n## ")[0]


def test_every_file_that_an_invariant_is_kept_in_is_there() -> None:
    """A path begins at a package or at the root; a name without its folder stands beside the one named before it."""
    missing = []
    for row in re.findall(r"^\|.*\|$", INVARIANTS, re.MULTILINE):
        folder = ROOT
        for name in re.findall(r"`([\w./-]+(?:\.\w+|/))`", row.split("|", 2)[2]):
            bases = (*SOURCES, folder, *(above for above in folder.parents if above.is_relative_to(ROOT)))
            found = [base / name for base in bases if (base / name).exists()]
            missing += [] if found else [name]
            folder = found[0] if found and found[0].is_dir() else found[0].parent if found else folder
    assert not missing
