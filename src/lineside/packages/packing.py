"""A model's folder becomes a package: one archive, the same bytes each time.

    packed = pack(Path("models/detector"), Path("out"))      # out/detector-3.tar.gz

In it are the manifest first, then the card, the configuration, the versions' folders, and what the configuration names
beside them (a file of labels). Anything else in the folder stays out, and is named in `Packed.left_out`.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from pydantic import ValidationError

from lineside.documents import read_yaml
from lineside.durable_files import sync
from lineside.packages.archive import ArchiveWriter
from lineside.packages.errors import PackageRefused
from lineside.packages.manifest import MAX_BYTES, MAX_FILE_BYTES, MAX_FILES, Manifest, Metadata, PackagedFile, Variant
from lineside.packages.paths import CARD_FILE, CONFIG_FILE, MANIFEST_FILE, check_path
from lineside.variants import ANY, VariantError
from lineside.wording import words

PORTABLE = (".onnx", ".pt")
"""Models that run on any hardware; an engine of TensorRT does on one."""
_CARD_SCHEMA = "lineside/card/1"
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_QUOTED = re.compile(r'"([^"\n]+)"')
_MAX_TEXT = 1024 * 1024
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Packed:
    """A package that was made: where it is, its SHA-256 and bytes, what is in it, and what of the folder is not."""

    archive: Path
    sha256: str
    size: int
    manifest: Manifest
    left_out: tuple[str, ...]


def pack(folder: Path, out: Path) -> Packed:
    """Pack a model's folder into `out`, a folder, or a file that ends in .tar.gz; one that is there is replaced.

    Raises PackageRefused where the folder is not a model as its card says; nothing is written then.
    """
    folder = folder.absolute()
    card = _card(folder)
    paths, left_out = _chosen(folder)
    files = tuple(_described(folder, path) for path in sorted(paths))
    manifest = _manifest(card, files)
    archive = out if out.name.endswith(".tar.gz") else out / manifest.archive_name
    sha256, size = _write(archive, folder, manifest)
    return Packed(archive, sha256, size, manifest, tuple(sorted(left_out)))


def _card(folder: Path) -> Mapping[str, Any]:
    path = folder / CARD_FILE
    try:
        card = read_yaml(_text(path))
    except ValueError as error:
        raise _wrong(f"{path} is {error}") from None
    if not isinstance(card, dict) or card.get("schema") != _CARD_SCHEMA:
        raise _wrong(f"{path} is no card: its schema must be {_CARD_SCHEMA}")
    if card.get("name") != folder.name:
        raise _wrong(f"{path}: name is {card.get('name')!r}", remedy=f"Call it {folder.name!r}, as its folder")
    return card


def _chosen(folder: Path) -> tuple[list[str], list[str]]:
    """Return the paths of the files that belong to the package, and the names of those that do not."""
    named = set(_QUOTED.findall(_text(folder / CONFIG_FILE)))
    taken, left_out = [CARD_FILE, CONFIG_FILE], []
    for entry in sorted(folder.iterdir()):
        if entry.name in {CARD_FILE, CONFIG_FILE}:
            continue
        if entry.is_dir() and _VERSION.fullmatch(entry.name):
            taken += _below(entry, PurePosixPath(entry.name))
        elif entry.name in named and entry.name != MANIFEST_FILE and not entry.is_dir():
            taken.append(entry.name)
        else:
            left_out.append(entry.name)
    if len(taken) > MAX_FILES:
        raise _wrong(f"{folder} has {len(taken)} files; a package holds {MAX_FILES}")
    return taken, left_out


def _below(folder: Path, inner: PurePosixPath) -> Iterator[str]:
    for entry in sorted(folder.iterdir()):
        path = inner / entry.name
        try:
            check_path(str(path))
        except ValueError as error:
            raise _wrong(f"{entry}: {error}", remedy="Name it otherwise, or take it out") from None
        if entry.is_symlink():
            raise _wrong(f"{entry} is a link", remedy="Put the file itself there: a package holds plain files")
        if entry.is_dir():
            yield from _below(entry, path)
        else:
            yield str(path)


def _described(folder: Path, path: str) -> PackagedFile:
    found = hashlib.sha256()
    with _opened(folder / path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_FILE_BYTES:
            raise _wrong(f"{folder / path} has {size} bytes; a file of a package has {MAX_FILE_BYTES} at most")
        while data := file.read(_CHUNK):
            found.update(data)
    return PackagedFile(path=path, size=size, sha256=found.hexdigest())


def _manifest(card: Mapping[str, Any], files: tuple[PackagedFile, ...]) -> Manifest:
    """Return the manifest; raises PackageRefused where files and card do not belong together."""
    try:
        manifest = Manifest(
            metadata=Metadata(model_name=str(card["name"]), model_version=card.get("version", "")),
            files=files,
            variants=_variants(card, {file.path: file for file in files}),
            card=dict(card),
        )
        text = manifest.to_bytes()
    except ValidationError as error:
        says = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'the model'}: {words(item)}" for item in error.errors())
        raise _wrong(f"the model cannot be packed: {says}") from None
    except TypeError as error:
        raise _wrong(f"{CARD_FILE}: {error}", remedy="Write dates and the like in quotes") from None
    if len(text) > MAX_BYTES:
        raise _wrong(f"{CARD_FILE} and the list of files have {len(text)} bytes; a manifest has {MAX_BYTES} at most")
    if not any(file.path.startswith(f"{manifest.version}/") for file in files):
        raise _wrong(
            f"{CARD_FILE} is for version {manifest.version}, and there is no folder {manifest.version}",
            remedy="Put the version's files into it",
        )
    return manifest


def _variants(card: Mapping[str, Any], files: Mapping[str, PackagedFile]) -> tuple[Variant, ...]:
    """Return the card's files by variant, each compared with the file; one that runs anywhere must be among them."""
    by_variant: dict[str, list[str]] = {}
    for place, entry in enumerate(card.get("files") or ()):
        path, sha256 = (entry.get("path"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        file = files.get(str(path))
        if file is None:
            raise _wrong(f"{CARD_FILE}: files.{place} is {path!r}, which is not in a version's folder")
        if file.sha256 != sha256:
            raise _wrong(
                f"{path} has SHA-256 {file.sha256}, {CARD_FILE} says {sha256}",
                remedy="Take the file that the card is for, or make the card anew",
            )
        by_variant.setdefault(str(entry.get("variant", ANY)), []).append(file.path)
    if not any(path.endswith(PORTABLE) for path in by_variant.get(ANY, ())):
        raise _wrong(
            f"{CARD_FILE} names no file of variant any that runs on all hardware ({' or '.join(PORTABLE)})",
            remedy="Add the ONNX file: a machine without a fitting engine takes it",
        )
    try:
        return tuple(Variant.of(variant, tuple(paths)) for variant, paths in by_variant.items())
    except VariantError as error:
        raise _wrong(f"{CARD_FILE}: {error}") from None


def _write(archive: Path, folder: Path, manifest: Manifest) -> tuple[str, int]:
    draft = archive.with_name(f".{archive.name}.{os.getpid()}.part")
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("xb") as out:
            writer = ArchiveWriter(out)
            text = manifest.to_bytes()
            writer.begin(MANIFEST_FILE, len(text))
            writer.write(text)
            writer.end(len(text))
            for file in manifest.files:
                _add(writer, folder, file)
            writer.close()
        with draft.open("rb") as made:
            sha256 = hashlib.file_digest(made, "sha256").hexdigest()
        size = draft.stat().st_size
        sync(draft)
        draft.replace(archive)
    except OSError as error:
        raise PackageRefused("not-written", f"{archive} cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return sha256, size


def _add(writer: ArchiveWriter, folder: Path, file: PackagedFile) -> None:
    writer.begin(file.path, file.size)
    found, left = hashlib.sha256(), file.size
    with _opened(folder / file.path) as source:
        while left and (data := source.read(min(left, _CHUNK))):
            found.update(data)
            writer.write(data)
            left -= len(data)
        if left or source.read(1) or found.hexdigest() != file.sha256:
            raise _wrong(f"{folder / file.path} changed while it was packed", remedy="Pack it again when it is whole")
    writer.end(file.size)


def _text(path: Path) -> str:
    with _opened(path) as file:
        text = file.read(_MAX_TEXT + 1)
    if len(text) > _MAX_TEXT:
        raise _wrong(f"{path} has more than {_MAX_TEXT} bytes")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise _wrong(f"{path} is not UTF-8") from None


def _opened(path: Path) -> BinaryIO:
    """Open a plain file of the model's folder."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _wrong(f"{path} cannot be read: {error.strerror}", remedy="A model's folder has plain files") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _wrong(f"{path} is not a file")
    return os.fdopen(handle, "rb")


def _wrong(what: str, *, remedy: str = "") -> PackageRefused:
    return PackageRefused("model-wrong", what, remedy=remedy)
