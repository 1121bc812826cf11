"""The local model store: the cards of a folder in Triton's layout, each checked against its files at the start."""

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from lineside.contract import ModelRef, Policy, explain
from lineside_inference.errors import ModelUnknown, StoreError, VersionUnknown
from lineside_inference.models.card import Card
from lineside_inference.prepare import Preparation

CARD_FILE = "card.yaml"
_MOST_CARD_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Model:
    """One model that requests can name: its card, what a Result says of it, and its image preparation if any."""

    card: Card
    ref: ModelRef
    preparation: Preparation | None

    @classmethod
    def of(cls, card: Card) -> "Model":
        """Make a model of a card whose files were checked."""
        ref = ModelRef(name=card.name, version=card.version, digest=f"sha256:{card.files[0].sha256}")
        return cls(card, ref, Preparation.of(card.input) if card.input.image else None)


class ModelStore(Mapping[str, Model]):
    """The models by name."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._models = {model.card.name: model for model in models}

    def __getitem__(self, name: str) -> Model:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def find(self, name: str, version: str | None = None) -> Model:
        """Return the model that a request names; raises ModelUnknown or VersionUnknown."""
        model = self._models.get(name)
        if model is None:
            raise ModelUnknown(f"model {name!r} is not known", remedy=f"Known here: {', '.join(sorted(self._models))}")
        if version is not None and version != model.card.version:
            raise VersionUnknown(f"model {name!r} has no version {version!r}", remedy=f"Use {model.card.version!r}")
        return model

    def check(self, policy: Policy) -> None:
        """Refuse a policy that names what no card has; raises StoreError."""
        labels = {label for model in self._models.values() for label in model.card.labels} | {"default"}
        for label in policy.thresholds:
            if label not in labels:
                raise StoreError(f"policy.thresholds.{label}: no model has this label", remedy=_nearest(label, labels))
        for name, version in policy.models.items():
            if name not in self._models:
                raise StoreError(f"policy.models.{name}: no such model", remedy=_nearest(name, set(self._models)))
            if version != self._models[name].card.version:
                raise StoreError(
                    f"policy.models.{name}: version {version!r} has no card",
                    remedy=f"Use {self._models[name].card.version!r}, or add that version's card",
                )


def read_store(repository: Path) -> ModelStore:
    """Read every `<repository>/*/card.yaml` and check the listed files' SHA-256.

    Raises StoreError that names the file and what is wrong with it.
    """
    if not repository.is_dir():
        raise StoreError(
            f"the model repository {repository} is not a folder", remedy="Set inference.model_repository to one"
        )
    paths = sorted(repository.glob(f"*/{CARD_FILE}"))
    if not paths:
        raise StoreError(
            f"the model repository {repository} has no model with a {CARD_FILE}",
            remedy="Put a model there, or set inference.model_repository to where the models are",
        )
    return ModelStore(Model.of(read_card(path)) for path in paths)


def read_card(path: Path) -> Card:
    """Read one card and check it against its folder; raises StoreError."""
    try:
        if path.stat().st_size > _MOST_CARD_BYTES:
            raise StoreError(f"{path} has more than {_MOST_CARD_BYTES} bytes", remedy="A card is a page of text")
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    try:
        card = Card.model_validate(document)
    except ValidationError as error:
        raise StoreError(f"{path}: {explain(error)}") from None
    if card.name != path.parent.name:
        raise StoreError(
            f"{path}: name is {card.name!r}", remedy=f"Triton knows a model by its folder: call it {path.parent.name!r}"
        )
    for file in card.files:
        _check_file(path, path.parent / file.path, file.sha256)
    return card


def _check_file(card: Path, path: Path, expected: str) -> None:
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{card}: file {path} cannot be read: {error.strerror}") from None
    if found != expected:
        raise StoreError(
            f"{card}: file {path} has SHA-256 {found}, the card says {expected}",
            remedy="Deploy the model again, or make its card anew if the file was changed on purpose",
        )


def _nearest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(sorted(known))}"
