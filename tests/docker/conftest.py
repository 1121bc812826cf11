"""A real Docker Engine, and our images built once from this tree; a test that asks for neither needs no Docker."""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployed_line import DeployedLine, deployed_line
from tests.support.leftovers import engine_in_use
from tests.support.paths import ROOT
from tests.support.variables import missing

HERE = Path(__file__).parent
HELD = {
    "PYTHON_IMAGE": "python:3.13-slim-trixie",
    "MOSQUITTO_IMAGE": "eclipse-mosquitto:2",
    "PROMETHEUS_IMAGE": "prom/prometheus:latest",
    "ALERTMANAGER_IMAGE": "prom/alertmanager:latest",
}
"""What an engine that can pull nothing holds; the environment names others."""

NAMES = (
    *("inference", "topic-bridge", "opcua-bridge", "forwarder", "exporter", "deployer"),
    *("plc-sim", "camera-sim", "triton-cpu", "s3-sim"),
)


BUILD_S, TEST_S = 2700.0, 3300.0
"""Ten images from nothing, beside busy loops on both cores, took over 15 minutes; whichever test asks first pays."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test of this folder the time that building the images takes."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(TEST_S))


Docker = Callable[..., subprocess.CompletedProcess[str]]


def _docker(*arguments: str, check: bool = True, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode:
        pytest.fail(f"docker {' '.join(arguments)}: exit status {done.returncode}\n{done.stdout}{done.stderr}"[-6000:])
    return done


@pytest.fixture(scope="session")
def versions() -> dict[str, str]:
    """Return docker/versions.env: base images, images that are not ours, our version."""
    lines = (ROOT / "docker" / "versions.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z0-9_]+=", line))


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """Yield the version of the engine that answers; without one the test is skipped, or fails where it is needed.

    What earlier runs left on it is removed.
    """
    if not shutil.which("docker"):
        missing("docker", "docker is not installed")
    done = _docker("version", "--format", "{{.Server.Version}}", check=False)
    if done.returncode:
        missing("docker", f"no Docker Engine answers: {done.stderr.strip()}")
    with engine_in_use():
        yield done.stdout.strip()


@pytest.fixture(scope="session")
def docker(engine: str) -> Docker:
    """Run `docker` with arguments; the test fails with what it said where it fails, unless `check=False`."""
    del engine
    return _docker


@pytest.fixture(scope="session")
def held() -> dict[str, str]:
    """Return what to tell `docker compose`: the images that are not ours, by the names that this engine holds."""
    return {name: os.environ.get(name, image) for name, image in HELD.items()}


@pytest.fixture(scope="session")
def images(
    engine: str, held: dict[str, str], versions: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Build all our images side by side, as compose.yaml says, and return what each is called.

    What is built already and has not changed takes a second. Test processes that run beside each other wait for one.
    """
    del engine
    environment = {**os.environ, **held, "COMPOSE_PROFILES": "*"}
    with (tmp_path_factory.getbasetemp().parent / "images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [
                "docker",
                "compose",
                "--progress",
                "plain",
                "build",
                "--build-arg",
                f"PYTHON_IMAGE={held['PYTHON_IMAGE']}",
            ],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
        )
    if done.returncode:
        pytest.fail(f"the images do not build:\n{(done.stdout + done.stderr)[-6000:]}")
    registry = os.environ.get("LINESIDE_REGISTRY", "lineside")
    version = os.environ.get("LINESIDE_VERSION", versions["LINESIDE_VERSION"])
    return {name: f"{registry}/{name}:{version}" for name in NAMES}


class SharedLine:
    """The line as components, deployed when a test first asks for it, and anew after one that failed."""

    def __init__(self, images: dict[str, str]) -> None:
        self._images = images
        self._life = contextlib.ExitStack()
        self._line: DeployedLine | None = None
        self._cannot = False

    def deployed(self) -> DeployedLine:
        if self._line is None:
            assert not self._cannot, "the line could not be deployed for a test before this one, which says why"
            self._cannot = True
            self._line = self._life.enter_context(deployed_line(self._images))
            self._cannot = False
        return self._line

    def end(self) -> None:
        self._line = None
        self._life.close()


SHARED, FAILED = pytest.StashKey[SharedLine](), pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = report.failed or item.stash.get(FAILED, False)
    return report


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the line with the last test of this folder: what comes then in this lane wants the machine for itself."""
    if SHARED in item.session.stash and (nextitem is None or HERE not in nextitem.path.parents):
        item.session.stash[SHARED].end()


@pytest.fixture
def line(request: pytest.FixtureRequest, images: dict[str, str]) -> Iterator[DeployedLine]:
    """Return the line as components; each test leaves it judging, in the versions that it found.

    A test that fails takes it along, for those that come then would only wait in vain.
    """
    shared = request.session.stash.setdefault(SHARED, SharedLine(images))
    yield shared.deployed()
    if request.node.stash[FAILED]:
        shared.end()


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str, Any], None]:
    """Note a figure of this run in the report, and print it; no test is about one."""

    def note(name: str, value: Any) -> None:
        record_property(name, value)
        sys.stdout.write(f"{name}: {value}\n")

    return note
