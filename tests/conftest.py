"""What all tests share: `--update` rewrites golden files instead of comparing."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite the golden files from what the code makes now")


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
    folder = Path(__file__).parent / "node_opcua"
    lock = (folder / "package-lock.json").read_bytes()
    mark = folder / "node_modules" / ".installed"
    if not mark.is_file() or mark.read_bytes() != lock:
        subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=300)
        mark.write_bytes(lock)
    return folder
