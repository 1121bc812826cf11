"""What a core keeps on disk, so that one that is started again goes on: its components with their configuration.

One file, `state.json` in the core's folder, replaced whole; beside it a lock, so that a folder has one core at a time.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineside.documents import read_json
from lineside.durable_files import replace_file, sync
from lineside_bench.errors import BenchError

_FORMAT = 1


@dataclass(frozen=True)
class Kept:
    """What a core had when it last ran."""

    components: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = field(default_factory=dict)
    """Each component's recipe as it was written, and its configuration."""
    deployment: str = ""
    is_under_way: bool = False
    """Whether the core ended in the middle of that deployment."""
    interpolates: bool = False
    """Whether variables in configurations are replaced."""


class Store:
    """The folder of one core."""

    def __init__(self, root: Path) -> None:
        self._file = root / "state.json"
        self._root = root
        self._lock = -1

    def open(self) -> Kept:
        """Take the folder; return what is kept in it. Raises BenchError where another core has it, or it is spoilt."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._root / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise BenchError(f"{self._root} is used by another core", remedy="End that one, or name another") from None
        except OSError as error:
            self.close()
            what = f"{self._root} cannot be used: {error.strerror}"
            raise BenchError(what, remedy="Name a folder that you may write to") from None
        try:
            return self._read()
        except BaseException:
            self.close()
            raise

    def save(self, kept: Kept) -> None:
        """Keep this from now on. Raises BenchError where the disk does not take it."""
        document = {
            "format": _FORMAT,
            "deployment": kept.deployment,
            "is_under_way": kept.is_under_way,
            "interpolates": kept.interpolates,
            "components": {
                name: {"recipe": recipe, "configuration": configuration}
                for name, (recipe, configuration) in kept.components.items()
            },
        }
        try:
            replace_file(self._file, json.dumps(document, default=str).encode())
            sync(self._root)
        except OSError as error:
            what = f"{self._file} cannot be written: {error.strerror}"
            raise BenchError(what, remedy="Make room, or name another folder") from None

    def close(self) -> None:
        """Give the folder back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _read(self) -> Kept:
        if not self._file.exists():
            return Kept()
        try:
            return _kept(read_json(self._file.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"{self._file} is not the state of a core: {error}"
            raise BenchError(what, remedy="Remove the folder; the core begins anew") from None


def _kept(document: Any) -> Kept:
    if document["format"] != _FORMAT:
        raise ValueError(f"format {document['format']!r}")
    components = {
        str(name): (dict(each["recipe"]), dict(each["configuration"])) for name, each in document["components"].items()
    }
    return Kept(components, str(document["deployment"]), bool(document["is_under_way"]), bool(document["interpolates"]))
