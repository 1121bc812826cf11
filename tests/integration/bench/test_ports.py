import socket
from collections.abc import Iterator

import pytest

from lineside_bench.errors import BenchError
from lineside_bench.processes.ports import HOST, PortMode, reserve

WANTED = {"inference": 18300, "mqtt": 18301}


@pytest.fixture
def in_use() -> Iterator[int]:
    with socket.create_server((HOST, WANTED["mqtt"])):
        yield WANTED["mqtt"]


def test_free_ports_are_the_wanted_ones() -> None:
    with reserve(PortMode.default, defaults=WANTED) as ports:
        assert dict(ports.chosen) == WANTED
        assert not ports.moved


def test_auto_takes_another_where_one_is_in_use_and_says_so(in_use: int) -> None:
    with reserve(PortMode.auto, defaults=WANTED) as ports:
        assert ports["inference"] == WANTED["inference"]
        assert ports["mqtt"] != in_use
        assert ports.moved == {"mqtt": in_use}


def test_default_names_the_clash_and_the_remedy(in_use: int) -> None:
    with pytest.raises(BenchError, match=rf"{in_use} \(mqtt\).*in use.*--ports auto"):
        reserve(PortMode.default, defaults=WANTED)
    # and holds nothing afterwards
    with reserve(PortMode.default, defaults={"inference": WANTED["inference"]}):
        pass


def test_two_benches_that_choose_at_once_do_not_choose_the_same() -> None:
    with reserve(PortMode.auto, defaults=WANTED) as first, reserve(PortMode.auto, defaults=WANTED) as second:
        assert not set(first.chosen.values()) & set(second.chosen.values())
        with pytest.raises(BenchError, match="in use"):
            reserve(PortMode.default, defaults=WANTED)
    with reserve(PortMode.default, defaults=WANTED) as again:
        assert dict(again.chosen) == WANTED
