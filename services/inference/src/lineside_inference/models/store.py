"""The local model store: the cards of a folder in Triton's layout, each checked against its files.

A model's folder holds `card.yaml`, the card of the version in force unless the policy says otherwise, and
`<version>/card.yaml` for other versions; both name files relative to the model's folder. A version without a card is
unknown here. What is in force is checked at the start and before each time that it comes online; another version when
it shall come. A model whose card or files are wrong is out, by name, and the others serve.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import structlog
from tritonclient.grpc import model_config_pb2 as config_pb

from lineside.contract import ModelRef, Policy
from lineside.packages.paths import CARD_FILE
from lineside.variants import VariantError
from lineside_inference.errors import ModelOut, ModelUnknown, ModelUnloaded, StoreError, VersionUnknown
from lineside_inference.models.card import Card
from lineside_inference.models.configuration import check_backend, read_config
from lineside_inference.models.in_flight import InFlight
from lineside_inference.models.preparation import Preparation
from lineside_inference.models.reading import card_path, check_files, parse_card, read_card
from lineside_inference.models.variants import UNKNOWN, Choice, Hardware, choose

log = structlog.get_logger("lineside.inference.models")


@dataclass(frozen=True, eq=False)
class Model:
    """One version of a model: its card, what a Result says of it, its image preparation if any, its chosen files.

    `config` is Triton's configuration of the model's folder, `in_flight` the requests that run on this version,
    `folder` where it lies. `fallback` is the model that a TensorRT engine was built of, and which serves in its place.
    """

    card: Card
    ref: ModelRef
    preparation: Preparation | None
    choice: Choice
    config: config_pb.ModelConfig = field(default_factory=config_pb.ModelConfig)
    in_flight: InFlight = field(default_factory=InFlight)
    folder: Path | None = None
    fallback: "Model | None" = None

    @classmethod
    def of(
        cls,
        card: Card,
        hardware: Hardware = UNKNOWN,
        config: config_pb.ModelConfig | None = None,
        folder: Path | None = None,
    ) -> "Model":
        """Make a model of a card whose files were checked; raises VariantError where no file fits the hardware."""
        choice = choose(card.files, hardware)
        ref = ModelRef(name=card.name, version=card.version, digest=f"sha256:{choice.files[0].sha256}")
        preparation = Preparation.of(card.input) if card.input.image else None
        config = config or config_pb.ModelConfig(name=card.name)
        return cls(card, ref, preparation, choice, config, folder=folder)

    @property
    def file(self) -> str | None:
        """The chosen file's name in the version's folder; None where Triton's own choice is left (a deeper path)."""
        parts = PurePosixPath(self.choice.files[0].path).parts
        return parts[1] if len(parts) == 2 and parts[0] == self.card.version else None  # noqa: PLR2004 - version/file

    def check_files(self) -> None:
        """Compare the chosen files with their digest once more; takes as long as reading them. Raises StoreError."""
        if self.folder is not None:
            check_files(card_path(self.folder, self.card.version), self.folder, self.choice.files)


class ModelStore(Mapping[str, Model]):
    """The models in force by name, and the versions on disk that could be.

    `out` says by name why a model that is on the disk does not serve, `wanted` which versions were asked for,
    `fell_back` why an engine that was built here judges no more.
    """

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
        self.repository = repository
        self._models = {model.card.name: model for model in models}
        self._defaults = {name: model.card.version for name, model in self._models.items()}
        self._unloaded: set[str] = set()
        self.out: dict[str, str] = {}
        self.wanted: dict[str, str] = {}
        self._plans: dict[str, Model] = {}
        self.fell_back: dict[str, str] = {}

    def __getitem__(self, name: str) -> Model:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def find(self, name: str, version: str | None = None) -> Model:
        """Return the model that a request names; raises ModelOut, ModelUnknown, VersionUnknown, ModelUnloaded."""
        model = self._models.get(name)
        if model is None:
            self.refuse_out(name)
            raise ModelUnknown(
                f"model {name!r} is not known", remedy=f"Known here: {', '.join(sorted(self._models)) or 'none'}"
            )
        if name in self._unloaded:
            raise ModelUnloaded(f"model {name!r} is unloaded", remedy="Load a version of it over /v1/models")
        if version is not None and version != model.card.version:
            raise VersionUnknown(
                f"model {name!r} has no version {version!r} in force", remedy=f"Use {model.card.version!r}"
            )
        return self.serving(name)

    def serving(self, name: str) -> Model:
        """Return what judges for a model: the engine that was built of the version in force, else that itself."""
        model, plan = self._models[name], self._plans.get(name)
        return plan if plan is not None and plan.fallback is model else model

    def accelerate(self, plan: Model) -> None:
        """Have an engine judge in place of its `fallback`, as long as that is in force."""
        self._plans[plan.card.name] = plan
        self.fell_back.pop(plan.card.name, None)

    def fall_back(self, plan: Model, reason: str) -> None:
        """Have the model that an engine was built of judge again."""
        if self._plans.get(plan.card.name) is plan:
            del self._plans[plan.card.name]
            self.fell_back[plan.card.name] = reason

    def refuse_out(self, name: str) -> None:
        """Raise ModelOut where the model is on the disk and out."""
        if (reason := self.out.get(name)) is not None:
            raise ModelOut(f"model {name!r} is out: {reason}")

    def is_loaded(self, name: str) -> bool:
        """Whether the model shall serve, that is, was not unloaded on request."""
        return name not in self._unloaded

    def default_version(self, name: str) -> str:
        """Return the version that the model's own card names."""
        return self._defaults[name]

    def name_default(self, name: str, version: str) -> None:
        """Take another version for the one that the model's own card names."""
        self._defaults[name] = version

    def versions(self, name: str) -> tuple[str, ...]:
        """Return the versions that have a card on disk now, in order."""
        found = {self._models[name].card.version, self._defaults[name]} if name in self._models else set()
        if self.repository is not None:
            folder = self.repository / name
            found |= {path.parent.name for path in folder.glob(f"[1-9]*/{CARD_FILE}")}
            with suppress(StoreError):  # it may have been replaced since the start, and is read again when needed
                found.add(parse_card(folder / CARD_FILE, folder).version)
        return tuple(sorted((version for version in found if version.isdigit()), key=int))

    def cards(self, name: str) -> dict[str, Card]:
        """Return the cards of a model's versions that can be read, their files unchecked."""
        cards = {}
        if (model := self._models.get(name)) is not None:
            cards[model.card.version] = model.card
        for version in self.versions(name):
            if version not in cards and self.repository is not None:
                folder = self.repository / name
                try:
                    cards[version] = parse_card(card_path(folder, version), folder)
                except StoreError as error:
                    log.warning("a version's card cannot be used", model=name, version=version, reason=str(error))
        return cards

    def candidate(self, name: str, version: str) -> Model:
        """Read a version from disk and check its files' SHA-256; takes as long as reading them.

        Raises ModelOut, ModelUnknown, VersionUnknown, or StoreError that says what is wrong with it.
        """
        if name not in self._models:
            self.refuse_out(name)
            raise ModelUnknown(f"model {name!r} is not known", remedy=_nearest(name, set(self._models)))
        if self.repository is None or version not in self.versions(name):
            raise VersionUnknown(
                f"model {name!r} has no version {version!r} with a card",
                remedy=f"Use one of {', '.join(self.versions(name))}, or add {name}/{version}/{CARD_FILE}",
            )
        return self.read_model(self.repository / name, version)

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
        cards = {name: self.cards(name) for name in (*self._models, *self.out)}
        # What a model without a readable card can say is not known: a policy that speaks of it is no mistake.
        is_whole = all(known and len(known) == len(self.versions(name)) for name, known in cards.items())
        labels = {label for known in cards.values() for card in known.values() for label in card.labels} | {"default"}
        found = [
            f"policy.thresholds.{label}: no model has this label. {_nearest(label, labels)}"
            for label in policy.thresholds
            if is_whole and label not in labels
        ]
        found += [
            f"policy.capture.labels: no model has label {label!r}. {_nearest(label, labels - {'default'})}"
            for label in policy.capture.labels
            if is_whole and label not in labels - {"default"}
        ]
        for name, version in policy.models.items():
            if name in self.out:
                continue
            if name not in cards:
                found.append(f"policy.models.{name}: no such model. {_nearest(name, set(cards))}")
            elif version not in cards[name] and not (in_force is not None and version in self.versions(name)):
                known = ", ".join(repr(known) for known in sorted(cards[name], key=int))
                found.append(
                    f"policy.models.{name}: version {version!r} has no card. Use {known}, or add that version's card"
                )
        # Of the versions that this policy meets: the one in force, until the one that it names is.
        for name in list(self._models):
            known_cards = cards[name]
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
        """Put other versions into force before anything runs; a model whose version is wrong is out.

        One that is out by its own card serves where the version that is asked for is right.
        Raises VersionUnknown or ModelUnknown.
        """
        self.wanted = dict(versions)
        for name, version in versions.items():
            if name in self._models and version == self._models[name].card.version:
                continue
            if name in self.out:
                if self.repository is not None:
                    with suppress(StoreError):  # what is wrong with its own card is said already
                        self.take(self.read_model(self.repository / name, version))
                continue
            try:
                self.switch(self.candidate(name, version))
            except StoreError as error:
                del self._models[name]
                self.leave_out(name, str(error))

    def take(self, model: Model) -> None:
        """Serve a model that was out or unknown."""
        name = model.card.name
        self._models[name] = model
        if name not in self.wanted or name not in self._defaults:
            self._defaults[name] = model.card.version
        self.out.pop(name, None)

    def leave_out(self, name: str, reason: str) -> None:
        """Say why a model on the disk does not serve."""
        self.out[name] = reason
        log.error("a model is out; the others serve", model=name, reason=reason)

    def read_model(self, folder: Path, version: str | None = None) -> Model:
        """Read a model's folder, of a version or of the model's own card; raises StoreError."""
        path = card_path(folder, version)
        card = read_card(path, folder)
        if version is not None and card.version != version:
            raise StoreError(f"{path}: version is {card.version!r}", remedy=f"It stands for version {version!r}")
        config = read_config(folder, card.version)
        check_backend(config, folder, allow_python=self.allow_python)
        try:
            return Model.of(card, self.hardware, config, folder)
        except VariantError as error:
            raise StoreError(f"{path}: {error}") from None

    @classmethod
    def read(cls, repository: Path, hardware: Hardware, *, allow_python: bool) -> "ModelStore":
        """Read the card of every model's folder; those that are wrong are out."""
        store = cls((), repository, hardware, allow_python=allow_python)
        for path in sorted(repository.glob(f"*/{CARD_FILE}")):
            try:
                store.take(store.read_model(path.parent))
            except StoreError as error:
                store.leave_out(path.parent.name, str(error))
        return store


def read_store(
    repository: Path, hardware: Hardware = UNKNOWN, *, allow_python: bool = False, may_be_empty: bool = False
) -> ModelStore:
    """Read every `<repository>/*/card.yaml` and check the listed files' SHA-256; a model that is wrong is out, by name.

    Raises StoreError where there is no repository, or no card in it; `may_be_empty`: only clients bring models.
    """
    if not repository.is_dir():
        raise StoreError(
            f"the model repository {repository} is not a folder", remedy="Set inference.model_repository to one"
        )
    if not may_be_empty and not any(repository.glob(f"*/{CARD_FILE}")):
        raise StoreError(
            f"the model repository {repository} has no model with a {CARD_FILE}",
            remedy="Put a model there, or set inference.model_repository to where the models are; "
            "none is needed where edge_manager.serve lets clients load theirs",
        )
    return ModelStore.read(repository, hardware, allow_python=allow_python)


def out_of_reach(policy: Policy, card: Card) -> list[str]:
    """Return the thresholds of a policy that no score of this card's model reaches, each in a sentence."""
    return [f"policy.{wrong}" for wrong in card.out_of_reach(policy.thresholds)]


def _nearest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(sorted(known))}"
