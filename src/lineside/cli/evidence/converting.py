"""Files of records to files of Model Monitor's lines, by model and hour."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineside.cli.evidence.model_monitor import NoRow, line
from lineside.documents import read_json
from lineside.durable_files import replace_file
from lineside.errors import LinesideError

_TIME = re.compile(r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_OBJECTS = "raw-data/"


@dataclass
class Done:
    """What became of the records."""

    written: int = 0
    left_out: list[str] = field(default_factory=list)
    """One sentence a record that has no row."""


class NotConverted(LinesideError):
    """A file cannot be read or written."""

    code = "not-converted"


def convert(given: Sequence[Path], out: Path, variant: str) -> Done:
    """Write the lines of all records; raises NotConverted."""
    done = Done()
    try:
        for path in _files(given):
            lines: dict[Path, list[str]] = defaultdict(list)
            for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                try:
                    folder, made = _converted(text, path.parent, variant)
                except ValueError as error:
                    done.left_out.append(f"{path}:{number}: {error}")
                    continue
                lines[folder].append(json.dumps(made))
                done.written += 1
            for folder, each in lines.items():
                (out / folder).mkdir(parents=True, exist_ok=True)
                replace_file(out / folder / path.name, "".join(f"{one}\n" for one in each).encode())
    except OSError as error:
        raise NotConverted(f"{error.filename}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NotConverted(f"{path}: not UTF-8") from None
    return done


def _files(given: Sequence[Path]) -> Iterator[Path]:
    for path in given:
        if not path.is_dir():
            yield path
            continue
        yield from sorted(path.rglob("*.jsonl"))


def _converted(text: str, beside: Path, variant: str) -> tuple[Path, dict[str, Any]]:
    """Return a record's line and the folder that it belongs into; raises ValueError."""
    record = read_json(text)
    made = line(record, lambda reference: _object(reference, beside))
    model, at = str(record["eventMetadata"].get("modelName")), _TIME.match(made["eventMetadata"]["inferenceTime"])
    if not _NAME.fullmatch(model) or at is None:
        raise NoRow(f"model {model!r:.80} or its time is no name of a folder")
    return Path(model, variant, *at.groups()), made


def _object(reference: str, beside: Path) -> bytes | None:
    """Return the object that lies beside the file of records, wherever both were copied to."""
    _where, found, name = reference.rpartition(_OBJECTS)
    path = Path(name)
    if not found or path.is_absolute() or ".." in path.parts:
        return None
    try:
        return (beside / _OBJECTS / path).read_bytes()
    except FileNotFoundError:
        return None
