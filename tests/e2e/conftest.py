"""What the tests of the whole line share."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lineside_bench.processes.process import clean_environment
from tests.support.variables import CHROMIUM
from tests.support.waiting import HANG_S, block_until

LINESIDE = Path(sys.executable).with_name("lineside")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def installed_brokers() -> set[str]:
    found = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    return {"amqtt", *(["mosquitto"] if found else [])}


@pytest.fixture(scope="session")
def line_up(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], AbstractContextManager[dict[str, Any]]]:
    """Return what keeps a line up, with so many parts a second, while its state file's content is at hand."""

    @contextmanager
    def up(rate: int) -> Iterator[dict[str, Any]]:
        folder = tmp_path_factory.mktemp("line")
        environment = clean_environment()
        state = folder / "state.json"
        with (folder / "up.log").open("wb") as log:
            process = subprocess.Popen(
                [str(LINESIDE), "up", "--rate", str(rate), "--state", str(state)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )
            try:
                block_until(lambda: state.exists() or process.poll() is not None, within=HANG_S)
                assert state.exists(), (folder / "up.log").read_text()
                yield json.loads(state.read_text())
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(HANG_S)

    return up


@pytest.fixture(scope="package")
def page_line(line_up) -> Iterator[SimpleNamespace]:
    """A whole line with two parts a second, for all tests of its page."""
    with line_up(2) as state:
        pids = {name: process["pid"] for name, process in state["processes"].items()}
        yield SimpleNamespace(url=state["endpoints"]["inference"], pid=pids["inference"], pids=pids)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for as long as a file of tests lasts: while it runs no other event loop can."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        yield browser
        browser.close()
