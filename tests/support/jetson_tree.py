"""A Jetson's files as a folder, from `tests/fixtures/hardware/sysfs`."""

from pathlib import Path

TREES = Path(__file__).parents[1] / "fixtures" / "hardware" / "sysfs"


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
