"""What was recorded of Jetsons: their files as a folder, and lines of tegrastats."""

from pathlib import Path

from lineside_exporter.device.tegrastats import Line, parse
from tests.support.paths import FIXTURES

TREES = FIXTURES / "hardware" / "sysfs"
RECORDED = FIXTURES / "hardware" / "tegrastats"


def grow(board: str, root: Path) -> Path:
    """Write the files of a board below `root`; an unreadable one is a folder, whose reading fails for root too."""
    for line in (TREES / f"{board}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        name, _, content = line.partition(" = ")
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content == "<unreadable>":
            path.mkdir()
        else:
            path.write_text(content + ("\0" if name.startswith("proc/device-tree") else "\n"), encoding="utf-8")
    return root


def recorded(board: str, number: int = 0) -> Line:
    """Return a recorded line of a board's tegrastats, parsed."""
    return parse((RECORDED / f"{board}.txt").read_text(encoding="utf-8").splitlines()[1 + number])
