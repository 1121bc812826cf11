"""A change of a model in the repository that can be undone until it is settled.

    keep > put or withdraw > settle, or restore

`keep` notes how a model is: whether it is there, its versions, its own card and what lies beside it. `restore` brings
that back, and leaves versions that have come, for one of them may serve until the old one is warm; `settle` forgets it,
and removes them where it was brought back. Each may be said again at any time, also after it was cut off in the middle:
so a change that a crash interrupted ends as it was or as it was to be.

A version that is there when a change begins counts as accepted: nothing replaces it under its number.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from lineside.durable_files import replace_file, sync
from lineside.packages.paths import CARD_FILE
from lineside_inference.errors import StoreError
from lineside_inference.models.placing import ACCEPTED, STAGING

BEFORE, WITHDRAWN = ".before", ".withdrawn"
"""Hidden folders of the repository: how models were before a change, and those that were taken out."""
_NOTE = "note.json"


def keep(repository: Path, name: str) -> None:
    """Note how a model is; where a change of it is under way, what was noted first stays. Raises StoreError."""
    note = repository / BEFORE / name
    try:
        if (note / _NOTE).exists():
            _mark(note, is_restored=False)
            return
        shutil.rmtree(note, ignore_errors=True)
        note.mkdir(parents=True)
        folder = repository / name
        versions = _versions(folder)
        for version in versions:
            accepted = repository / ACCEPTED / name
            accepted.mkdir(parents=True, exist_ok=True)
            (accepted / version).touch()
        for file in _files(folder):
            shutil.copyfile(file, note / file.name)
            sync(note / file.name)
        is_there = (folder / CARD_FILE).exists()
        _write(note, {"is_there": is_there, "versions": versions, "is_restored": False})
    except (OSError, ValueError, KeyError) as error:
        raise _unable(name, "noted", error) from None


def withdraw(repository: Path, name: str) -> bool:
    """Take a model out of the repository; return whether it was there. Raises StoreError."""
    folder, away = repository / name, repository / WITHDRAWN / name
    try:
        if not folder.exists():
            return False
        shutil.rmtree(away, ignore_errors=True)
        away.parent.mkdir(exist_ok=True)
        folder.rename(away)
        sync(repository)
    except OSError as error:
        raise _unable(name, "taken out", error) from None
    return True


def restore(repository: Path, name: str) -> bool:
    """Bring a model back to how it was noted; return whether it is there then. Raises StoreError."""
    note, folder, away = repository / BEFORE / name, repository / name, repository / WITHDRAWN / name
    try:
        if not (note / _NOTE).exists():
            return (folder / CARD_FILE).exists()
        noted = json.loads((note / _NOTE).read_bytes())
        if not noted["is_there"]:
            withdraw(repository, name)
        else:
            if not folder.exists() and away.exists():
                away.rename(folder)
            folder.mkdir(exist_ok=True)
            _bring_files_back(note, folder)
        shutil.rmtree(repository / STAGING / name, ignore_errors=True)
        sync(repository)
        _mark(note, is_restored=True)
    except (OSError, ValueError, KeyError) as error:
        raise _unable(name, "brought back", error) from None
    return bool(noted["is_there"])


def settle(repository: Path, name: str) -> None:
    """Forget how a model was: the change, or its undoing, is for good. Raises StoreError."""
    note, folder = repository / BEFORE / name, repository / name
    try:
        noted: dict[str, Any] = json.loads((note / _NOTE).read_bytes()) if (note / _NOTE).exists() else {}
        for version in set(_versions(folder)) - set(noted["versions"]) if noted.get("is_restored") else ():
            shutil.rmtree(folder / version)
            (repository / ACCEPTED / name / version).unlink(missing_ok=True)
        _forget(note)
        shutil.rmtree(repository / WITHDRAWN / name, ignore_errors=True)
        if not (repository / name).exists():
            shutil.rmtree(repository / ACCEPTED / name, ignore_errors=True)
    except (OSError, ValueError, KeyError) as error:
        raise _unable(name, "settled", error) from None


def _bring_files_back(note: Path, folder: Path) -> None:
    """Put the files beside the versions back, the model's own card last: it says which version is meant."""
    kept = sorted((each for each in _files(note) if each.name != _NOTE), key=lambda each: each.name == CARD_FILE)
    for file in kept:
        there = folder / file.name
        if not (there.is_file() and there.read_bytes() == file.read_bytes()):
            with file.open("rb") as content:
                replace_file(there, content, mode=0o644, ignores_umask=True)
    for file in _files(folder):
        if not (note / file.name).exists():
            file.unlink()
    sync(folder)


def _mark(note: Path, *, is_restored: bool) -> None:
    noted = json.loads((note / _NOTE).read_bytes())
    if noted["is_restored"] != is_restored:
        _write(note, noted | {"is_restored": is_restored})


def _write(note: Path, noted: dict[str, Any]) -> None:
    replace_file(note / _NOTE, json.dumps(noted).encode(), mode=0o644)
    sync(note)


def _forget(note: Path) -> None:
    (note / _NOTE).unlink(missing_ok=True)  # without it the rest says nothing
    shutil.rmtree(note, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    """Return the files beside the versions; hidden ones are drafts, of ours too."""
    return sorted(each for each in folder.glob("[!.]*") if each.is_file()) if folder.is_dir() else []


def _versions(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.glob("[1-9]*") if each.is_dir() and each.name.isdigit())


def _unable(name: str, done: str, error: Exception) -> StoreError:
    return StoreError(f"model {name!r} cannot be {done}: {error}", remedy="See who owns the repository, and its disk")
