"""A model's folder is put into the repository, beside what serves from there; what is no longer needed goes.

The folder that came is whole and right before anything of it can be seen: staged in `.staging`, its cards parsed, its
files compared with their SHA-256, then moved, the versions first and the model's own card, which names one, last. Each
version keeps the card and the configuration that it came with, so that another's change nothing of it.

A version that was accepted never changes. One that was not, because it was refused or nobody came to ask, gives way to
another content under its number.
"""

import fcntl
import filecmp
import os
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lineside.packages.paths import CARD_FILE, CONFIG_FILE
from lineside_inference.errors import StoreError
from lineside_inference.models.reading import card_path, parse_card, read_card

STAGING, ACCEPTED = ".staging", ".accepted"
"""Folders of the repository that are no models: Triton and the inference service pass over hidden names."""
_DIRECTORY, _FILE = 0o755, 0o644


def put(repository: Path, name: str, archive: IO[bytes]) -> str:
    """Put the model of a tar stream, its folder's content, there; return the version that its own card names.

    Raises StoreError that says what is wrong with it; the repository is as it was then.
    """

    def extract(staged: Path) -> Mapping[str, str]:
        with tarfile.open(fileobj=archive, mode="r|") as stream:
            stream.extractall(staged, filter="data")
        return {}

    return put_by(repository, name, extract)


def put_by(repository: Path, name: str, fill: Callable[[Path], Mapping[str, str]]) -> str:
    """Put the model there with which `fill` fills an empty folder; return the version that its own card names.

    `fill` returns the SHA-256 of files that it has hashed while it wrote them, by their path. What it raises is raised,
    and StoreError that says what is wrong; the repository is as it was then.
    """
    staged = repository / STAGING / name
    try:
        staged.parent.mkdir(parents=True, exist_ok=True)
        with _alone(staged.parent):
            try:
                shutil.rmtree(staged, ignore_errors=True)
                staged.mkdir()
                version = _checked(staged, fill(staged))
                _settle(staged, repository / name, repository / ACCEPTED / name)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
    except (OSError, tarfile.TarError) as error:
        raise StoreError(f"model {name!r} cannot be put into {repository}: {error}") from None
    return version


def is_accepted(repository: Path, name: str, version: str) -> bool:
    """Whether a version was accepted, and can no longer change."""
    return (repository / ACCEPTED / name / version).exists()


def accept(repository: Path, name: str, versions: Collection[str]) -> list[str]:
    """Let these versions of a model never change from now on, and remove its others; return which those were."""
    folder, accepted = repository / name, repository / ACCEPTED / name
    gone = [each for each in _versions(folder) if each.name not in versions]
    for each in gone:
        shutil.rmtree(each)
    for mark in _marks(accepted):
        if mark.name not in versions:
            mark.unlink(missing_ok=True)
    accepted.mkdir(parents=True, exist_ok=True)
    for version in versions:
        if (folder / version).is_dir():
            (accepted / version).touch()
    return [each.name for each in gone]


def version_of(repository: Path, name: str) -> str:
    """Return the version that a model's own card names; raises StoreError."""
    return parse_card(repository / name / CARD_FILE, repository / name).version


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process puts a model there; who is killed lets go."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _checked(staged: Path, hashed: Mapping[str, str]) -> str:
    """Give every version its card and configuration, and check all; return the version of the model's own card."""
    for path in (staged, *staged.rglob("*")):  # Greengrass unpacks for its own user only
        path.chmod(_DIRECTORY if path.is_dir() else _FILE)
    if not (staged / CONFIG_FILE).is_file():
        raise StoreError(f"the model {staged.name} came without {CONFIG_FILE}", remedy="Triton needs it")
    from lineside_inference.models.configuration import read_config  # noqa: PLC0415 - half a start; few change a model

    read_config(staged)
    own = parse_card(staged / CARD_FILE, staged)
    for version in _versions(staged):
        if version.name == own.version and not (version / CARD_FILE).exists():
            shutil.copyfile(staged / CARD_FILE, version / CARD_FILE)
        if not (version / CONFIG_FILE).exists():
            shutil.copyfile(staged / CONFIG_FILE, version / CONFIG_FILE)
        if (version / CARD_FILE).exists():
            read_card(version / CARD_FILE, staged, hashed)
    if not (staged / own.version).is_dir():
        raise StoreError(
            f"the card of model {staged.name} is for version {own.version}, and no folder {own.version} came with it",
            remedy="Put the version's folder into the archive",
        )
    read_card(card_path(staged, own.version), staged, hashed)
    return own.version


def _settle(staged: Path, folder: Path, accepted: Path) -> None:
    """Move what was staged to its place."""
    versions = _versions(staged)
    for version in versions:
        there = folder / version.name
        if there.exists() and (accepted / version.name).exists() and not _same(version, there):
            raise StoreError(
                f"version {version.name} of model {folder.name} is there with another content",
                remedy="Give the new one a new number",
            )
    folder.mkdir(exist_ok=True)
    for version in versions:
        there = folder / version.name
        if there.exists():
            if _same(version, there):
                continue
            there.rename(staged / f".{version.name}.before")
        version.rename(there)
    for file in sorted((each for each in staged.iterdir() if each.is_file()), key=lambda each: each.name == CARD_FILE):
        there = folder / file.name
        if not (there.is_file() and filecmp.cmp(file, there, shallow=False)):
            file.replace(there)


def _same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same, byte for byte."""
    found = [sorted(str(each.relative_to(top)) for each in top.rglob("*")) for top in (one, other)]
    return found[0] == found[1] and all(
        filecmp.cmp(one / name, other / name, shallow=False) for name in found[0] if (one / name).is_file()
    )


def _versions(folder: Path) -> list[Path]:
    return sorted(each for each in folder.glob("[1-9]*") if each.is_dir() and each.name.isdigit())


def _marks(folder: Path) -> Iterator[Path]:
    return iter(sorted(folder.glob("*")))
