"""What devices say of themselves beside Greengrass: the reported part of their shadow, as files.

    {"thing": "press-7", "reported": {"settings_hash": {"inference": "<32 hex digits>"}, "components":
    {"inference": "0.2.0"}, "models": {"surface-defect": "2"}}}                               one a line, or one a file

The rows of AWS IoT's fleet index are read as they are: `thingName` and `shadow`, which holds text or a document.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lineside.documents import read_json
from lineside_fleet.drift.comparing import Said
from lineside_fleet.errors import Refused
from lineside_fleet.heartbeats.sources import ENDINGS, objects

SHADOW = "lineside"
MAX_BYTES = 64 * 1024 * 1024
"""Longest file of a bucket that is read."""


def read(place: str) -> dict[str, Said]:
    """Return what each thing says of itself, the last word of each; raises Refused, HeartbeatsAway.

    `place` is a file, a folder, or s3://bucket/prefix.
    """
    found: dict[str, Said] = {}
    for where, text in _bucket(place) if place.startswith("s3://") else _files(Path(place)):
        for there, document in _documents(where, text):
            thing, said = _report(document, there)
            found[thing] = said
    return found


def _files(place: Path) -> Iterator[tuple[str, str]]:
    files = sorted(each for each in place.rglob("*") if each.suffix in ENDINGS) if place.is_dir() else [place]
    if not files:
        raise Refused(f"{place} holds no {', '.join(ENDINGS)}", remedy="Name a file or folder of reports")
    for file in files:
        try:
            yield str(file), file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"{file} cannot be read: {error}", remedy="Name a file of reports") from None


def _bucket(place: str) -> Iterator[tuple[str, str]]:
    for where, body in objects(place):
        text = body.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise Refused(f"{where} has more than {MAX_BYTES} bytes", remedy="Cut it into several files")
        try:
            yield where, text.decode()
        except UnicodeDecodeError as error:
            raise Refused(f"{where} cannot be read: {error}", remedy="Name a file of reports") from None


def _documents(where: str, text: str) -> Iterator[tuple[str, Any]]:
    try:
        whole = read_json(text)
    except ValueError:
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    yield f"{where}:{number}", read_json(line)
                except ValueError as error:
                    raise Refused(f"{where}:{number}: {error}", remedy="Each line is one report in JSON") from None
        return
    rows = whole.get("things", [whole]) if isinstance(whole, Mapping) else whole
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
        yield f"{where}, report {number}", row


def _report(document: Any, where: str) -> tuple[str, Said]:
    thing = document.get("thing") or document.get("thingName") if isinstance(document, Mapping) else None
    if not isinstance(thing, str):
        raise Refused(f"{where}: names no thing", remedy='Each report is {"thing": ..., "reported": {...}}')
    reported = document.get("reported")
    if reported is None and (shadow := document.get("shadow")) is not None:
        try:
            shadow = read_json(shadow) if isinstance(shadow, str) else shadow
            reported = shadow["name"][SHADOW]["reported"]
        except (ValueError, KeyError, TypeError):
            reported = {}
    said = reported if isinstance(reported, Mapping) else {}
    models = {name: frozenset({version}) for name, version in _names(said, "models").items()}
    return thing, Said(_names(said, "settings_hash"), _names(said, "components"), models if "models" in said else None)


def _names(reported: Mapping[str, Any], name: str) -> dict[str, str]:
    given = reported.get(name)
    return {str(each): str(value) for each, value in given.items()} if isinstance(given, Mapping) else {}
