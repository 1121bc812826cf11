"""The local model store: the cards of a folder in Triton's layout, each checked against its files.

A model's folder holds `card.yaml`, the card of the version in force unless the policy says otherwise, and
`<version>/card.yaml` for other versions; both name files relative to the model's folder. A version without a card is
unknown here. What is in force is checked at the start; another version is read and checked when it shall come.
"""

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import structlog
from pydantic import ValidationError
from tritonclient.grpc import model_config_pb2 as config_pb

from lineside.contract import ModelRef, Policy
from lineside.documents import read_yaml
from lineside.wording import words
from lineside_inference.errors import ModelUnknown, ModelUnloaded, StoreError, VersionUnknown
from lineside_inference.models.card import Card
from lineside_inference.models.configuration import check_backend, read_config
from lineside_inference.models.users import Users
from lineside_inference.models.variants import UNKNOWN, Choice, Hardware, VariantError, choose
from lineside_inference.prepare import Preparation

log = structlog.get_logger("lineside.inference.models")

CARD_FILE = "card.yaml"
_MOST_CARD_BYTES = 1024 * 1024


@dataclass(frozen=True, eq=False)
class Model:
    """One version of a model: its card, what a Result says of it, its image preparation if any, its chosen files.

    `config` is Triton's configuration of the model's folder, `users` the requests that run on this version.
    """

    card: Card
    ref: ModelRef
    preparation: Preparation | None
    choice: Choice
    config: config_pb.ModelConfig = field(default_factory=config_pb.ModelConfig)
    users: Users = field(default_factory=Users)

    @classmethod
    def of(cls, card: Card, hardware: Hardware = UNKNOWN, config: config_pb.ModelConfig | None = None) -> "Model":
        """Make a model of a card whose files were checked; raises VariantError where no file fits the hardware."""
        choice = choose(card.files, hardware)
        ref = ModelRef(name=card.name, version=card.version, digest=f"sha256:{choice.files[0].sha256}")
        preparation = Preparation.of(card.input) if card.input.image else None
        return cls(card, ref, preparation, choice, config or config_pb.ModelConfig(name=card.name))

    @property
    def file(self) -> str | None:
        """The chosen file's name in the version's folder; None where Triton's own choice is left (a deeper path)."""
        parts = PurePosixPath(self.choice.files[0].path).parts
        return parts[1] if len(parts) == 2 and parts[0] == self.card.version else None  # noqa: PLR2004 - version/file


class ModelStore(Mapping[str, Model]):
    """The models in force by name, and the versions on disk that could be."""

    def __init__(
        self,
        models: Iterable[Model],
        repository: Path | None = None,
        hardware: Hardware = UNKNOWN,
        *,
        allow_python: bool = False,
    ) -> None:
        self.hardware = hardware
        self.allow_python = allow_python
        self._repository = repository
        self._models = {model.card.name: model for model in models}
        self._defaults = {name: model.card.version for name, model in self._models.items()}
        self._unloaded: set[str] = set()

    def __getitem__(self, name: str) -> Model:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def find(self, name: str, version: str | None = None) -> Model:
        """Return the model that a request names; raises ModelUnknown, VersionUnknown or ModelUnloaded."""
        model = self._models.get(name)
        if model is None:
            raise ModelUnknown(f"model {name!r} is not known", remedy=f"Known here: {', '.join(sorted(self._models))}")
        if name in self._unloaded:
            raise ModelUnloaded(f"model {name!r} is unloaded", remedy="Load a version of it over /v1/models")
        if version is not None and version != model.card.version:
            raise VersionUnknown(
                f"model {name!r} has no version {version!r} in force", remedy=f"Use {model.card.version!r}"
            )
        return model

    def is_loaded(self, name: str) -> bool:
        """Whether the model shall serve, that is, was not unloaded on request."""
        return name not in self._unloaded

    def default_version(self, name: str) -> str:
        """Return the version that the model's own card names."""
        return self._defaults[name]

    def versions(self, name: str) -> tuple[str, ...]:
        """Return the versions that have a card on disk now, in order."""
        found = {self._models[name].card.version, self._defaults[name]}
        if self._repository is not None:
            folder = self._repository / name
            found |= {path.parent.name for path in folder.glob(f"[1-9]*/{CARD_FILE}")}
            with suppress(StoreError):  # it may have been replaced since the start, and is read again when needed
                found.add(parse_card(folder / CARD_FILE, folder).version)
        return tuple(sorted((version for version in found if version.isdigit()), key=int))

    def cards(self, name: str) -> dict[str, Card]:
        """Return the cards of a model's versions that can be read, their files unchecked."""
        cards = {self._models[name].card.version: self._models[name].card}
        for version in self.versions(name):
            if version not in cards and self._repository is not None:
                folder = self._repository / name
                try:
                    cards[version] = parse_card(_card_path(folder, version), folder)
                except StoreError as error:
                    log.warning("a version's card cannot be used", model=name, version=version, reason=str(error))
        return cards

    def candidate(self, name: str, version: str) -> Model:
        """Read a version from disk and check its files' SHA-256; takes as long as reading them.

        Raises ModelUnknown, VersionUnknown, or StoreError that says what is wrong with it.
        """
        if name not in self._models:
            raise ModelUnknown(f"model {name!r} is not known", remedy=_nearest(name, set(self._models)))
        if self._repository is None or version not in self.versions(name):
            raise VersionUnknown(
                f"model {name!r} has no version {version!r} with a card",
                remedy=f"Use one of {', '.join(self.versions(name))}, or add {name}/{version}/{CARD_FILE}",
            )
        return self._read(self._repository / name, version)

    def switch(self, model: Model) -> None:
        """Put a version into force: the next request runs on it, those under way end on theirs."""
        self._models[model.card.name] = model
        self._unloaded.discard(model.card.name)

    def unload(self, name: str) -> None:
        """Take a model out of service until a version is put into force again."""
        self._unloaded.add(name)

    def problems(self, policy: Policy, in_force: Mapping[str, str] | None = None) -> list[str]:
        """Return all that is wrong: names that no card has, with the nearest right one; thresholds out of reach.

        `in_force` are the versions that will be in force beside it, by model; those that are now where absent.
        """
        cards = {name: self.cards(name) for name in self._models}
        labels = {label for known in cards.values() for card in known.values() for label in card.labels} | {"default"}
        found = [
            f"policy.thresholds.{label}: no model has this label. {_nearest(label, labels)}"
            for label in policy.thresholds
            if label not in labels
        ]
        found += [
            f"policy.capture.labels: no model has label {label!r}. {_nearest(label, labels - {'default'})}"
            for label in policy.capture.labels
            if label not in labels - {"default"}
        ]
        for name, version in policy.models.items():
            if name not in cards:
                found.append(f"policy.models.{name}: no such model. {_nearest(name, set(cards))}")
            elif version not in cards[name]:
                known = ", ".join(repr(known) for known in sorted(cards[name], key=int))
                found.append(
                    f"policy.models.{name}: version {version!r} has no card. Use {known}, or add that version's card"
                )
        # Of the versions that this policy meets: the one in force, until the one that it names is.
        for name, known_cards in cards.items():
            now = (in_force or {}).get(name, self._models[name].card.version)
            meets = {now, policy.models.get(name, self._defaults[name])}
            for version in sorted(meets & set(known_cards), key=int):
                found += out_of_reach(policy, known_cards[version])
        if policy.capture.band is not None and policy.capture.band[1] > 1:
            found += self._band_out_of_reach(policy.capture.band)
        return list(dict.fromkeys(found))

    def _band_out_of_reach(self, band: tuple[float, float]) -> list[str]:
        heads = [head for model in self._models.values() for head in model.card.heads]
        if all(head.ends_at_one or head.head == "raw" for head in heads):
            return [f"policy.capture.band: {list(band)} ends above 1, and every model here scores from 0 to 1"]
        return []

    def check(self, policy: Policy, in_force: Mapping[str, str] | None = None) -> None:
        """Refuse a policy that has `problems`; raises StoreError with all of them."""
        if found := self.problems(policy, in_force):
            raise StoreError("; ".join(found))

    def start_with(self, versions: Mapping[str, str]) -> None:
        """Put other versions into force before anything runs; raises StoreError, VersionUnknown or ModelUnknown."""
        for name, version in versions.items():
            if name in self._models and version == self._models[name].card.version:
                continue
            self.switch(self.candidate(name, version))

    def _read(self, folder: Path, version: str | None = None) -> Model:
        path = _card_path(folder, version)
        card = read_card(path, folder)
        if version is not None and card.version != version:
            raise StoreError(f"{path}: version is {card.version!r}", remedy=f"It stands for version {version!r}")
        config = read_config(folder)
        check_backend(config, folder, allow_python=self.allow_python)
        try:
            return Model.of(card, self.hardware, config)
        except VariantError as error:
            raise StoreError(f"{path}: {error}") from None

    @classmethod
    def read(cls, repository: Path, hardware: Hardware, *, allow_python: bool) -> "ModelStore":
        """Read the card of every model's folder; raises StoreError."""
        reader = cls((), repository, hardware, allow_python=allow_python)
        models = [reader._read(path.parent) for path in sorted(repository.glob(f"*/{CARD_FILE}"))]
        return cls(models, repository, hardware, allow_python=allow_python)


def read_store(repository: Path, hardware: Hardware = UNKNOWN, *, allow_python: bool = False) -> ModelStore:
    """Read every `<repository>/*/card.yaml` and check the listed files' SHA-256.

    Raises StoreError that names the file and what is wrong with it.
    """
    if not repository.is_dir():
        raise StoreError(
            f"the model repository {repository} is not a folder", remedy="Set inference.model_repository to one"
        )
    if not any(repository.glob(f"*/{CARD_FILE}")):
        raise StoreError(
            f"the model repository {repository} has no model with a {CARD_FILE}",
            remedy="Put a model there, or set inference.model_repository to where the models are",
        )
    return ModelStore.read(repository, hardware, allow_python=allow_python)


def read_card(path: Path, folder: Path) -> Card:
    """Read one card and check it against the model's folder, all its files too; raises StoreError."""
    card = parse_card(path, folder)
    for file in card.files:
        _check_file(path, folder / file.path, file.sha256)
    return card


def parse_card(path: Path, folder: Path) -> Card:
    """Read one card of the model in this folder, its files unchecked; raises StoreError."""
    try:
        if path.stat().st_size > _MOST_CARD_BYTES:
            raise StoreError(f"{path} has more than {_MOST_CARD_BYTES} bytes", remedy="A card is a page of text")
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


def _card_path(folder: Path, version: str | None) -> Path:
    """Return where a version's card is: its own folder, else the model's."""
    if version is not None and (own := folder / version / CARD_FILE).is_file():
        return own
    return folder / CARD_FILE


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


def out_of_reach(policy: Policy, card: Card) -> list[str]:
    """Return the thresholds of a policy that no score of this card's model reaches, each in a sentence."""
    return [f"policy.{wrong}" for wrong in card.out_of_reach(policy.thresholds)]


def _nearest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(sorted(known))}"
