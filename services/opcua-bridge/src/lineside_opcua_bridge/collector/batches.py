"""What SiteWise collectors publish: BatchPutAssetPropertyValue as JSON, read value by value.

    {"entries": [{"entryId": "1", "propertyAlias": "/press/station1/present",
                  "propertyValues": [{"value": {"booleanValue": true},
                                      "timestamp": {"timeInSeconds": 1796256000, "offsetInNanos": 250000000},
                                      "quality": "GOOD"}]}]}

A gateway publishes the same entry without `entries` around it, or a list of them; both are read too. A property without
an alias is named `<assetId>/<propertyId>`. Fields: AWS IoT SiteWise API Reference, PutAssetPropertyValueEntry,
AssetPropertyValue, Variant, TimeInNanos.

One wrong value spoils only itself: it becomes a Fault, and the others are read. An object that gives a name twice is
wrong: readers differ in which of the two they take.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic_core import from_json

Quality = Literal["good", "uncertain", "bad"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND = 253_402_300_799
"""The end of the year 9999, beyond which a datetime does not go."""
_BILLION = 1_000_000_000
_QUALITIES: Mapping[str, Quality] = {"GOOD": "good", "UNCERTAIN": "uncertain", "BAD": "bad"}
_LONGEST_ALIAS = 2048
_SHOWN = 80


class NotABatch(ValueError):
    """The message is no BatchPutAssetPropertyValue; the text says why."""


@dataclass(frozen=True)
class Value:
    """One value of one property; `instant` is its timestamp in nanoseconds since 1970."""

    alias: str
    value: bool | int | float | str | None
    quality: Quality
    instant: int

    @property
    def source(self) -> datetime:
        """The timestamp, to the microsecond."""
        return _EPOCH + timedelta(microseconds=self.instant // 1000)


@dataclass(frozen=True)
class Fault:
    """An entry or value that cannot be read: of which alias, where that is known, and why."""

    alias: str | None
    what: str


def read(payload: bytes) -> list[Value | Fault]:
    """Return the values of a message in its order, and what in it cannot be read; raises NotABatch."""
    try:
        from_json(payload)  # refuses what json takes: other encodings than UTF-8, half characters, any depth
        document = json.loads(payload, object_pairs_hook=_object)
    except ValueError as error:
        raise NotABatch(f"not JSON: {error}") from None
    if isinstance(document, dict) and "entries" in document:
        document = document["entries"]
    elif isinstance(document, dict) and "propertyValues" in document:
        document = [document]
    if not isinstance(document, list):
        raise NotABatch(f"no `entries` and no `propertyValues` in {_shown(document)}")
    return [found for entry in document for found in _entry(entry)]


class _GivenTwice:
    """Stands for an object that gives a name twice."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"an object that gives {self._name!r} twice"


def _object(pairs: list[tuple[str, object]]) -> dict[str, object] | _GivenTwice:
    names = [name for name, _content in pairs]
    found = dict(pairs)
    return found if len(found) == len(names) else _GivenTwice(next(name for name in names if names.count(name) > 1))


def _entry(entry: object) -> Iterator[Value | Fault]:
    if not isinstance(entry, dict):
        yield Fault(None, f"an entry is {_shown(entry)}")
        return
    alias = _alias(entry)
    if alias is None:
        yield Fault(None, "an entry has neither propertyAlias nor assetId and propertyId")
        return
    values = entry.get("propertyValues")
    if not isinstance(values, list):
        yield Fault(alias, f"propertyValues is {_shown(values)}")
        return
    for value in values:
        try:
            yield _value(alias, value)
        except ValueError as error:
            yield Fault(alias, str(error))


def _alias(entry: Mapping[str, object]) -> str | None:
    alias = entry.get("propertyAlias")
    asset, prop = entry.get("assetId"), entry.get("propertyId")
    if not alias and isinstance(asset, str) and isinstance(prop, str) and asset and prop:
        alias = f"{asset}/{prop}"
    return alias if isinstance(alias, str) and 0 < len(alias) <= _LONGEST_ALIAS else None


def _value(alias: str, given: object) -> Value:
    if not isinstance(given, dict):
        raise ValueError(f"a value is {_shown(given)}")  # noqa: TRY004 - one kind of error for all that is wrong
    said = given.get("quality") or "GOOD"
    quality = _QUALITIES.get(said) if isinstance(said, str) else None
    if quality is None:
        raise ValueError(f"quality is {_shown(said)}; allowed are {', '.join(_QUALITIES)}")
    value = _variant(given.get("value"))
    if value is None and quality == "good":
        raise ValueError("a null value has quality GOOD")
    return Value(alias, value, quality, _instant(given.get("timestamp")))


def _variant(variant: object) -> bool | int | float | str | None:
    if variant is None:
        return None
    if not isinstance(variant, dict):
        raise ValueError(f"value is {_shown(variant)}")  # noqa: TRY004 - same
    given = {name: value for name, value in variant.items() if value is not None and name != "nullValue"}
    if not given:
        return None
    match list(given.items()):
        case [("booleanValue", bool(value))]:
            return value
        case [("integerValue", int(value))] if not isinstance(value, bool) and abs(value) < 2**63:
            return value
        case [("doubleValue", int(value) | float(value))] if not isinstance(value, bool):
            try:
                return float(value)
            except OverflowError:  # a whole number of more than 308 digits
                pass
        case [("stringValue", str(value))]:
            return value
    raise ValueError(f"value is {_shown(variant)}")


def _instant(timestamp: object) -> int:
    given = timestamp if isinstance(timestamp, dict) else {}
    seconds = _whole(given.get("timeInSeconds"), _LAST_SECOND)
    nanos = _whole(given.get("offsetInNanos") or 0, _BILLION - 1)
    if seconds is None or nanos is None:
        raise ValueError(f"timestamp is {_shown(timestamp)}")
    return seconds * _BILLION + nanos


def _whole(number: object, most: int) -> int | None:
    return number if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= most else None


def _shown(what: object) -> str:
    text = repr(what)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
