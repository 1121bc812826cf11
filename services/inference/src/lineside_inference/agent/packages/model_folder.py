"""The folder in which clients' models lie for Triton: a model is there whole, under its name, or not at all.

Triton has the folder as one more model repository. A model in it is a copy: it does not change with the folder that the
client named, and can be loaded again when that is gone.
"""

import os
import secrets
import shutil
from collections.abc import Container
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from google.protobuf import text_format  # type: ignore[import-untyped]  # it ships no types
from tritonclient.grpc import model_config_pb2 as pb

from lineside.durable_files import replace_file, sync
from lineside.packages.paths import CONFIG_FILE
from lineside_inference.agent.packages.package import Package
from lineside_inference.agent.packages.paths import Roots
from lineside_inference.errors import MemoryShort, PackageUnusable, StateNotKept

_INCOMING = ".incoming-"
_CHUNK = 1024 * 1024
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644
"""Triton reads them as another user, maybe."""
_RESERVE = 64 * 1024 * 1024
"""Bytes of the disk that are left for all else."""


class ModelFolder:
    """The folder; blocking, all of it. Raises StateNotKept where the disk or the folder does not serve."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self, kept: Container[str]) -> None:
        """Make it, and clear whatever is not a model of these names: leftovers, and what nobody wants any more."""
        try:
            self.path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            for folder in self.path.iterdir():
                if folder.is_dir() and (folder.name not in kept or folder.name.startswith(_INCOMING)):
                    shutil.rmtree(folder)
        except OSError as error:
            raise self._unusable(error) from None
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise self._unusable(PermissionError(13, os.strerror(13)))

    def place(self, package: Package, name: str, roots: Roots) -> None:
        """Copy a package under this name, in place of what may be left there.

        Raises MemoryShort, PackageUnusable, PackageNotFound or PackagePathRefused too.
        """
        self.remove(name)
        self._demand_disk(package, name)
        incoming = self.path / f"{_INCOMING}{secrets.token_hex(8)}"
        try:
            incoming.mkdir(mode=_FOLDER_MODE)
            for file in package.files:
                target = incoming / PurePosixPath(file.place)
                target.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
                with roots.open(file.path) as source:
                    _copy(source, target, file.path, file.size)
            config = pb.ModelConfig()
            config.CopyFrom(package.config)
            config.name = name
            replace_file(incoming / CONFIG_FILE, text_format.MessageToString(config).encode(), mode=_FILE_MODE)
            for folder in (incoming, *(path for path in incoming.rglob("*") if path.is_dir())):
                sync(folder)
            incoming.rename(self.path / name)
            sync(self.path)
        except OSError as error:
            raise self._unusable(error) from None
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def has(self, name: str) -> bool:
        """Whether a model of this name lies here."""
        return (self.path / name).is_dir()

    def remove(self, name: str) -> None:
        """Remove a model; what cannot be removed now is cleared by the next start."""
        gone = self.path / f"{_INCOMING}{secrets.token_hex(8)}"
        try:
            (self.path / name).rename(gone)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unusable(error) from None
        shutil.rmtree(gone, ignore_errors=True)

    def _demand_disk(self, package: Package, name: str) -> None:
        try:
            free = max(0, shutil.disk_usage(self.path).free - _RESERVE)
        except OSError as error:
            raise self._unusable(error) from None
        if package.size > free:
            raise MemoryShort(
                f"model {name!r} has {package.size} bytes, and the disk of {self.path} has {free} for it",
                remedy="Unload another model, or free the disk",
            )

    def _unusable(self, error: OSError) -> StateNotKept:
        return StateNotKept(
            f"edge_manager.model_folder {self.path} cannot be used: {error.strerror}",
            remedy="Make it a folder that this service may write, with room on its disk",
        )


def _copy(source: BinaryIO, target: Path, path: Path, size: int) -> None:
    """Copy one file onto the disk; raises PackageUnusable where it is another one than was read before."""
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
    with os.fdopen(handle, "wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
        file.flush()
        os.fsync(handle)
        if file.tell() != size:
            raise PackageUnusable(
                f"{path} had {size} bytes, and {file.tell()} when it was copied", remedy="Load it when it is whole"
            )
