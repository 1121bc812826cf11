from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from lineside.connections import Connection, ConnectionCollector, State, describe
from tests.support.clocks import ManualClock


def test_the_state_says_what_since_when_and_when_next() -> None:
    clock = ManualClock(datetime(2026, 11, 21, tzinfo=UTC))
    link = Connection("mqtt", "mqtt://broker:1883", now=clock)
    assert link.state is State.CONNECTING
    clock.now += timedelta(seconds=3)
    delay = link.backoff(ConnectionRefusedError("refused by the peer"))
    shown = link.snapshot()
    assert (shown.state, shown.detail, shown.attempts) == (State.BACKOFF, "refused by the peer", 1)
    assert shown.since == clock.now.isoformat()
    assert shown.next_try == (clock.now + timedelta(seconds=delay)).isoformat()
    link.online("MQTT 5")
    assert link.snapshot().next_try is None
    assert link.is_online


def test_waits_double_up_to_the_bound_and_start_anew_after_success() -> None:
    link = Connection("x", "y", first_s=1, longest_s=8)
    delays = [link.backoff("away") for _ in range(40)]
    for delay, most in zip(delays, [1, 2, 4, 8, 8, 8], strict=False):
        assert most / 2 <= delay <= most
    assert max(delays) <= 8
    link.online()
    assert link.backoff("away") <= 1


def test_what_is_held_is_paused_wherever_it_would_be_online_and_still_works() -> None:
    link = Connection("opcua", "x")
    link.hold("by policy")
    assert (link.state, link.is_online) == (State.CONNECTING, False)
    link.online("fast")
    assert (link.state, link.detail, link.is_online) == (State.PAUSED, "by policy", True)
    link.backoff("gone")
    assert (link.state, link.is_online) == (State.BACKOFF, False)
    link.online("fast again")
    assert link.state is State.PAUSED
    link.hold(None)
    assert (link.state, link.detail) == (State.ONLINE, "fast again")
    link.hold("by policy")
    assert link.state is State.PAUSED


def test_who_lets_go_of_what_does_not_work_shows_that_it_does_not() -> None:
    link = Connection("opcua", "x")
    link.online()
    link.hold("by policy")
    link.backoff("gone")
    link.hold(None)
    assert (link.state, link.is_online) == (State.BACKOFF, False)
    link.paused("waits")
    assert not link.is_online


def test_an_error_without_words_is_named_by_its_type() -> None:
    assert describe(TimeoutError()) == "TimeoutError"
    assert describe(OSError(111, "Connection refused")) == "[Errno 111] Connection refused"


def test_the_metric_shows_one_state_a_connection() -> None:
    registry = CollectorRegistry()
    link = Connection("mqtt", "x")
    registry.register(ConnectionCollector("lineside_test", lambda: iter([link])))
    link.paused("by policy")
    text = generate_latest(registry).decode()
    assert 'lineside_test_connection_state{connection="mqtt",state="PAUSED"} 1.0' in text
    assert 'lineside_test_connection_state{connection="mqtt",state="ONLINE"} 0.0' in text


def test_a_least_wait_is_kept_and_shown() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    link = Connection("opcua", "x", now=lambda: start)
    assert link.backoff("refused", least_s=60) == 60
    assert link.snapshot().next_try == (start + timedelta(seconds=60)).isoformat()
    assert link.backoff("gone") < 1


def test_it_is_known_to_be_away_until_the_next_attempt_and_no_longer() -> None:
    clock = ManualClock(datetime(2026, 11, 21, tzinfo=UTC))
    link = Connection("x", "y", first_s=4, now=clock)
    assert link.away_for() == 0  # it was never tried
    delay = link.backoff("refused")
    assert link.away_for() == pytest.approx(delay, abs=1e-5)
    clock.now += timedelta(seconds=1)
    assert link.away_for() == pytest.approx(delay - 1, abs=1e-5)
    clock.now += timedelta(seconds=10)
    assert link.away_for() == 0
    link.backoff("refused")
    link.connecting()
    assert link.away_for() == 0
    link.online()
    assert link.away_for() == 0
