from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from lineside_exporter.exposition import Bounds, Parser
from lineside_exporter.reading_cache import ReadingCache
from lineside_exporter.sources.source import Reading


@dataclass
class Named:
    name: str
    target: str = "somewhere"
    period_s: float = 5.0
    timeout_s: float = 2.0

    async def read(self) -> list:
        return []


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def board(registry: CollectorRegistry, clock: Clock) -> ReadingCache:
    board = ReadingCache(registry, now=clock)
    for name in ("one", "two"):
        board.add(Named(name))
    return board


def reading(text: str) -> Reading:
    return Parser(Bounds(series=100, label_characters=100)).parse(text)


def shown(board: ReadingCache) -> list[str]:
    return [line for families in board.readings() for family in families for line in family.lines]


def test_a_reading_is_shown_with_its_age(board: ReadingCache, registry: CollectorRegistry, clock: Clock) -> None:
    clock.now = 100.5
    board.put("one", reading("x 1\n"), began=100.0)
    clock.now = 103.0
    assert shown(board) == ["x 1"]
    assert registry.get_sample_value("lineside_exporter_source_up", {"source": "one"}) == 1
    assert registry.get_sample_value("lineside_exporter_source_seconds", {"source": "one"}) == 0.5
    assert registry.get_sample_value("lineside_exporter_source_age_seconds", {"source": "one"}) == 3.0


@pytest.mark.usefixtures("board")
def test_what_was_never_read_has_no_age(registry: CollectorRegistry) -> None:
    assert registry.get_sample_value("lineside_exporter_source_up", {"source": "two"}) == 0
    assert registry.get_sample_value("lineside_exporter_source_seconds", {"source": "two"}) is None
    assert registry.get_sample_value("lineside_exporter_source_age_seconds", {"source": "two"}) is None
    assert (
        registry.get_sample_value(
            "lineside_exporter_series_dropped_total", {"source": "two", "reason": "type-conflict"}
        )
        == 0
    )


def test_what_is_away_says_nothing(board: ReadingCache, registry: CollectorRegistry) -> None:
    board.put("one", reading("x 1\n"), began=100.0)
    board.clear("one")
    assert shown(board) == []
    assert registry.get_sample_value("lineside_exporter_source_up", {"source": "one"}) == 0


def test_what_nobody_renews_is_not_shown_for_ever(
    board: ReadingCache, registry: CollectorRegistry, clock: Clock
) -> None:
    board.put("one", reading("x 1\n"), began=100.0)
    clock.now = 109.0  # the period and two timeouts
    assert shown(board) == ["x 1"]
    clock.now = 109.1
    assert shown(board) == []
    assert registry.get_sample_value("lineside_exporter_source_up", {"source": "one"}) == 0


def test_the_first_type_of_a_metric_stays(board: ReadingCache, registry: CollectorRegistry) -> None:
    board.put("one", reading("# TYPE x gauge\nx 1\n"), began=100.0)
    board.put("two", reading('# TYPE x counter\nx{a="1"} 2\nx{a="2"} 2\n# TYPE y gauge\ny 3\n'), began=100.0)
    assert shown(board) == ["x 1", "y 3"]
    labels = {"source": "two", "reason": "type-conflict"}
    assert registry.get_sample_value("lineside_exporter_series_dropped_total", labels) == 2
    board.put("one", reading("# TYPE x gauge\nx 4\n"), began=101.0)
    assert shown(board) == ["x 4", "y 3"]


def test_the_exporters_own_metrics_come_first(board: ReadingCache) -> None:
    board.reserve({"up": "gauge"})
    board.put("one", reading("# TYPE up counter\nup 1\nx 1\n"), began=100.0)
    assert shown(board) == ["x 1"]
