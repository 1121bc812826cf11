"""Files that are whole or absent, also after a power cut: written beside their name, synced, then renamed."""

import os
import shutil
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1024 * 1024


def replace_file(
    path: Path, content: bytes | BinaryIO, *, mode: int = 0o600, draft: Path | None = None, ignores_umask: bool = False
) -> None:
    """Put a whole file at `path`, in place of one that is there; on an error that one is untouched.

    The bytes are on the disk when this returns; the name is after `sync(path.parent)`, which one caller of several
    files needs once. `mode` is the new file's, less the umask unless `ignores_umask`: a file system without modes (a
    stick of vfat) refuses the latter. `draft` is the file that is written first, in the same file system: by default
    `.<name>.part` beside it. A caller whose processes may write one name at the same time gives each a draft of its
    own. Raises OSError.
    """
    draft = draft or path.with_name(f".{path.name[:200]}.part")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                shutil.copyfileobj(content, file, _CHUNK)
            file.flush()
            if ignores_umask:
                os.fchmod(handle, mode)
            os.fsync(handle)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Return when a file's content, or the names in a folder, are on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
