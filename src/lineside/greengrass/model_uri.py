"""`ModelS3URI` of a component's configuration: where the models are that a deployment brings."""

import re
from dataclasses import dataclass
from typing import Any

SCHEME = "s3://"
FOLDER = "/models"
"""Where the recipes' containers have the models, those too that came from S3."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class S3Folder:
    """A folder of a bucket; `prefix` is what its keys begin with: it ends with a slash, and is empty for all of it."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}"


def s3_folder(text: str) -> S3Folder:
    """Read `s3://bucket/folder/`, with or without the last slash; raises ValueError that says what is expected."""
    bucket, _slash, prefix = text.removeprefix(SCHEME).partition("/")
    prefix = prefix.removesuffix("/")
    if not text.startswith(SCHEME) or not _BUCKET.fullmatch(bucket):
        raise ValueError(
            f"expected s3://bucket/folder/, the bucket's name as S3 allows it, or file:///path (got {text!r:.120})"
        )
    if prefix and any(step in {"", ".", ".."} for step in prefix.split("/")):
        raise ValueError(f"expected a folder without empty names, '.' and '..' in its path (got {text!r:.120})")
    if _CONTROL.search(prefix):
        raise ValueError(f"expected no control characters in the folder's name (got {text!r:.120})")
    return S3Folder(bucket, f"{prefix}/" if prefix else "")


def folder(value: Any) -> str:
    """Return the folder where the models of a `ModelS3URI` are for the service; raises ValueError.

    The component's `install` has brought those of S3 there, before the service starts.
    """
    if not isinstance(value, str):
        raise ValueError(f"expected text (got {value!r:.120})")  # noqa: TRY004 - a value, as any other of a configuration
    if value.startswith(("file:///", "/")):
        return value.removeprefix("file://")
    s3_folder(value)
    return FOLDER
