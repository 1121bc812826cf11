import pytest
from prometheus_client import CollectorRegistry

from lineside_exporter.exposition import Bounds, Parser
from lineside_exporter.reading_cache import ReadingCache
from lineside_exporter.sources.source import Reading
from tests.support.clocks import ManualClock
from tests.support.exporter_source import Named


@pytest.fixture
def clock() -> ManualClock[float]:
    return ManualClock(100.0)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def cache(registry: CollectorRegistry, clock: ManualClock[float]) -> ReadingCache:
    cache = ReadingCache(registry, now=clock)
    for name in ("one", "two"):
        cache.add(Named(name))
    return cache


def reading(text: str) -> Reading:
    return Parser(Bounds(series=100, label_characters=100)).parse(text)


def shown(cache: ReadingCache) -> list[str]:
    return [line for families in cache.readings() for family in families for line in family.lines]


def test_a_reading_is_shown_with_its_age(
    cache: ReadingCache, registry: CollectorRegistry, clock: ManualClock[float]
) -> None:
    clock.now = 100.5
    cache.put("one", reading("x 1\n"), began=100.0)
    clock.now = 103.0
    assert shown(cache) == ["x 1"]
    assert registry.get_sample_value("lineside_exporter_source_up", {"source": "one"}) == 1
    assert registry.get_sample_value("lineside_exporter_source_seconds", {"source": "one"}) == 0.5
    assert registry.get_sample_value("lineside_exporter_source_age_seconds", {"source": "one"}) == 3.0


@pytest.mark.usefixtures("cache")
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


def test_what_is_away_says_nothing(cache: ReadingCache, registry: CollectorRegistry) -> None:
    cache.put("one", reading("x 1\n"), began=100.0)
    cache.clear("one")
    assert shown(cache) == []
    assert registry.get_sample_value("lineside_exporter_source_up", {"source": "one"}) == 0


def test_what_nobody_renews_is_not_shown_for_ever(
    cache: ReadingCache, registry: CollectorRegistry, clock: ManualClock[float]
) -> None:
    cache.put("one", reading("x 1\n"), began=100.0)
    clock.now = 109.0  # the period and two timeouts
    assert shown(cache) == ["x 1"]
    clock.now = 109.1
    assert shown(cache) == []
    assert registry.get_sample_value("lineside_exporter_source_up", {"source": "one"}) == 0


def test_the_first_type_of_a_metric_stays(cache: ReadingCache, registry: CollectorRegistry) -> None:
    cache.put("one", reading("# TYPE x gauge\nx 1\n"), began=100.0)
    cache.put("two", reading('# TYPE x counter\nx{a="1"} 2\nx{a="2"} 2\n# TYPE y gauge\ny 3\n'), began=100.0)
    assert shown(cache) == ["x 1", "y 3"]
    labels = {"source": "two", "reason": "type-conflict"}
    assert registry.get_sample_value("lineside_exporter_series_dropped_total", labels) == 2
    cache.put("one", reading("# TYPE x gauge\nx 4\n"), began=101.0)
    assert shown(cache) == ["x 4", "y 3"]


def test_the_exporters_own_metrics_come_first(cache: ReadingCache) -> None:
    cache.reserve({"up": "gauge"})
    cache.put("one", reading("# TYPE up counter\nup 1\nx 1\n"), began=100.0)
    assert shown(cache) == ["x 1"]
