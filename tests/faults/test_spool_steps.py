"""A fault at every single sync and write of a spool's life: SIGKILL, EIO, ENOSPC, by strace.

In the short form the errors of `pwrite64` come at every fourth call; with TESTS_FAULTS=long (`make faults`) at all.
After each fault the process goes on (or, killed, a new one drains), and then: what was acknowledged was delivered, and
nothing was delivered in two batches. The order of syncs and acknowledgements, which a kill cannot test because the
page cache survives it, is read from a trace of the system calls.
"""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.variables import LONG

PROGRAM = str(Path(__file__).with_name("spool_steps.py"))
STRACE = shutil.which("strace")
SYNCS, WRITES = ("fsync", "fdatasync"), ("write", "pwrite64")
STRIDE = 1 if LONG else 4
FAULTS = [
    *((call, fault, 1, 1) for call in SYNCS for fault in ("signal=SIGKILL", "error=EIO")),
    *(("write", fault, 1, 1) for fault in ("signal=SIGKILL", "error=ENOSPC", "error=EIO")),
    ("pwrite64", "signal=SIGKILL", 1, 1),
    ("pwrite64", "error=ENOSPC", 1, STRIDE),
    ("pwrite64", "error=EIO", 1 + STRIDE // 2, STRIDE),
]
"""The call, the fault, the first call number that fails, and how far it is to the next."""
LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)")
PATH = re.compile(r"^\d+<([^>]*)>")
BOUND_S = 900

pytestmark = pytest.mark.skipif(STRACE is None, reason="strace is not installed")


def steps(folder: Path, *given: str, tracing: Sequence[str] = ()) -> None:
    folder.mkdir(exist_ok=True)
    command = [*tracing, sys.executable, PROGRAM, str(folder), *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]


def traced(folder: Path, mode: str) -> list[tuple[str, str, int]]:
    """Run under a trace; return the calls with the path of their first file, in order."""
    log = folder.with_suffix(".trace")
    calls = "trace=fsync,fdatasync,write,pwrite64,writev,rename,renameat2,link,linkat"
    steps(folder, mode, tracing=(STRACE, "-f", "-y", "-qq", "-e", "signal=none", "-e", calls, "-o", str(log)))
    found = []
    for line in log.read_text().splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        call, given, result = match.groups()
        path = PATH.match(given)
        names = re.findall(r'"([^"]*)"', given)
        found.append((call, path[1] if path else (names[-1] if names else ""), int(result)))
    return found


def lines(path: Path) -> list[str]:
    return path.read_text().split("\n")[:-1] if path.exists() else []


def check(folder: Path) -> list[str]:
    """Return what is wrong after a drain: lost after acknowledgement, or delivered in two batches."""
    batches: dict[str, set[str]] = {}
    for line in lines(folder / "delivered"):
        batch, key = line.split()
        batches.setdefault(key, set()).add(batch)
    lost = [f"{key} is lost" for key in lines(folder / "acks") if key not in batches]
    return lost + [f"{key} is in batches {sorted(names)}" for key, names in batches.items() if len(names) > 1]


def faults(folder: Path, call: str, kind: str, numbers: range, mode: str = "run") -> list[str]:
    """Live a life for each number of a call, in which that one fails; return what is wrong after a drain."""
    when = numbers.stop - 1
    inject = f"inject={call}:{kind}:when={when}"
    # Only the calls of interest stop: much faster, but no signal can be injected so.
    fast = () if kind.startswith("signal") else ("--seccomp-bpf",)
    tracing = (STRACE, "-f", *fast, "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
    steps(folder, "lives", call, str(when), str(numbers.start), str(numbers.step), mode, tracing=tracing)
    ends = json.loads((folder / "ends").read_text())
    assert len(ends) == len(numbers)
    wanted = -9 if kind == "signal=SIGKILL" else 0
    wrong = [f"{number}: status {end}: {told(folder / number)}" for number, end in ends.items() if end != wanted]
    steps(folder, "drain")
    return wrong + [f"{number}: {what}" for number in ends for what in check(folder / number)]


def told(life: Path) -> list[dict]:
    return [json.loads(line) for line in lines(life / "told")]


def counted(folder: Path) -> Counter[str]:
    return Counter(call for call, _path, _result in traced(folder, "run"))


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    return counted(tmp_path_factory.mktemp("count") / "life")


@pytest.mark.parametrize(("call", "kind", "first", "stride"), FAULTS)
def test_a_fault_at_every_call(
    tmp_path: Path, counts: Counter[str], call: str, kind: str, first: int, stride: int
) -> None:
    assert counts["fdatasync"] > 10, "the spool is synced"
    assert faults(tmp_path, call, kind, range(first, counts[call] + 1, stride)) == []
    if kind != "signal=SIGKILL":
        assert any(told(life) for life in tmp_path.glob("*/")), "no fault was ever met"


def dirty_at_acknowledgement(calls: list[tuple[str, str, int]]) -> Iterator[str]:
    """Yield what was written and not yet synced when a record was acknowledged."""
    dirty: set[str] = set()
    for call, path, result in calls:
        kept = "/blobs/" in path or path.endswith("records.db-wal")
        if result < 0:
            continue
        if call == "writev" and path.endswith("/acks"):
            yield from (f"{name} at {path}" for name in sorted(dirty))
        elif call in WRITES and kept:
            dirty.add(path)
        elif call in SYNCS:
            dirty.discard(path)
        elif call.startswith(("rename", "link")) and kept:
            dirty.add(str(Path(path).parent))


def test_everything_is_synced_before_it_is_acknowledged(tmp_path: Path) -> None:
    calls = traced(tmp_path / "life", "run")
    assert sum(path.endswith("/acks") for _call, path, _result in calls) > 3
    assert list(dirty_at_acknowledgement(calls)) == []


def test_the_harness_sees_a_missing_sync(tmp_path: Path) -> None:
    assert list(dirty_at_acknowledgement(traced(tmp_path / "life", "no-sync"))) != []


def test_the_harness_sees_an_acknowledgement_that_comes_early(tmp_path: Path, counts: Counter[str]) -> None:
    wrong = faults(tmp_path, "fdatasync", "signal=SIGKILL", range(1, counts["fdatasync"] + 1), "ack-early")
    assert any("is lost" in what for what in wrong)
