"""The verdicts as text and as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lineside.cli.migrate.source import Source
from lineside.cli.migrate.verdicts import Verdict, notes
from lineside.tables import table, visible

_KINDS = {
    "component": "configuration of aws.greengrass.SageMakerEdgeManager",
    "agent": "configuration file of an agent without Greengrass",
}
_MAX_SHOWN = 60


def text(file: Path, source: Source, judged: Sequence[Verdict]) -> str:
    """Return a table of the keys, what a person has to do, and the notes."""
    rows = [(one.key, _shown(one.value), one.says, one.what) for one in judged]
    todo = [f"  {one.key}: {visible(one.todo)}\n" for one in judged if one.todo]
    lines = [f"{file}: {_KINDS[source.kind]}\n\n", table(("KEY", "VALUE", "HERE", "WHAT IT MEANS"), rows)]
    lines += ["\nto do:\n", *todo] if todo else ["\nnothing needs a hand\n"]
    lines += ["\n", *(f"note: {note}\n" for note in notes(source))]
    return "".join(lines)


def document(file: Path, source: Source, judged: Sequence[Verdict]) -> dict[str, Any]:
    """Return the same as a document of plain values."""
    return {
        "file": str(file),
        "kind": source.kind,
        "component_version": source.version,
        "keys": [
            {"key": one.key, "value": one.value, "verdict": one.says, "what": one.what, "todo": one.todo or None}
            for one in judged
        ],
        "needs_a_hand": sum(bool(one.todo) for one in judged),
        "notes": notes(source),
    }


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."
