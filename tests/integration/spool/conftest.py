"""A spool in a folder of the test's own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lineside.spool import Spool, SpoolSettings
from lineside.spool.store.clock import Clock
from tests.support.spooling import Box


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def open_spool(tmp_path: Path) -> Iterator[Callable[..., Spool]]:
    """Open the same spool as often as wanted: `open_spool(when_full="refuse")`."""
    with ExitStack() as opened:

        def make(*, clock: Clock | None = None, producer: str = "test", **settings: Any) -> Spool:
            wanted = SpoolSettings(folder=tmp_path / "spool", **settings)
            return opened.enter_context(Spool.open(wanted, producer=producer, clock=clock))

        yield make


@pytest.fixture
def spool(open_spool: Callable[..., Spool]) -> Spool:
    return open_spool()
