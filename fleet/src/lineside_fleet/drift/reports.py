"""What devices say of themselves beside Greengrass: the reported part of their shadow, as files.

    {"thing": "press-7", "reported": {"settings_hash": {"inference": "<32 hex digits>"}}}     one a line, or one a file

The rows of AWS IoT's fleet index are read as they are: `thingName` and `shadow`, which holds text or a document.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lineside.documents import read_json
from lineside_fleet.errors import Refused

SHADOW = "lineside"
ENDINGS = (".json", ".jsonl", ".ndjson")


def read(place: Path) -> dict[str, dict[str, str]]:
    """Return the settings' hashes by thing and service, the last word of each; raises Refused."""
    files = sorted(each for each in place.rglob("*") if each.suffix in ENDINGS) if place.is_dir() else [place]
    if not files:
        raise Refused(f"{place} holds no {', '.join(ENDINGS)}", remedy="Name a file or folder of reports")
    found: dict[str, dict[str, str]] = {}
    for file in files:
        for where, document in _documents(file):
            thing, hashes = _report(document, where)
            found[thing] = hashes
    return found


def _documents(file: Path) -> Iterator[tuple[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file} cannot be read: {error}", remedy="Name a file of reports") from None
    try:
        whole = read_json(text)
    except ValueError:
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    yield f"{file}:{number}", read_json(line)
                except ValueError as error:
                    raise Refused(f"{file}:{number}: {error}", remedy="Each line is one report in JSON") from None
        return
    rows = whole.get("things", [whole]) if isinstance(whole, Mapping) else whole
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
        yield f"{file}, report {number}", row


def _report(document: Any, where: str) -> tuple[str, dict[str, str]]:
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
    hashes = (reported or {}).get("settings_hash") if isinstance(reported, Mapping) else None
    return thing, {str(name): str(each) for name, each in hashes.items()} if isinstance(hashes, Mapping) else {}
