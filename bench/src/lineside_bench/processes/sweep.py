"""Remove what a bench that was killed left behind: its folder, its state file, Triton's shared memory.

Run as `python sweep.py PARENT_PID`, in a session of its own. Each line on standard input is `+ PATH` (remove
it at the end) or `- PATH` (keep it, or it is removed already); a PATH that ends in `*` stands for every path with that
prefix. When the bench has died, or has closed the pipe, what is left on the list is removed.
"""

import contextlib
import json
import os
import select
import shutil
import sys
import time
from pathlib import Path

WAIT_S = 10.0
"""Longest wait for the bench's processes, which the kernel kills with it: until they end they may still write."""
_POLL_S = 0.05


def main() -> None:
    """Keep the list until the bench has ended, then remove what is on it."""
    parent = int(sys.argv[1])
    listed: dict[str, None] = {}
    watched = [sys.stdin.fileno()]
    with contextlib.suppress(OSError):  # gone already, or a kernel before 5.3: the end of the pipe tells then
        watched.append(os.pidfd_open(parent))
    rest = b""
    while True:
        ready, _, _ = select.select(watched, [], [])
        if sys.stdin.fileno() not in ready:
            break
        if not (piece := os.read(sys.stdin.fileno(), 65536)):
            break
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            sign, _, path = os.fsdecode(line).partition(" ")
            listed.pop(path, None)
            if sign == "+":
                listed[path] = None
    end = time.monotonic() + WAIT_S
    while sum(_remove(path, parent) for path in listed) and time.monotonic() < end:
        time.sleep(_POLL_S)


def _remove(text: str, parent: int) -> bool:
    """Remove what a path stands for; return whether there was anything of the parent's."""
    path = Path(text)
    found = list(path.parent.glob(f"{path.name[:-1]}*")) if text.endswith("*") else [path]
    there = [each for each in found if os.path.lexists(each) and not _is_anothers(each, parent)]
    for each in there:
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                each.unlink()
    return bool(there)


def _is_anothers(path: Path, parent: int) -> bool:
    """Whether this is the state file of another bench, which was started with the same name meanwhile."""
    if path.suffix != ".json" or path.is_dir():
        return False
    try:
        return bool(json.loads(path.read_bytes()).get("pid", parent) != parent)
    except (OSError, ValueError, AttributeError):
        return False


if __name__ == "__main__":
    main()
