"""The gate's settings from a YAML file: the section `gate:` of a rollout file, or a file with nothing else."""

from pathlib import Path

from pydantic import ValidationError

from lineside.documents import read_yaml
from lineside.errors import SettingsError
from lineside.settings import nearest, type_at
from lineside.wording import words
from lineside_fleet.gate.settings import GateSettings


def read(path: Path) -> GateSettings:
    """Return the settings; raises SettingsError with every problem."""
    try:
        document = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror}"]) from None
    except ValueError as error:
        raise SettingsError([f"{path}: {error}"]) from None
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise SettingsError([f"{path}: expected names and values, as in `gate:` of a rollout file"])
    section = document.get("gate", document)
    try:
        return GateSettings.model_validate(section if section is not None else {})
    except ValidationError as error:
        raise SettingsError([f"{path}: {_problem(item)}" for item in error.errors()]) from None


def _problem(item: object) -> str:
    assert isinstance(item, dict)  # noqa: S101 - pydantic's own form
    path = tuple(map(str, item["loc"]))
    where = ".".join(("gate", *path))
    if item["type"] == "extra_forbidden":
        group = type_at(GateSettings, path[:-1]) if len(path) > 1 else GateSettings
        known = list(getattr(group, "model_fields", {}))
        return f"{where}: not a setting{nearest(path[-1], known)}"
    if item["type"] == "value_error":
        return f"{where}: {words(item)}"
    return f"{where}: {words(item)} (got {item['input']!r:.80})"
