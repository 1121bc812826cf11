"""What is read of a collector's message, whatever it holds."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside_opcua_bridge.collector.batches import Fault, NotABatch, Value, read

ALIAS = "/press/station1/present"
AT = {"timeInSeconds": 1_796_256_000, "offsetInNanos": 250_000_000}
INSTANT = 1_796_256_000_250_000_000


def entry(*values: object, **name: object) -> dict:
    return (name or {"propertyAlias": ALIAS}) | {"propertyValues": list(values)}


def value(content: object = True, kind: str = "booleanValue", **more: object) -> dict:
    return {"value": {kind: content}, "timestamp": AT} | more


def found(document: object) -> list[Value | Fault]:
    return read(json.dumps(document).encode())


@pytest.mark.parametrize("wrap", [lambda one: {"entries": [one]}, lambda one: one, lambda one: [one]])
def test_a_batch_an_entry_and_a_list_of_entries_are_read(wrap) -> None:
    [one] = found(wrap(entry(value(), entryId="1", propertyAlias=ALIAS)))
    assert one == Value(ALIAS, value=True, quality="good", instant=INSTANT)
    assert one.source == datetime(2026, 12, 3, 0, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "content", "read_as"),
    [
        ("booleanValue", False, False),
        ("integerValue", -7, -7),
        ("doubleValue", 1.5, 1.5),
        ("doubleValue", 2, 2.0),
        ("stringValue", "P-1", "P-1"),
        ("stringValue", "", ""),
    ],
)
def test_every_kind_of_value_is_read_as_itself(kind: str, content: object, read_as: object) -> None:
    [one] = found(entry(value(content, kind)))
    assert isinstance(one, Value)
    assert (type(one.value), one.value) == (type(read_as), read_as)


@pytest.mark.parametrize(
    ("given_quality", "quality"), [("GOOD", "good"), ("BAD", "bad"), ("UNCERTAIN", "uncertain"), (None, "good")]
)
def test_quality_is_mapped_and_good_where_it_is_not_given(given_quality: str | None, quality: str) -> None:
    [one] = found(entry(value(quality=given_quality)))
    assert isinstance(one, Value)
    assert one.quality == quality


@pytest.mark.parametrize("null", [None, {}, {"nullValue": {"valueType": "D"}}, {"doubleValue": None}])
def test_a_null_value_is_none_and_never_good(null: object) -> None:
    [one] = found(entry({"value": null, "timestamp": AT, "quality": "BAD"}))
    assert one == Value(ALIAS, value=None, quality="bad", instant=INSTANT)
    [fault] = found(entry({"value": null, "timestamp": AT}))
    assert fault == Fault(ALIAS, "a null value has quality GOOD")


def test_a_property_without_an_alias_is_named_by_its_ids() -> None:
    [one] = found(entry(value(), assetId="a-1", propertyId="p-2"))
    assert one.alias == "a-1/p-2"
    [both] = found(entry(value(), assetId="a-1", propertyId="p-2", propertyAlias=ALIAS))
    assert both.alias == ALIAS


@pytest.mark.parametrize(
    "wrong",
    [
        7,
        {"timestamp": AT, "value": {"booleanValue": 1}},
        {"timestamp": AT, "value": {"integerValue": True}},
        {"timestamp": AT, "value": {"integerValue": 2**63}},
        {"timestamp": AT, "value": {"doubleValue": "1.5"}},
        {"timestamp": AT, "value": {"booleanValue": True, "stringValue": "x"}},
        {"timestamp": AT, "value": {"structValue": {}}},
        {"timestamp": AT, "value": {"booleanValue": True}, "quality": "SUSPECT"},
        {"timestamp": {}, "value": {"booleanValue": True}},
        {"timestamp": {"timeInSeconds": "1796256000"}, "value": {"booleanValue": True}},
        {"timestamp": {"timeInSeconds": 10**12}, "value": {"booleanValue": True}},
        {"timestamp": {"timeInSeconds": 1, "offsetInNanos": 10**9}, "value": {"booleanValue": True}},
        {"value": {"booleanValue": True}},
    ],
)
def test_a_wrong_value_spoils_only_itself(wrong: object) -> None:
    fault, good = found(entry(wrong, value()))
    assert isinstance(fault, Fault)
    assert fault.alias == ALIAS
    assert isinstance(good, Value)


GOOD = json.dumps(value())
STAMP = json.dumps(AT)


@pytest.mark.parametrize(
    ("twice", "name"),
    [
        (f'{{"value":{{"booleanValue":true,"booleanValue":false}},"timestamp":{STAMP}}}', "booleanValue"),
        (f'{{"value":{{"booleanValue":true}},"value":{{"booleanValue":false}},"timestamp":{STAMP}}}', "value"),
        (f'{{"value":{{"booleanValue":true}},"quality":"BAD","quality":"GOOD","timestamp":{STAMP}}}', "quality"),
        ('{"value":{"booleanValue":true},"timestamp":{"timeInSeconds":1,"timeInSeconds":2}}', "timeInSeconds"),
    ],
)
def test_a_value_that_gives_a_name_twice_is_refused_by_the_name_and_spoils_only_itself(twice: str, name: str) -> None:
    fault, good = read(f'[{{"propertyAlias":"{ALIAS}","propertyValues":[{twice},{GOOD}]}}]'.encode())
    assert isinstance(fault, Fault)
    assert fault.alias == ALIAS
    assert f"an object that gives {name!r} twice" in fault.what
    assert isinstance(good, Value)


def test_an_entry_and_a_batch_that_give_a_name_twice_are_refused_by_the_name() -> None:
    entry_twice = f'{{"propertyAlias":"a","propertyAlias":"b","propertyValues":[{GOOD}]}}'
    fault, good = read(f'{{"entries":[{entry_twice},{json.dumps(entry(value()))}]}}'.encode())
    assert fault == Fault(None, "an entry is an object that gives 'propertyAlias' twice")
    assert isinstance(good, Value)
    with pytest.raises(NotABatch, match="an object that gives 'entries' twice"):
        read(b'{"entries":[],"entries":[]}')


@pytest.mark.parametrize("wrong", [None, "x", {}, {"propertyAlias": ""}, {"assetId": "a"}, {"propertyAlias": ALIAS}])
def test_a_wrong_entry_spoils_only_itself(wrong: object) -> None:
    fault, good = found({"entries": [wrong, entry(value())]})
    assert isinstance(fault, Fault)
    assert isinstance(good, Value)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"{", b"7", b"{}", b'"x"', b'{"entries":{}}', b"[" * 100_000])
def test_what_is_no_batch_is_named(payload: bytes) -> None:
    with pytest.raises(NotABatch):
        read(payload)


WORDS = (
    *("entries", "propertyAlias", "assetId", "propertyId", "propertyValues", "value", "timestamp", "quality"),
    *("booleanValue", "doubleValue", "integerValue", "timeInSeconds", "offsetInNanos"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["GOOD", ALIAS]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(WORDS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_nothing_but_a_named_refusal_comes_of_any_json(document: object) -> None:
    try:
        for one in found({"entries": [document]}):
            assert isinstance(one, Value | Fault)
            assert not isinstance(one, Value) or one.source.tzinfo is UTC
    except NotABatch:
        pass
