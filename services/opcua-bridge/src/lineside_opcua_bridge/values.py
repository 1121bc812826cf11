"""Converts OPC UA's values to samples and to the tags of a request; nothing is made up for an unusable value."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from asyncua import ua

from lineside.contract import Scalar
from lineside_opcua_bridge.samples import Sample

MAX_TEXT = 128
"""Longest part id and longest text of a tag, in characters, as in the contract."""

_OVERFLOW = 0x480
"""InfoType DataValue with the overflow bit (OPC 10000-4, 7.39.1)."""
_FIRST_YEAR = 1602
"""Years before it are OPC UA's zero: the time is not set."""


def sample_of(value: ua.DataValue, *, received: datetime, ticks: float, index: int | None = None) -> Sample:
    """Return a value as a sample; with `index` that of one element of an array."""
    code = value.StatusCode
    quality: Literal["good", "uncertain", "bad"] = (
        "good" if code is None or code.is_good() else "uncertain" if code.is_uncertain() else "bad"
    )
    content = value.Value.Value if value.Value is not None else None
    sample = Sample(
        value=content if index is not None else scalar(content),
        quality=quality,
        source=instant(value.SourceTimestamp),
        server=instant(value.ServerTimestamp),
        received=received,
        ticks=ticks,
        overflow=code is not None and int(code.value) & _OVERFLOW == _OVERFLOW,
    )
    return sample if index is None else element_of(sample, index)


def scalar(content: object) -> object:
    """Return the element of an array of one, which some PLCs send for a scalar; anything else unchanged."""
    return content[0] if isinstance(content, list) and len(content) == 1 else content


def element_of(sample: Sample, index: int) -> Sample:
    """Return the sample of an array's element at `index`; of bad quality and without a value where there is none."""
    content = sample.value
    if isinstance(content, list) and index < len(content) and not isinstance(content[index], list):
        return sample._replace(value=content[index])
    return sample._replace(value=None, quality="bad")


def instant(moment: datetime | None) -> datetime | None:
    """Return an OPC UA time as aware UTC, or None where it was not set."""
    if moment is None or moment.year < _FIRST_YEAR:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def boolean(sample: Sample | None) -> bool | None:
    """Return a Boolean of usable quality, else None."""
    content = _usable(sample) if sample else None
    return content if isinstance(content, bool) else None


@dataclass
class Tags:
    """What was sampled: the part's id, the other tags, and for each that is absent, why."""

    part_id: str | None = None
    tags: dict[str, Scalar] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def tags_of(values: Mapping[str, Sample]) -> Tags:
    """Return sampled values as a request carries them; `part_id` as text of 1 to MAX_TEXT characters."""
    result = Tags()
    for name, value in values.items():
        content = _usable(value)
        if isinstance(content, datetime):
            content = content.isoformat()
        elif isinstance(content, ua.LocalizedText):
            content = content.Text
        if content is None:
            result.left_out[name] = "quality"
        elif not isinstance(content, str | bool | int | float) or (
            isinstance(content, float) and not math.isfinite(content)
        ):
            result.left_out[name] = "type"
        elif isinstance(content, str) and len(content) > MAX_TEXT:
            result.left_out[name] = "length"
        elif isinstance(content, str) and not _is_unicode(content):
            result.left_out[name] = "encoding"
        elif name != "part_id":
            result.tags[name] = content
        elif str(content):
            result.part_id = str(content)
        else:
            result.left_out[name] = "empty"
    return result


def _is_unicode(text: str) -> bool:
    """Whether it can be encoded as UTF-8: asyncua decodes a PLC's invalid bytes as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _usable(value: Sample) -> object:
    return None if value.quality == "bad" else value.value
