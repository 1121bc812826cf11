"""Our settings file from Edge Manager's configuration."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from lineside.cli.migrate.source import Source
from lineside.edge_manager import agent_file
from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.errors import SettingsError
from lineside.settings import Settings
from lineside.wording import words

_THING: TypeAdapter[str] = TypeAdapter(Settings.__annotations__["thing"])


def settings_file(file: Path, source: Source, spool: Path) -> str:
    """Return the file's text, which `lineside config check` takes; raises SettingsError with what is wrong."""
    document = source.settings()
    problems = list(agent_file.read(source.keys).problems) if source.kind == "agent" else []
    try:
        read = EdgeManagerSettings.model_validate(document["edge_manager"])
    except ValidationError as error:
        problems += [_told(item) for item in error.errors()]
    if problems:
        raise SettingsError([f"{file}: {problem}" for problem in problems])
    given = read.model_dump(mode="json", include=set(document["edge_manager"]))
    made: dict[str, Any] = {name: value for name, value in document.items() if name != "edge_manager"}
    made |= {"spool": {"folder": str(spool)}, "edge_manager": given}
    head = (
        f"# Made by `lineside migrate convert {file.name}`. Every setting: `lineside config sample`.\n"
        "# `lineside config check FILE` reads this file as the services do.\n"
    )
    return head + yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=120)


def _told(item: Any) -> str:
    where = ".".join(map(str, item["loc"]))
    return f"{where}: {words(item)}" if where else words(item)
