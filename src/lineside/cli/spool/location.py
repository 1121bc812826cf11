"""Which spool a command works on: the one of the settings, or the one in the folder that was named."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

import lineside.settings
from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.errors import LinesideError
from lineside.spool.settings import SpoolSettings
from lineside.spool.store.schema import RECORDS


class _Settings(lineside.settings.Settings):
    """What the commands read of the box's settings file."""

    spool: SpoolSettings = Field(default_factory=lambda: SpoolSettings.model_validate({}))
    edge_manager: EdgeManagerSettings = Field(default_factory=lambda: EdgeManagerSettings.model_validate({}))


@dataclass(frozen=True, slots=True)
class SpoolLocation:
    """An existing spool: its settings and folder, the box's name, and the folders that every path begins with."""

    spool: SpoolSettings
    folder: Path
    thing: str
    prefix: str

    @property
    def quarantine(self) -> Path:
        """The folder of damaged files."""
        return self.folder / "quarantine"

    @property
    def quarantined_files(self) -> int:
        """How many damaged files are in that folder."""
        try:
            return sum(1 for _ in self.quarantine.iterdir())
        except OSError:
            return 0


def locate(config: Path | None, folder: Path | None) -> SpoolLocation:
    """Return the spool of the settings, or the one in `folder` under the settings' bounds.

    Raises SettingsError for wrong settings, LinesideError where there is no spool in the folder.
    """
    settings = lineside.settings.load(_Settings, file=config)
    own = settings.spool if folder is None else settings.spool.model_copy(update={"folder": folder})
    if own.folder is None:
        raise LinesideError(
            "no evidence is kept on this box: spool.folder is not set", remedy="name the settings file, or --folder"
        )
    try:
        is_one = (own.folder / RECORDS).is_file()
    except OSError as error:
        raise LinesideError(
            f"{own.folder} cannot be read: {error.strerror}", remedy="call this as the services' user, or as root"
        ) from None
    if not is_one:
        known = "there is no such folder" if not own.folder.is_dir() else f"it has no {RECORDS}"
        raise LinesideError(
            f"{own.folder} is no spool: {known}", remedy="name the folder that the services have as spool.folder"
        )
    return SpoolLocation(own, own.folder, settings.thing, settings.edge_manager.FolderPrefix)
