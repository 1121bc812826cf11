"""What is read and sent next, between the shadow and us."""

import json
from dataclasses import replace

from lineside_topic_bridge.steering.shadow.documents import MAX_BYTES, Shadow
from lineside_topic_bridge.steering.shadow.sync import (
    MAX_CONFLICTS,
    Sync,
    Update,
    accepted,
    conflicted,
    has_read,
    next_update,
    reading,
    refused,
    rung,
    wants,
)
from lineside_topic_bridge.steering.wishes import Wish


def synced(shadow: Shadow) -> Sync:
    return has_read(reading(Sync()), shadow, MAX_BYTES)[0]


def test_it_is_read_first_and_what_is_wished_is_said_once() -> None:
    sync = Sync()
    assert sync.must_read
    shadow = Shadow({"enabled": False}, None, 3)
    sync, wish = has_read(sync, shadow, MAX_BYTES)
    assert wish == Wish("shadow", {"enabled": False})
    sync, again = has_read(reading(rung(sync)), replace(shadow, reported={"x": 1}, version=4), MAX_BYTES)
    assert again is None
    _sync, changed = has_read(reading(rung(sync)), Shadow(None, None, 5), MAX_BYTES)
    assert changed == Wish("shadow")


def test_nothing_is_reported_before_it_was_read_or_while_it_rings() -> None:
    assert next_update(wants(Sync(), {"enabled": True})) is None
    sync = wants(synced(Shadow(None, None, 1)), {"enabled": True})
    assert next_update(sync) == Update({"enabled": True}, 1)
    assert next_update(rung(sync)) is None


def test_what_rings_while_it_is_read_is_read_again() -> None:
    sync, _wish = has_read(rung(reading(Sync())), Shadow(None, None, 1), MAX_BYTES)
    assert sync.must_read


def test_what_is_in_the_shadow_already_is_not_sent_again() -> None:
    sync = wants(synced(Shadow(None, {"enabled": True}, 1)), {"enabled": True})
    assert next_update(sync) is None


def test_only_the_newest_report_goes_out() -> None:
    sync = synced(Shadow(None, None, 1))
    for number in range(10):
        sync = wants(sync, {"applied_at": str(number)})
    assert next_update(sync) == Update({"applied_at": "9"}, 1)


def test_an_update_is_a_document_with_the_version_that_was_read() -> None:
    update = Update({"enabled": True, "thresholds": {"pit": None}}, 4)
    assert json.loads(update.payload("t-1")) == {
        "state": {"reported": {"enabled": True, "thresholds": {"pit": None}}},
        "version": 4,
        "clientToken": "t-1",
    }
    assert "version" not in json.loads(Update({}, 0).payload("t"))  # of a shadow that is not there yet


def test_what_was_accepted_is_in_the_shadow() -> None:
    sync = wants(synced(Shadow(None, {"a": 1, "b": 2}, 7)), {"b": 3})
    update = next_update(sync)
    assert update == Update({"a": None, "b": 3}, 7)
    sync = accepted(sync, update, 8)
    assert sync.shadow == Shadow(None, {"b": 3}, 8)
    assert (sync.must_read, next_update(sync)) == (False, None)


def test_an_edit_that_came_between_is_read() -> None:
    sync = wants(synced(Shadow(None, None, 0)), {"b": 3})
    update = next_update(sync)
    assert accepted(sync, update, 12).must_read
    ringing = accepted(rung(sync), update, 1)
    assert ringing.must_read


def test_a_conflict_is_solved_by_reading_again_and_bounded() -> None:
    sync = wants(synced(Shadow(None, None, 1)), {"b": 3})
    for number in range(2, MAX_CONFLICTS + 1):
        sync = conflicted(sync)
        assert sync.must_read
        sync, _wish = has_read(reading(sync), Shadow(None, None, number), MAX_BYTES)
        assert next_update(sync) == Update({"b": 3}, number)
    sync, _wish = has_read(reading(conflicted(sync)), Shadow(None, None, 99), MAX_BYTES)
    assert next_update(sync) is None
    sync, _wish = has_read(reading(rung(sync)), Shadow(None, None, 100), MAX_BYTES)
    assert next_update(sync) == Update({"b": 3}, 100)
    assert accepted(sync, Update({"b": 3}, 100), 101).conflicts == 0


def test_what_the_shadow_refuses_is_not_sent_again_until_something_changes() -> None:
    sync = refused(wants(synced(Shadow(None, None, 1)), {"b": 3}))
    assert next_update(sync) is None
    assert next_update(wants(sync, {"b": 3})) is None
    assert next_update(wants(sync, {"b": 4})) == Update({"b": 4}, 1)
