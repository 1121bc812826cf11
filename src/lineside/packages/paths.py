"""Which names a file in a package may have: those that mean the same on every machine, and lead nowhere else."""

import re
from collections.abc import Iterable

MANIFEST_FILE = "sagemaker_edge_manifest"
"""By this name Edge Manager's clients know the manifest."""
CARD_FILE = "card.yaml"
CONFIG_FILE = "config.pbtxt"
MAX_PATH = 240
MAX_PART = 100
MAX_DEPTH = 8
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@-]*")


def check_path(path: str) -> str:
    """Return the path where it is one; raises ValueError that says why not."""
    shown = repr(path[:80])
    parts = path.split("/")
    if path.startswith("/"):
        raise ValueError(f"{shown} is an absolute path")
    if ".." in parts:
        raise ValueError(f"{shown} leads out of the package")
    if len(path) > MAX_PATH or len(parts) > MAX_DEPTH or any(len(part) > MAX_PART for part in parts):
        raise ValueError(
            f"{shown} is too long: at most {MAX_PATH} characters, {MAX_DEPTH} folders deep, {MAX_PART} each name"
        )
    if not all(_PART.fullmatch(part) for part in parts):
        raise ValueError(f"{shown} has names that are not letters, digits and . _ + = @ -, or begin with . or -")
    return path


def check_together(paths: Iterable[str]) -> None:
    """Refuse two paths that are one file on some disks, and a file that is another's folder; raises ValueError."""
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(path.lower(), path)
        if other is not path:
            raise ValueError(
                f"{path!r} is there twice" if other == path else f"{other!r} and {path!r} differ in case only"
            )
    for path in seen.values():
        parts = path.lower().split("/")
        for depth in range(1, len(parts)):
            if (folder := "/".join(parts[:depth])) in seen:
                raise ValueError(f"{seen[folder]!r} is a file, and {path!r} would be in it")
