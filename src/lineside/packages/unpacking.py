"""A package becomes a folder: beside its place first, and there only when every file is what the manifest says.

    unpack(Path("detector-3.tar.gz"), Path("/models/detector"))      # PackageRefused: nothing is there

What a killed process left beside the place is cleared by the next.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lineside.documents import read_yaml
from lineside.packages.errors import PackageRefused
from lineside.packages.hashing import Sha256
from lineside.packages.manifest import MAX_BYTES, Manifest, PackagedFile, parse_manifest
from lineside.packages.paths import CARD_FILE, MANIFEST_FILE, check_path
from lineside.packages.reading import ArchiveReader, Limits, Member, open_archive

DEFAULT_LIMITS = Limits()
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644
_MAX_CARD_BYTES = 1024 * 1024
_AGAIN = "Pack the model again"


def read_manifest(archive: Path) -> Manifest:
    """Return an archive's manifest, of which nothing is verified; raises PackageRefused."""
    with open_archive(archive) as file:
        reader = ArchiveReader(file, DEFAULT_LIMITS)
        return _manifest(reader, reader.members())


def unpack(archive: Path, into: Path, limits: Limits = DEFAULT_LIMITS) -> Manifest:
    """Unpack an archive into a folder that is not there yet; who signed it is not asked. Raises PackageRefused."""
    with open_archive(archive) as file, placed(into) as staged:
        return unpack_stream(ArchiveReader(file, limits), staged, limits)


@contextmanager
def placed(into: Path) -> Iterator[Path]:
    """Give a folder to fill, which takes its place where the block ends well; one at a time in a parent folder.

    Raises PackageRefused where there is something already, or the disk does not take it.
    """
    staged = into.with_name(f".{into.name}.incoming")
    try:
        parent = os.open(into.parent, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    except OSError as error:
        raise PackageRefused("not-written", f"{into.parent} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(parent, fcntl.LOCK_EX)
        if into.exists():
            raise PackageRefused(
                "not-written", f"{into} is there already", remedy="Name a folder that is not there yet"
            )
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(_FOLDER_MODE)
        yield staged
        staged.rename(into)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise PackageRefused("disk-full", f"the disk of {into.parent} is full", remedy="Free some of it") from None
        raise PackageRefused("not-written", f"{into} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        os.close(parent)


def unpack_stream(reader: ArchiveReader, folder: Path, limits: Limits) -> Manifest:
    """Unpack into an empty folder; raises PackageRefused, or OSError where the disk does not take it."""
    members = reader.members()
    manifest = _manifest(reader, members)
    _check_room(manifest, folder, limits)
    wanted = {file.path: file for file in manifest.files}
    for member in members:
        file = wanted.pop(member.path, None)
        if file is None:
            raise _strange(member, manifest)
        _write(reader, member, file, folder / file.path)
    if wanted:
        missing = next(iter(wanted))
        raise PackageRefused(
            "content-differs", f"the manifest names {missing!r}, and the archive does not hold it", remedy=_AGAIN
        )
    (folder / MANIFEST_FILE).write_bytes(manifest.to_bytes())
    _check_card(manifest, folder)
    return manifest


def _manifest(reader: ArchiveReader, members: Iterator[Member]) -> Manifest:
    first = next(members, None)
    if first is None or first.path != MANIFEST_FILE:
        held = "nothing" if first is None else f"{first.path[:80]!r} first"
        raise PackageRefused(
            "manifest-missing",
            f"the archive holds {held}, and a package begins with {MANIFEST_FILE}",
            remedy="Make it by `lineside model pack`",
        )
    if first.size > MAX_BYTES:
        raise PackageRefused("manifest-wrong", f"{MANIFEST_FILE} has {first.size} bytes; at most {MAX_BYTES} are read")
    return parse_manifest(b"".join(reader.content(first)))


def _check_room(manifest: Manifest, folder: Path, limits: Limits) -> None:
    if len(manifest.files) > limits.files or manifest.size > limits.bytes:
        raise PackageRefused(
            "archive-too-large",
            f"package {manifest.archive_name} has {len(manifest.files)} files of {manifest.size} bytes; "
            f"at most {limits.files} of {limits.bytes} are taken",
        )
    free = max(0, shutil.disk_usage(folder).free - limits.reserve)
    if manifest.size > free:
        raise PackageRefused(
            "disk-full",
            f"package {manifest.archive_name} has {manifest.size} bytes; the disk of {folder.parent} has {free} for it",
            remedy="Free some of it",
        )


def _strange(member: Member, manifest: Manifest) -> PackageRefused:
    """Return why a member that the manifest does not name, or not once more, is refused."""
    try:
        check_path(member.path)
    except ValueError as error:
        return PackageRefused("archive-unsafe", f"the archive holds a file whose name {error}")
    is_twice = member.path == MANIFEST_FILE or any(file.path == member.path for file in manifest.files)
    says = "twice" if is_twice else "which the manifest does not name"
    return PackageRefused("content-differs", f"the archive holds {member.path!r} {says}", remedy=_AGAIN)


def _write(reader: ArchiveReader, member: Member, file: PackagedFile, path: Path) -> None:
    if member.size != file.size:
        raise PackageRefused(
            "content-differs",
            f"{file.path!r} has {member.size} bytes, and the manifest says {file.size}",
            remedy=_AGAIN,
        )
    path.parent.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
    with _new(path) as out, Sha256() as hashing:
        for piece in reader.content(member):
            hashing.update(piece)
            out.write(piece)
        found = hashing.hexdigest()
    if found != file.sha256:
        raise PackageRefused(
            "content-differs",
            f"{file.path!r} has SHA-256 {found}, and the manifest says {file.sha256}",
            remedy=_AGAIN,
        )


def _new(path: Path) -> BinaryIO:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
    return os.fdopen(handle, "wb", buffering=0)


def _check_card(manifest: Manifest, folder: Path) -> None:
    """Hold the card against the manifest's, by which others choose the package."""
    path = folder / CARD_FILE
    try:
        same = path.stat().st_size <= _MAX_CARD_BYTES and read_yaml(path.read_text(encoding="utf-8")) == manifest.card
    except ValueError:
        same = False
    if not same:
        raise PackageRefused("content-differs", f"{CARD_FILE} is not the card of the manifest", remedy=_AGAIN)
