"""What all tests share.

`make test` runs them in lanes, which are processes beside one another; `pytest PATH` runs them in one. `--update`
rewrites golden files instead of comparing, in one lane only.
"""

import ctypes
import gc
import logging
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog

from lineside_bench.checkout import find_root
from lineside_bench.plcs import environment
from lineside_bench.processes.process import clean_environment

pytest.register_assert_rewrite("tests.support")  # what fails there tells its values too

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
CONTAINERS = "tests/docker/"
WHOLE_LINE = ("tests/e2e/", "tests/faults/test_kill.py", "tests/integration/bench/")
ALONE = "the whole line"
"""Tests that hold parts to their deadline, and those in a browser, which reloads when a container brings a new network:
they run when all other lanes have ended."""
MUCH = 10 << 20
"""Bytes of memory after which a lane looks for garbage at the end of a test."""

# How long an example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite the golden files from what the code makes now")


def pytest_configure(config: pytest.Config) -> None:
    for name in os.environ.keys() - clean_environment():
        del os.environ[name]  # a setting of a service on this machine, which the processes under test would take too
    # A shell that runs the tests behind has Ctrl-C ignored, and so would every process that a test sends one to.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--update") and config.getoption("numprocesses", None):
        raise pytest.UsageError("--update rewrites files that other lanes compare: run `pytest --update` in one lane")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(config), "failures-at-once")


class FailuresAtOnce:
    """Name a test when it fails, so that a run that is cut short has told what it found."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write one line, under the dots."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            says = str(crash.message if crash else report.longrepr).partition("\n")[0]
            terminal = self.config.pluginmanager.getplugin("terminalreporter")
            terminal.write_line(
                f"\n{report.when} of {report.nodeid} failed after {report.duration:.0f} s: {says}"[:400]
            )


def pytest_collection_finish() -> None:
    """Look for garbage seldom, and not among the tests: half of a start of an OPC UA server, 6,000 nodes, is that."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist there is one lane
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - needed only here

    class Lanes(LoadScopeScheduling):
        """Give a lane the next file when it has done its last; the containers' files as one, the whole line's alone."""

        def _split_scope(self, nodeid: str) -> str:
            if nodeid.startswith(WHOLE_LINE):
                return ALONE
            return CONTAINERS if nodeid.startswith(CONTAINERS) else nodeid.split("::", maxsplit=1)[0]

        def _assign_work_unit(self, node: Any) -> None:
            if next(iter(self.workqueue)) == ALONE:
                if len(self.workqueue) > 1:
                    self.workqueue.move_to_end(ALONE)
                elif any(other is not node and not other.shutting_down for other in self.nodes):
                    node.shutdown()  # it still does what it has; the last lane goes on
                    return
                elif len(self.nodes) > 1:
                    return  # asked again when the next lane has ended
            super()._assign_work_unit(node)

        def remove_node(self, node: Any) -> str | None:
            crashed: str | None = super().remove_node(node)
            for other in self.nodes:
                self._reschedule(other)
            return crashed

    return Lanes(config, log)


@pytest.fixture(scope="module", autouse=True)
def _garbage() -> Iterator[None]:
    """Let what a file left open be told there, and not in a file that comes later."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def _memory() -> Iterator[None]:
    """Free what a test took much memory for: each client of AWS is 20 MB in cycles, and a file makes a hundred."""
    before = _resident()
    yield
    if _resident() > before + MUCH:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # else what is free stays with the process


def _resident() -> int:
    """Return the bytes of memory that this lane has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Give the next test the logging that this one found, also where it routed all of it elsewhere."""
    loggers = [logging.getLogger(), *map(logging.getLogger, ("botocore", "botocore.credentials", "boto3", "urllib3"))]
    handlers, levels = loggers[0].handlers[:], [logger.level for logger in loggers]
    yield
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    if structlog.is_configured():
        structlog.reset_defaults()
        for name, module in list(sys.modules.items()):
            if name.startswith("lineside"):  # a module's logger that was used keeps what it was routed to
                logger = getattr(module, "log", None)
                if isinstance(logger, structlog._config.BoundLoggerLazyProxy):
                    vars(logger).pop("bind", None)


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
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    return environment.installed_node(find_root())
