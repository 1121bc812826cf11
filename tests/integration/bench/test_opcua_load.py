"""The OPC UA benchmark's own harness: what it counts is what was lost, no more and no less."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from types import ModuleType
from typing import Any

import pytest

from tests.support.paths import ROOT

NODES = 50
PEERS = ROOT / "benchmarks" / "opcua_peers.py"


@pytest.fixture(scope="module")
def peers() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("opcua_peers", PEERS)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["opcua_peers"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["opcua_peers"]


@pytest.fixture
def naive(peers: ModuleType) -> Iterator[Callable[..., tuple[Any, Any]]]:
    with ExitStack() as running:

        def start(**options: Any) -> tuple[Any, Any]:
            load = running.enter_context(closing(peers.Load(NODES)))
            return load, running.enter_context(closing(peers.Counting("naive", load, NODES, 10.0, **options)))

        yield start


def test_every_value_is_counted_and_a_dropped_one_is_a_gap(peers, naive):
    load, client = naive()

    whole = peers.turn(load, client, 50.0, 0.4)
    assert whole.generated > 0
    assert (whole.received, whole.gaps) == (whole.generated, 0)

    load.drop(7)
    short = peers.turn(load, client, 50.0, 0.4)
    assert (short.generated - short.received, short.gaps) == (7, 7)
    assert not short.held


def test_a_queue_that_is_too_short_loses_exactly_what_the_server_counts(peers, naive):
    load, client = naive(queue=2)

    turn = peers.turn(load, client, 200.0, 0.4)  # about 20 values a tag in each notification
    rest = peers.turn(load, client, 5.0, 0.5)  # shows the gap before each tag's next value

    assert turn.overflowed > 0
    assert turn.generated - turn.received == turn.overflowed
    assert turn.gaps + rest.gaps == turn.overflowed + rest.overflowed
