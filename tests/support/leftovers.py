"""What a run of the tests that was cut off left on the engine: whole lines, which start again with the engine.

They would be judging parts beside all that the next run does, and nothing of it would say why it is slow.
"""

import contextlib
import fcntl
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

MADE_BY_TESTS = re.compile(r"lineside-test-|t[0-9a-f]{8}-")
"""How all tests begin the names of their containers, networks and volumes."""
LOCK = "lineside-tests-engine.lock"


def remove_leftovers(made: re.Pattern[str] = MADE_BY_TESTS) -> list[str]:
    """Remove what bears a test's name, containers first; return the names. For a time when no test uses the engine."""
    removed = []
    for kind, shown, remove in (
        ("container", ("--all", "--format", "{{.Names}}"), ("--force", "--volumes")),
        ("network", ("--format", "{{.Name}}"), ()),
        ("volume", ("--format", "{{.Name}}"), ("--force",)),
    ):
        names = subprocess.run(["docker", kind, "ls", *shown], capture_output=True, text=True, check=False).stdout
        if left := [name for name in names.split() if made.match(name)]:
            subprocess.run(["docker", kind, "rm", *remove, *left], capture_output=True, check=False)
            removed += left
    return removed


@contextlib.contextmanager
def engine_in_use(folder: Path | None = None, made: re.Pattern[str] = MADE_BY_TESTS) -> Iterator[list[str]]:
    """Hold the engine with other lanes and other runs; the first of them all removes what is left over.

    Yield the names of what was removed. `folder` holds the lock; without one it is the machine's for temporary files.
    """
    with ((folder or Path(tempfile.gettempdir())) / LOCK).open("w") as lock:
        removed = []
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            removed = remove_leftovers(made)
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield removed
