"""Which models clients had loaded, and from where, kept over a restart: one JSON file that is replaced whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lineside.contract import explain
from lineside.durable_files import replace_file, sync

log = structlog.get_logger("lineside.inference.agent")

FILE = "agent-models.json"
_MAX_BYTES = 1024 * 1024


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["lineside/agent-models/1"] = Field(alias="schema", default="lineside/agent-models/1")
    models: dict[str, str]


class LoadedFile:
    """The file in a folder; `folder` None keeps nothing. What cannot be kept is said, and ends nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self) -> dict[str, str]:
        """Return the folder of each model by name; none where nothing was kept, or it cannot be read."""
        if self._folder is None:
            return {}
        path = self._folder / FILE
        try:
            with path.open("rb") as stream:
                return dict(_Kept.model_validate_json(stream.read(_MAX_BYTES)).models)
        except FileNotFoundError:
            return {}
        except OSError as error:
            log.warning("the models that clients had loaded are not known", file=str(path), reason=error.strerror)
        except ValidationError as error:
            log.warning("the models that clients had loaded are not known", file=str(path), reason=explain(error)[:600])
        return {}

    def write(self, models: Mapping[str, str]) -> None:
        """Replace the file."""
        if self._folder is None:
            return
        path = self._folder / FILE
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_file(path, _Kept(models=dict(models)).model_dump_json(by_alias=True, indent=1).encode())
            sync(self._folder)
        except OSError as error:
            log.warning("models that clients load are not kept over a restart", file=str(path), reason=error.strerror)
