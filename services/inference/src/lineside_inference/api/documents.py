"""What the routes answer that is written raw or from plain values, as models: for the OpenAPI document and its readers.

The fuzz test holds every answer against them.
"""

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from lineside.contract import Policy, Result


class Document(BaseModel):
    """Base of what is answered; a newer service may say more."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class EngineDocument(Document):
    """What runs the models."""

    server: str
    """The server's own name."""
    version: str | None
    """The server's version; null until it was reached."""
    transport: str | None
    """shared-memory or bytes; null until the server was reached."""
    detail: str
    """The connection's state, in words."""
    models: dict[str, str]
    """Every model's state."""


class ModelDocument(Document):
    """One model as it is in force."""

    name: str
    """As its card has it."""
    version: str | None
    """The version in force; null while the model is unloaded."""
    versions: list[str]
    """Every version that has a card."""
    state: str
    """The connection's state, or unloaded."""
    detail: str
    """Why it is so, in words."""
    task: str
    """The card's."""
    labels: list[str]
    """What the model can say."""
    defects: list[str]
    """Which labels fail a part."""
    thresholds: dict[str, float]
    """What is in force by label, and `default`."""
    digest: str | None
    """SHA-256 of the model's file."""
    licence: str
    """The card's."""
    description: str
    """The card's."""
    scores: dict[str, Any]
    """How it scored, by its card."""


class ModelsDocument(Document):
    """Every model of the repository."""

    models: list[ModelDocument]
    """By name."""


class AskedDocument(Document):
    """A request without its pixels and numbers."""

    id: str
    """Its id."""
    model: str
    """The model that it asked for."""
    model_version: str | None
    """The version that it asked for."""
    source: dict[str, Any]
    """Where its pixels or numbers came from."""
    deadline_ms: float | None
    """Its deadline."""
    time: dict[str, Any]
    """Its timestamps."""


class PartDocument(Document):
    """One part that was answered."""

    number: int
    """Counts from 1 since the service started."""
    at: AwareDatetime
    """When it was answered."""
    picture: bool
    """Whether its image was kept; the oldest images go first."""
    request: AskedDocument
    """What was asked."""
    result: Result
    """What was answered."""


class NowDocument(Document):
    """What tells how old things are."""

    run: str
    """Another one each start of the service."""
    started: AwareDatetime
    """When the service started."""
    now: AwareDatetime
    """The service's clock."""


class PartsDocument(NowDocument):
    """The last parts, newest first."""

    more: bool
    """Whether older ones of the kind are kept."""
    parts: list[PartDocument]
    """The parts."""


class MinuteDocument(Document):
    """One minute that had results."""

    at: AwareDatetime
    """Its beginning."""
    parts: int
    """Parts that were judged or not, in it."""
    p95_ms: float | None
    """95th percentile of the time to an answer."""


class CountsDocument(NowDocument):
    """Verdicts since an instant, and the time to a verdict by minute."""

    passed: int
    failed: int
    unknown: int
    disabled: int
    trend: list[MinuteDocument]


ANSWERS: dict[tuple[str, str], type[BaseModel]] = {
    ("get", "/v1/engine"): EngineDocument,
    ("get", "/v1/models"): ModelsDocument,
    ("get", "/v1/models/{model}"): ModelDocument,
    ("post", "/v1/models/{model}/versions/{version}/load"): ModelDocument,
    ("post", "/v1/models/{model}/unload"): ModelDocument,
    ("get", "/v1/parts"): PartsDocument,
    ("get", "/v1/parts/{result_id}"): PartDocument,
    ("get", "/v1/counts"): CountsDocument,
    ("get", "/v1/policy"): Policy,
    ("put", "/v1/policy"): Policy,
}
"""The model of each answer with status 200 by method and path."""
