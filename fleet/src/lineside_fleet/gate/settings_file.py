"""The gate's settings from a YAML file: the section `gate:` of a rollout file, or a file with nothing else."""

from pathlib import Path

from pydantic import ValidationError

from lineside.documents import read_yaml
from lineside.errors import SettingsError
from lineside.settings import Layer, Section, problems_of
from lineside_fleet.gate.settings import GateSettings


class _File(Section):
    gate: GateSettings


def read(path: Path | None) -> GateSettings:
    """Return the settings, the defaults without a file; raises SettingsError with every problem."""
    if path is None:
        return GateSettings()
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
    wrapped = {"gate": section if section is not None else {}}
    try:
        return _File.model_validate(wrapped).gate
    except ValidationError as error:
        raise SettingsError(problems_of(_File, error, Layer(str(path), wrapped))) from None
