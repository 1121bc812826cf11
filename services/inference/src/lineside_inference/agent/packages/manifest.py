"""`sagemaker_edge_manifest`, the file that Edge Manager put into a package: of it, the model's name and version.

Clients read `metadata.model_name` and `metadata.model_version` of its JSON; the rest, and its signature, were never
published, and the root certificates went with the service: a signature is not verified.
"""

import json
from dataclasses import dataclass
from typing import Any

MANIFEST_FILE = "sagemaker_edge_manifest"
MAX_BYTES = 1024 * 1024


class ManifestError(ValueError):
    """The manifest is not one."""


@dataclass(frozen=True)
class Manifest:
    """What a package says of its model; empty where it does not."""

    model_name: str
    model_version: str


def parse_manifest(text: bytes) -> Manifest:
    """Read a manifest; raises ManifestError."""
    if len(text) > MAX_BYTES:
        raise ManifestError(f"it has more than {MAX_BYTES} bytes")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"it is not JSON: {error}") from None
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict):
        raise ManifestError("it has no object `metadata`")
    return Manifest(_text(metadata, "model_name"), _text(metadata, "model_version"))


def _text(metadata: dict[str, Any], key: str) -> str:
    value = metadata.get(key, "")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ManifestError(f"metadata.{key} is neither text nor a number")
    return str(value)
