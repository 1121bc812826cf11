"""What was fetched, on the disk: a folder for each source, known to be whole or in part.

Once its models are in the repository the large files go, and what lies beside the versions' folders stays: so a
deployment that goes back to a source, and a box that starts without a network, put that back without S3.
"""

import filecmp
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ValidationError

from lineside.documents import read_yaml
from lineside.durable_files import replace_file, sync
from lineside.greengrass.model_uri import S3Folder
from lineside_forwarder.model_download.errors import NotFetched
from lineside_forwarder.model_download.listing import CARD, CONFIG, Entry, Package

SOURCES = 2
"""How many sources are kept: the one in force, and the one before it, to which a deployment may roll back."""
RESERVE_BYTES = 256 * 1024**2
_MIB = 1024**2


class Placed(BaseModel):
    """A model that is in the repository: its folder below the source's, and its versions there."""

    folder: str
    versions: tuple[str, ...]


class Index(BaseModel):
    """What is known of a source: `done` has the mark of each whole file, `part` the path and mark of the one begun."""

    uri: str
    done: dict[str, str] = {}
    part: tuple[str, str] | None = None
    models: dict[str, Placed] = {}
    is_placed: bool = False


class Kept:
    """The folder of one source below `root`. Everything here may raise OSError."""

    def __init__(self, root: Path, source: S3Folder, progress: Callable[[int], None] = lambda _bytes: None) -> None:
        self.root = root
        self.source = source
        self.folder = root / hashlib.sha256(str(source).encode()).hexdigest()[:16]
        self.files = self.folder / "files"
        self._progress = progress
        self._stream: BinaryIO | None = None
        self.index = self._read()

    def models(self) -> Iterator[tuple[str, str]]:
        """Yield each model's name, and its folder below `root`."""
        for name, placed in self.index.models.items():
            yield name, str((self.files / placed.folder).relative_to(self.root))

    def is_in(self, repository: Path) -> bool:
        """Return whether every version of this source was put into the repository, and is there."""
        return self.index.is_placed and all(
            (self.files / placed.folder / CONFIG).is_file() and (repository / name / version).is_dir()
            for name, placed in self.index.models.items()
            for version in placed.versions
        )

    def give_back(self, repository: Path) -> Iterator[tuple[str, str]]:
        """Yield the models beside whose versions the repository has another card or configuration by now, whole again.

        So it is after a deployment of another source that was rolled back, or that this one follows.
        """
        for name, below in self.models():
            folder, there = self.root / below, repository / name
            if all(_is_same(each, there / each.name) for each in folder.iterdir() if each.is_file()):
                continue
            for version in self.index.models[name].versions:
                shutil.copytree(there / version, folder / version, dirs_exist_ok=True)
            yield name, below

    def use(self) -> None:
        """Say that this source is wanted now: of all it is the last to be given up."""
        os.utime(self.folder)

    def begin_anew(self, wanted: Iterable[Entry]) -> int:
        """Keep only what is still the same, make room, and return how many bytes are missing; raises NotFetched."""
        for folder in self._others():
            if not (index := _index(folder)) or not index.is_placed:
                shutil.rmtree(folder)
        entries = {each.path: each for each in wanted}
        for path in [path for path in self.index.done if not self._has(path, entries.get(path))]:
            (self.files / path).unlink(missing_ok=True)
            del self.index.done[path]
        self.index.is_placed = False
        self.index.models = {}
        self.files.mkdir(parents=True, exist_ok=True)
        self._save()
        total = sum(each.size for each in entries.values())
        missing = total - sum(entries[path].size for path in self.index.done)
        needed, free = missing + total + RESERVE_BYTES, shutil.disk_usage(self.folder).free
        if free < needed:
            raise NotFetched(
                f"the disk of Docker's volumes has {free // _MIB} MiB free and the models of {self.source} need "
                f"{needed // _MIB} MiB until they are in place",
                remedy="docker image prune, or a larger disk",
            )
        return missing

    def has(self, entry: Entry) -> bool:
        """Return whether a file is here, whole, with this content."""
        return self._has(entry.path, entry)

    def begin(self, entry: Entry) -> int:
        """Return how many bytes of this file are here already, and take the next ones behind them."""
        self.close()
        mark = (entry.path, entry.etag)
        part = self.folder / "part"
        if self.index.part != mark or not part.exists() or part.stat().st_size > entry.size:
            part.write_bytes(b"")
            self.index.part = mark
            self._save()
        self._stream = part.open("ab")
        return part.stat().st_size

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        assert self._stream is not None  # noqa: S101 - `begin` comes before it
        self._stream.write(chunk)
        self._progress(len(chunk))

    def finish(self, entry: Entry) -> None:
        """Give the file its name; from here on it is whole."""
        self.close()
        part, path = self.folder / "part", self.files / entry.path
        sync(part)
        path.parent.mkdir(parents=True, exist_ok=True)
        part.replace(path)
        sync(path.parent)
        self.index.part = None
        self.index.done[entry.path] = entry.etag
        self._save()

    def close(self) -> None:
        """Leave what has come as it is."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def text(self, path: str) -> str:
        """Return a file's text, at most a page of it; raises NotFetched."""
        with (self.files / path).open("rb") as stream:
            content = stream.read(_MIB + 1)
        try:
            text = content.decode()
        except UnicodeDecodeError:
            text = ""
        if not text or len(content) > _MIB:
            raise NotFetched(f"{self.source}{path} is no text of at most 1 MiB", remedy="upload the model's own")
        return text

    def complete(self, models: Mapping[str, Package]) -> None:
        """Compare the files with their cards, and remember which model lies where; raises NotFetched."""
        for package in models.values():
            self._check_cards(package)
        self.index.models = {
            name: Placed(folder=package.folder, versions=package.versions) for name, package in models.items()
        }
        self._save()

    def settle(self) -> None:
        """Take note that the models are in the repository; what is needed no more goes, of older sources too."""
        self.index.is_placed = True
        self._save()
        for placed in self.index.models.values():
            for version in placed.versions:
                shutil.rmtree(self.files / placed.folder / version, ignore_errors=True)
        self.use()
        others = sorted(self._others(), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in others[SOURCES - 1 :]:
            shutil.rmtree(folder)

    def _has(self, path: str, entry: Entry | None) -> bool:
        file = self.files / path
        return (
            entry is not None
            and self.index.done.get(path) == entry.etag
            and file.is_file()
            and file.stat().st_size == entry.size
        )

    def _check_cards(self, package: Package) -> None:
        for version in ("", *package.versions):
            card = package.inside(f"{version}/{CARD}" if version else CARD)
            if not (self.files / card).is_file():
                continue
            try:
                document = read_yaml(self.text(card))
            except ValueError as error:
                raise NotFetched(f"{self.source}{card}: {error}", remedy="mend it, and upload it again") from None
            for path, sha256 in _files_of(document):
                self._check_file(card, package.inside(path), sha256)

    def _check_file(self, card: str, path: str, sha256: str) -> None:
        if path not in self.index.done:
            raise NotFetched(f"{self.source}{card} names {path!r:.200}, which is not there", remedy="upload it as well")
        with (self.files / path).open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != sha256:
            del self.index.done[path]
            self._save()
            raise NotFetched(
                f"{self.source}{path} has SHA-256 {found}, its card says {sha256:.80}",
                remedy="upload the file that belongs to the card, or make the card anew",
            )

    def _others(self) -> list[Path]:
        return [each for each in self.root.iterdir() if each.is_dir() and each != self.folder]

    def _read(self) -> Index:
        found = _index(self.folder)
        return found if found is not None and found.uri == str(self.source) else Index(uri=str(self.source))

    def _save(self) -> None:
        replace_file(self.folder / "index.json", self.index.model_dump_json().encode())
        sync(self.folder)


def _index(folder: Path) -> Index | None:
    try:
        return Index.model_validate_json((folder / "index.json").read_bytes())
    except (OSError, ValidationError):
        return None  # it is fetched again


def _is_same(one: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(one, other, shallow=False)


def _files_of(document: Any) -> Iterator[tuple[str, str]]:
    """Yield the files that a card lists; whatever else is wrong with it is the inference service's to say."""
    listed = document.get("files") if isinstance(document, dict) else None
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict) and isinstance(each.get("path"), str) and isinstance(each.get("sha256"), str):
            yield each["path"], each["sha256"]
