"""A model's card as it lies in its folder: read, and compared with the files that it lists."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from lineside.documents import read_yaml
from lineside.packages.paths import CARD_FILE
from lineside.wording import words
from lineside_inference.errors import StoreError
from lineside_inference.models.card import Card, CardFile

_MAX_CARD_BYTES = 1024 * 1024


_NOTHING: Mapping[str, str] = MappingProxyType({})


def read_card(path: Path, folder: Path, hashed: Mapping[str, str] = _NOTHING) -> Card:
    """Read one card and check it against the model's folder, all its files too; raises StoreError.

    `hashed`: the SHA-256 of files that were hashed while this process wrote them, by their path.
    """
    card = parse_card(path, folder)
    check_files(path, folder, card.files, hashed)
    return card


def check_files(card: Path, folder: Path, files: Iterable[CardFile], hashed: Mapping[str, str] = _NOTHING) -> None:
    """Compare files with the SHA-256 on their card; takes as long as reading them. Raises StoreError."""
    for file in files:
        _check_file(card, folder / file.path, file.sha256, hashed.get(file.path))


def parse_card(path: Path, folder: Path) -> Card:
    """Read one card of the model in this folder, its files unchecked; raises StoreError."""
    try:
        if path.stat().st_size > _MAX_CARD_BYTES:
            raise StoreError(f"{path} has more than {_MAX_CARD_BYTES} bytes", remedy="A card is a page of text")
        document = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise StoreError(f"{path}: {error}") from None
    try:
        card = Card.model_validate(document)
    except ValidationError as error:
        raise StoreError(f"{path}: {'; '.join(map(_fault, error.errors()))}") from None
    if card.name != folder.name:
        raise StoreError(
            f"{path}: name is {card.name!r}", remedy=f"Triton knows a model by its folder: call it {folder.name!r}"
        )
    return card


def _fault(item: Mapping[str, Any]) -> str:
    got = "" if item["type"] == "missing" else f" (got {item['input']!r:.80})"
    return f"{'.'.join(map(str, item['loc'])) or 'card'}: {words(item)}{got}"


def card_path(folder: Path, version: str | None) -> Path:
    """Return where a version's card is: its own folder, else the model's."""
    if version is not None and (own := folder / version / CARD_FILE).is_file():
        return own
    return folder / CARD_FILE


def _check_file(card: Path, path: Path, expected: str, hashed: str | None) -> None:
    try:
        with path.open("rb") as stream:
            found = hashed or hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{card}: file {path} cannot be read: {error.strerror}") from None
    if found != expected:
        raise StoreError(
            f"{card}: file {path} has SHA-256 {found}, the card says {expected}",
            remedy="Deploy the model again, or make its card anew if the file was changed on purpose",
        )
