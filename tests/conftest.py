"""What all tests share.

`make test` runs them in lanes, which are processes beside one another; `pytest PATH` runs them in one. `--update`
rewrites golden files instead of comparing, in one lane only.
"""

import fcntl
import gc
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
TOGETHER = {
    "docker": ("tests/docker/",),
    "the whole line": ("tests/e2e/", "tests/faults/test_kill.py", "tests/integration/bench/"),
}
"""Tests that load the whole machine run one after the other, in one lane; all others by their files."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite the golden files from what the code makes now")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--update") and config.getoption("numprocesses", None):
        raise pytest.UsageError("--update rewrites files that other lanes compare: run `pytest --update` in one lane")


def pytest_collection_finish() -> None:
    """Look for garbage seldom, and not among the tests: half of a start of an OPC UA server, 6,000 nodes, is that."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist there is one lane
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - needed only here

    class Lanes(LoadScopeScheduling):
        """Give a lane the next file, or the next files that belong together, when it has done its last."""

        def _split_scope(self, nodeid: str) -> str:
            return next(
                (name for name, paths in TOGETHER.items() if nodeid.startswith(paths)),
                nodeid.split("::", maxsplit=1)[0],
            )

    return Lanes(config, log)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare text with a golden file: `golden("messages/result.json", text)`."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{name} is missing: run pytest with --update and read the diff"
        assert text == path.read_text(encoding="utf-8"), f"{name} differs: run pytest with --update and read the diff"

    return compare


@pytest.fixture(scope="session")
def node_opcua() -> Path:
    """Return the folder of the OPC UA programs that are not asyncua, installed on first use from their lock file."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = HERE / "node_opcua"
    mark = folder / "node_modules" / ".installed"
    with (folder / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another lane may want it too
        wanted = lock.read()
        if not mark.is_file() or mark.read_bytes() != wanted:
            subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=300)
            mark.write_bytes(wanted)
    return folder
