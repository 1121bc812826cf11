"""Which values of a collector's messages reach a station, in which order, and what is said of the others."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from lineside_opcua_bridge.collector.collector import Collector, CollectorMetrics
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings

PRESENT, PART_ID = "/press/present", "/press/part"
START = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


class Station:
    """Writes down what it is told."""

    def __init__(self, **changes: Any) -> None:
        self.settings = TriggerSettings.model_validate(
            {
                "name": "one",
                "when": {"kind": "edge", "node": f"alias={PRESENT}"},
                "station": "one",
                "model": "m",
                "source": {"kind": "camera", "camera": "c"},
                "sample": {"part_id": f"alias={PART_ID}", "speed": "nsu=urn:x;s=Speed"},
            }
            | changes
        )
        self.told: list[tuple[str, object]] = []
        self.samples: list[Sample] = []

    def receive(self, binding: None, role: str, sample: Sample) -> None:
        assert binding is None
        self.told.append((role, sample.value))
        self.samples.append(sample)

    def mark_gap(self, role: str | None) -> None:
        self.told.append(("doubt", role))


@dataclass
class Message:
    payload: bytes
    after_gap: bool = False
    topic: str = "collected"
    acknowledged: bool = False

    def ack(self) -> None:
        self.acknowledged = True


def entry(alias: str, *values: tuple[float, object]) -> dict:
    """Values by seconds after START."""
    kinds = {bool: "booleanValue", int: "integerValue", float: "doubleValue", str: "stringValue"}
    return {
        "propertyAlias": alias,
        "propertyValues": [
            {
                "value": {kinds[type(content)]: content},
                "timestamp": {
                    "timeInSeconds": int((START + timedelta(seconds=at)).timestamp()),
                    "offsetInNanos": int(at % 1 * 1e9),
                },
            }
            for at, content in values
        ],
    }


@dataclass
class Bench:
    station: Station = field(default_factory=Station)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    now: datetime = START

    def __post_init__(self) -> None:
        self.collector = Collector(
            [self.station],
            max_bytes=6144,
            metrics=CollectorMetrics(self.registry),
            now=lambda: self.now,
            ticks=lambda: (self.now - START).total_seconds(),  # noqa: PLW0108 - `now` goes on
        )

    def take(self, *entries: dict, after_gap: bool = False) -> None:
        self.collector.take(Message(json.dumps({"entries": entries}).encode(), after_gap))

    def values(self, outcome: str) -> float:
        name = "lineside_opcua_bridge_collector_values_total"
        return self.registry.get_sample_value(name, {"outcome": outcome}) or 0

    def messages(self, outcome: str) -> float:
        name = "lineside_opcua_bridge_collector_messages_total"
        return self.registry.get_sample_value(name, {"outcome": outcome}) or 0


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_a_trigger_needs_comes_before_the_trigger(bench: Bench) -> None:
    bench.take(entry(PRESENT, (0, False), (0.25, True)), entry(PART_ID, (0.25, "P-1")))
    assert bench.station.told == [("sample.part_id", "P-1"), ("trigger", False), ("trigger", True)]


def test_only_timestamps_that_somebody_measured_are_there(bench: Bench) -> None:
    bench.now = START + timedelta(seconds=3)
    bench.take(entry(PRESENT, (0.25, True)))
    [sample] = bench.station.samples
    assert sample.source == START + timedelta(milliseconds=250)
    assert sample.server is None
    assert (sample.received, sample.ticks, sample.quality) == (bench.now, 3.0, "good")


def test_values_come_in_the_order_of_their_timestamps(bench: Bench) -> None:
    bench.take(entry(PRESENT, (2, False), (1, True), (0, False)))
    assert bench.station.told == [("trigger", False), ("trigger", True), ("trigger", False)]


def test_a_message_that_comes_twice_counts_once(bench: Bench) -> None:
    for _ in range(3):
        bench.take(entry(PRESENT, (0, False), (0, True), (1, False)))
    assert bench.station.told == [("trigger", False), ("trigger", True), ("trigger", False)]
    assert (bench.values("taken"), bench.values("duplicate")) == (3, 6)


def test_a_late_value_is_dropped_and_leaves_a_hole(bench: Bench) -> None:
    bench.take(entry(PRESENT, (5, False)))
    bench.take(entry(PRESENT, (4, True)))
    bench.take(entry(PRESENT, (6, True)))
    assert bench.station.told == [("trigger", False), ("doubt", "trigger"), ("trigger", True)]
    assert (bench.values("taken"), bench.values("late")) == (2, 1)


def test_a_clock_that_ran_ahead_and_was_set_right_does_not_stop_the_line(bench: Bench) -> None:
    bench.take(entry(PRESENT, (3600, False)))
    bench.take(entry(PRESENT, (1, True)))
    bench.take(entry(PRESENT, (2, False)))
    assert bench.station.told == [("trigger", False), ("doubt", "trigger"), ("trigger", True), ("trigger", False)]
    assert bench.values("late") == 0


def test_a_connection_anew_leaves_a_hole_in_every_line(bench: Bench) -> None:
    bench.take(entry(PRESENT, (0, False)), after_gap=True)
    assert sorted(bench.station.told[:2]) == [("doubt", "sample.part_id"), ("doubt", "trigger")]
    assert bench.station.told[2:] == [("trigger", False)]


def test_what_the_broker_had_kept_is_a_baseline_and_triggers_nothing(bench: Bench) -> None:
    bench.now = START + timedelta(seconds=60)
    bench.take(entry(PRESENT, (0, False), (1, True)), after_gap=True)
    bench.take(entry(PRESENT, (2, False)))
    bench.take(entry(PRESENT, (59, True)))
    assert bench.station.told[2:] == [("trigger", False), ("trigger", True), ("trigger", False), ("trigger", True)]
    assert [sample.stale for sample in bench.station.samples] == [True, True, True, False]
    assert (bench.values("stale"), bench.values("taken")) == (3, 1)


def test_a_window_has_nothing_of_what_the_broker_had_kept() -> None:
    source = {"kind": "window", "input": "w", "tags": {"speed": f"alias={PART_ID}"}, "rate_hz": 1, "samples": 2}
    bench = Bench(Station(when={"kind": "window"}, source=source, sample={}))
    bench.now = START + timedelta(seconds=60)
    bench.take(entry(PART_ID, (0, 1.0)), after_gap=True)
    bench.take(entry(PART_ID, (59, 2.0)))
    assert bench.station.told == [("doubt", "window.speed"), ("doubt", "window.speed"), ("window.speed", 2.0)]


def test_a_clock_that_is_behind_ours_costs_no_more_than_the_first_seconds(bench: Bench) -> None:
    bench.now = START + timedelta(seconds=3600)
    bench.take(entry(PRESENT, (0, False)), after_gap=True)
    bench.now += timedelta(seconds=11)
    bench.take(entry(PRESENT, (11, True)))
    assert bench.station.told[-1] == ("trigger", True)
    assert bench.values("taken") == 1


def test_an_alias_that_nobody_uses_is_counted(bench: Bench) -> None:
    bench.take(entry("/press/other", (0, 1)), entry(PRESENT, (0, True)))
    assert bench.station.told == [("trigger", True)]
    assert bench.values("unknown_alias") == 1


@pytest.mark.parametrize(
    ("payload", "outcome", "told"),
    [
        (b"no json", "unreadable", []),
        (b" " * 6145, "too_large", [("doubt", "sample.part_id"), ("doubt", "trigger")]),
    ],
)
def test_a_bad_message_is_counted_and_the_next_one_taken(
    bench: Bench, payload: bytes, outcome: str, told: list
) -> None:
    bench.collector.take(Message(payload))
    assert sorted(bench.station.told) == told
    assert bench.messages(outcome) == 1
    bench.take(entry(PRESENT, (0, True)))
    assert bench.station.told[-1] == ("trigger", True)
    assert bench.messages("taken") == 1


def test_a_bad_value_leaves_a_hole_in_its_own_line(bench: Bench) -> None:
    broken = {"propertyAlias": PART_ID, "propertyValues": [{"value": {"stringValue": "P-1"}, "timestamp": {}}]}
    bench.take(broken, entry(PRESENT, (0, True)))
    assert bench.station.told == [("doubt", "sample.part_id"), ("trigger", True)]
    assert bench.values("bad") == 1


def test_one_alias_serves_every_role_that_names_it() -> None:
    bench = Bench(Station(only_if=[{"node": f"alias={PRESENT}", "equals": True}]))
    bench.take(entry(PRESENT, (0, True)))
    assert bench.station.told == [("only_if.0", True), ("trigger", True)]


def test_what_is_remembered_is_bounded(bench: Bench) -> None:
    for second in range(500):
        bench.take(entry(PRESENT, (second, bool(second % 2))))
    [line] = [line for alias, line in bench.collector._sequences.items() if alias == PRESENT]
    assert len(line._taken) <= 64
