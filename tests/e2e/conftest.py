"""What the tests of the whole line share."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

LINESIDE = Path(sys.executable).with_name("lineside")
BOUND_S = 90


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LINESIDE_")]:
        monkeypatch.delenv(name)


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
        state = folder / "state.json"
        with (folder / "up.log").open("wb") as log:
            process = subprocess.Popen(
                [str(LINESIDE), "up", "--rate", str(rate), "--state", str(state)], stdout=log, stderr=subprocess.STDOUT
            )
            try:
                end = time.monotonic() + BOUND_S
                while not (state.exists() or process.poll() is not None) and time.monotonic() < end:
                    time.sleep(0.05)
                assert state.exists(), (folder / "up.log").read_text()
                yield json.loads(state.read_text())
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(BOUND_S)

    return up
