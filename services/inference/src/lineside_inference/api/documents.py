"""What the routes answer that is written raw or from plain values, as models: for the OpenAPI document and its readers.

The fuzz test holds every answer against them.
"""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

from lineside.contract import LinkState, Outcome, Policy, PolicyStanding, Result, Verdict
from lineside.described import Described


class Document(Described, BaseModel):
    """Base of what is answered; a newer service may say more."""


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


class HeadDocument(Document):
    """How one output is read; beside this the card's `kind`, `nothing_found` and `bands` where it has them."""

    head: str
    """classification, score, detection, segmentation, anomaly or raw."""
    labels: list[str]
    """Its labels, in the order of its output."""
    ends_at_one: bool
    """Whether no score of it is above 1."""


class RefusedDocument(Document):
    """A version that was wanted and could not be put into force."""

    version: str
    """The version."""
    reason: str
    """Why, in words."""


class FileDocument(Document):
    """The model's file that was chosen for this hardware."""

    path: str
    """Below the model's folder."""
    variant: str
    """The hardware that it is for, by the card."""
    why: str
    """Why it was chosen, in words."""


class TensorRtDocument(Document):
    """How a model stands to the TensorRT engine that this device builds of it."""

    state: Literal["serves", "proving", "building", "waiting", "refused", "failed", "none"]
    """Whether the engine judges; in all other states ONNX does."""
    why: str
    """Why it is so, in words."""


class ModelDocument(Document):
    """One model as it is in force."""

    name: str
    """As its card has it."""
    version: str | None
    """The version in force; null while the model is unloaded."""
    versions: list[str]
    """Every version that has a card."""
    default: str | None
    """The version that the model's own card names; null where the model is out, or taken out of the repository."""
    wanted: str | None
    """The version that the policy asks for, else `default`."""
    state: str
    """The connection's state; or unloaded; or out, where its card or a file of it is wrong."""
    detail: str
    """Why it is so, in words."""
    changing: bool
    """Whether a version is being put into force, or about to be, for its model has come back."""
    refused: RefusedDocument | None
    """The version that failed last; null where none did."""
    task: str
    """The card's."""
    input: Literal["image", "tensor"] | None
    """What it takes; null where its card cannot be read."""
    heads: list[HeadDocument]
    """How its outputs are read."""
    labels: list[str]
    """What the model can say."""
    defects: list[str]
    """Which labels fail a part."""
    thresholds: dict[str, float]
    """What is in force by label, and `default`."""
    digest: str | None
    """SHA-256 of the model's file."""
    file: FileDocument | None
    """The file that serves; null where the model is out."""
    tensorrt: TensorRtDocument | None
    """The engine that this device builds; null where it builds none."""
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
    id: str
    """The request's id, or where nobody was asked the one that the bridge gave the part."""
    at: AwareDatetime
    """When it was answered."""
    station: str | None
    """The station."""
    part_id: str | None
    """The part, as the line names it."""
    model: str
    """The model that judges it."""
    verdict: Verdict
    """What the PLC got, `unknown` where it got nothing; until that is known, or without a bridge, what was judged."""
    picture: bool
    """Whether its image was kept; the oldest images go first."""
    request: AskedDocument | None
    """What was asked; null where nobody was, or the answer is still to come."""
    result: Result | None
    """What was judged; null where it was not."""
    outcome: Outcome | None
    """What the PLC got; null until the bridge said it, and where no bridge asked."""


class NowDocument(Document):
    """What tells how old things are."""

    run: str
    """Another one each start of the service."""
    started: AwareDatetime
    """When the service started."""
    now: AwareDatetime
    """The service's clock."""
    number: int
    """The number of the newest part."""
    pictures_since: int
    """The number of the oldest part whose image is kept."""


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


class HeardDocument(Document):
    """One service of the line as it told last."""

    service: str
    """topic_bridge or opcua_bridge."""
    silent: bool
    """Whether it has not told for longer than `silent_after_s`: then the rest holds no longer."""
    heard: AwareDatetime | None
    """When it told last; null: not since this service started, and it is expected."""
    ready: bool
    """Whether it can do its work."""
    connections: list[LinkState]
    """Its connections, those that do not work first."""
    omitted: int
    """How many were left out."""
    policy: PolicyStanding | None
    """Of the topic-bridge: who steers the policy; null where it is not known."""
    version: str | None
    """Its version; null where it is not known."""
    settings_hash: str | None
    """Which settings it runs by; null where it is not known."""


class ChainDocument(Document):
    """How the services before this one stand."""

    now: AwareDatetime
    """The service's clock."""
    silent_after_s: float
    """After how many seconds without a word a service is silent."""
    services: list[HeardDocument]
    """Those that were heard once."""


class VersionDocument(Document):
    """Which version of this service runs, and by which settings."""

    service: Literal["inference"]
    version: Annotated[str, Field(pattern=r"^[a-zA-Z0-9 _.]{1,64}$")]
    """Of Lineside: all its services have one."""
    component: str | None
    """As which Greengrass component it runs; null where it runs as none."""
    settings_hash: str | None
    """32 hexadecimal digits: services that were configured alike, but for `thing` and `log`, have the same."""


class CaptureDocument(Document):
    """What became of a capture."""

    capture_id: str
    """Its id."""
    status: Literal["IN_PROGRESS", "SUCCESS", "FAILURE"]
    """IN_PROGRESS until it is at every destination."""
    detail: str
    """Where it is, or why it failed, in words."""


class WaitingDocument(Document):
    """What is on this box's disk."""

    records: int
    """Captures that some destination does not have yet."""
    bytes: int
    """Of them and their objects."""
    oldest: AwareDatetime | None
    """When the oldest of them was taken."""
    share: float
    """Of the spool's bound that is in use."""
    used_bytes: int
    """In use, with what is delivered and only kept."""
    most_bytes: int
    """The bound, `spool.max_bytes`."""
    free_bytes: int
    """Free on the spool's disk."""


class DestinationDocument(Document):
    """Where evidence goes."""

    name: str
    """By the forwarder's settings."""
    state: str
    """As the forwarder said last: ONLINE, CONNECTING, BACKOFF or PAUSED; empty where it said nothing yet."""
    detail: str
    """Why it is so, in words."""
    since: AwareDatetime | None
    """Since when it is so."""
    waiting: int
    """Captures on their way there."""
    waiting_bytes: int
    """Of them."""
    oldest: AwareDatetime | None
    """When the oldest of them was taken."""
    delivered: int
    """Captures that arrived."""
    delivered_bytes: int
    """Of them."""
    dead: int
    """Batches that it refused for good."""


class NeedDocument(Document):
    """One thing that needs a person."""

    about: str
    """Which place of the spool it is about."""
    what: str
    """What is wrong."""
    remedy: str
    """What to do."""


class CameraNeedDocument(Document):
    """One thing of a camera that needs a person."""

    what: str
    """What is wrong."""
    remedy: str
    """What to do."""
    is_bad: bool
    """Whether parts are lost by it."""


class CameraDocument(Document):
    """How a camera does; what is counted is of the last minute, or since the start where that is shorter."""

    name: str
    """Its name in the settings."""
    kind: str
    """snapshot, mjpeg, stream, directory or genicam."""
    target: str
    """Where it is."""
    state: str
    """CONNECTING, ONLINE, BACKOFF or PAUSED."""
    since: AwareDatetime
    """When this state began."""
    required: bool
    """Whether the whole service is unready without it."""
    detail: str
    """Why it is away, in words."""
    remedy: str
    """What to check then; empty where it is not away."""
    seconds: float
    """For how long was counted: a minute at most, and a few seconds more."""
    frames_a_second: float | None
    """Whole frames; null where nothing was counted yet."""
    newest_age_s: float | None
    """Age of its newest frame in seconds; null where there is none, or none is kept."""
    incomplete_share: float | None
    """Share of frames of which packets were missing; null where no frame came, and for other kinds than genicam."""
    resent_share: float | None
    """Share of packets that were sent again; null as above."""
    socket_drops: int
    """Packets that this machine dropped."""
    lost_control: int
    """How often control of it was lost."""
    underruns: int
    """Packets (on USB frames) that found no free buffer."""
    clock_error_s: float | None
    """By how much a frame's instant may be wrong, in seconds; null where the line does not fire it."""
    temperature_celsius: float | None
    """How hot it is inside; null where it tells nothing."""
    hot_celsius: float
    """Above this it is too hot."""
    needs: list[CameraNeedDocument]
    """What needs a person now, what costs parts first."""


class CamerasDocument(Document):
    """How each camera does."""

    now: AwareDatetime
    """The service's clock."""
    cameras: list[CameraDocument]
    """In the order of the settings."""


class EvidenceDocument(Document):
    """What waits on this box, what has left it, what was dropped."""

    now: AwareDatetime
    """The service's clock."""
    configured: bool
    """Whether `spool.folder` is set."""
    kept: bool
    """Whether evidence is kept now."""
    reason: str
    """Why it is not, in words."""
    waiting: WaitingDocument | None
    """What is on this box's disk; null where nothing is known."""
    destinations: list[DestinationDocument]
    """Where it goes."""
    dropped: dict[str, int]
    """Captures dropped from the spool, by reason, since it was made."""
    quarantined: dict[str, int]
    """Damaged pieces set aside, by kind, since it was made."""
    missed: dict[str, int]
    """Captures that never came into the spool, by reason, since this service started."""
    needs: list[NeedDocument]
    """What needs a person now, most urgent first."""


class VerdictsDocument(Document):
    """How many parts got each verdict."""

    passed: int = Field(alias="pass")
    """Named `pass` in JSON."""
    fail: int
    """Those that a defect failed."""
    unknown: int
    """Those of which nothing was certain."""


class ChangedDocument(Document):
    """One part that would have got another verdict."""

    id: str
    """Its request's id."""
    before: Verdict
    """By the policy in force."""
    after: Verdict
    """By the one that was sent."""
    reason: str
    """Why, by the one that was sent."""


class PreviewDocument(Document):
    """What the last parts are judged by the policy in force, and would be by the one that was sent."""

    parts: int
    """How many were compared: those that were judged by the versions in force, of the newest that were asked for."""
    exact: bool
    """False where a model finds regions in a map, others with each threshold: the counts are then close."""
    before: VerdictsDocument
    """By the policy in force."""
    after: VerdictsDocument
    """By the one that was sent."""
    changed: list[ChangedDocument]
    """Those that differ, newest first."""


class HistoryFindingDocument(Document):
    """One thing that was found on a part."""

    label: str
    """What it is, by the model's card."""
    confidence: float
    """How sure the model was, to four digits."""


class HistoryRowDocument(Document):
    """One part as the box remembers it."""

    number: int
    """Counts in the order in which parts came; never given twice."""
    request_id: str
    """Id of its request, or where nobody was asked the one that the bridge gave the part."""
    at: AwareDatetime
    """What `from` and `to` compare: when done was raised, else when the outcome was told, else when it was judged."""
    station: str | None
    """The station."""
    part_id: str | None
    """The part, character by character as the line names it."""
    trigger: str | None
    """The trigger's name in the bridge's settings; null until the outcome came."""
    verdict: Verdict | None
    """What the PLC got, `unknown` where it got nothing; until that is known, or without a bridge, what was judged. Null
    where another bridge answers for the part."""
    told: bool
    """Whether the bridge said what the PLC got; false also where it was killed before it could."""
    written: Verdict | None
    """What was written to the PLC; null where nothing was, or that is not known."""
    judged: Verdict | None
    """What the model and the policy said; null where that is not known."""
    origin: Literal["judged", "deadline", "disabled", "recovered", "refused"] | None
    """Who decided, as in the outcome."""
    cause: str | None
    """Stable name of the cause: ok, deadline, camera-stale."""
    reason: str | None
    """Why, for people, where the cause is not ok."""
    write_error: str | None
    """Why the PLC got no verdict, or what of the write-back failed before it did."""
    late: bool | None
    """Whether the deadline was over when done was raised; null until that is known."""
    asked_at: AwareDatetime | None
    """When the trigger was seen, by the bridge's clock, or else when the request came."""
    judged_at: AwareDatetime | None
    """When the answer left."""
    written_at: AwareDatetime | None
    """When done was raised, by the bridge's clock."""
    model: str | None
    """The model."""
    version: str | None
    """Its version."""
    digest: str | None
    """SHA-256 of the version's file."""
    confidence: float | None
    """Of the surest finding, else of the best label."""
    labels: list[str]
    """Every label that was found, once."""
    findings: list[HistoryFindingDocument]
    """The surest 16."""
    scores: dict[str, float]
    """The highest 16."""
    thresholds: dict[str, float]
    """Those in force when it was judged."""
    timing_ms: dict[str, float]
    """Where the time went."""
    trigger_to_verdict_ms: float | None
    """Milliseconds from the trigger as the bridge saw it to the end of the write-back."""
    deadline_ms: float | None
    """Within how many milliseconds the PLC wanted its verdict."""
    evidence_id: str | None
    """Key of its evidence, where the policy chose the part; null: none was kept."""


class HistoryImageDocument(Document):
    """Where a part's image is."""

    here: str | None
    """Where this service still has it in memory; null: it has not."""
    evidence: str | None
    """Where it says what became of the part's evidence; null: the policy did not choose the part."""


class HistoryPartDocument(HistoryRowDocument):
    """One part, and where its image is."""

    image: HistoryImageDocument
    """Where its image is."""


class HistoryDocument(Document):
    """One page of the history, newest first."""

    parts: list[HistoryRowDocument]
    """The parts."""
    next: int | None
    """The `cursor` of the next page; null at the end."""
    complete: bool
    """False where the time of a query was over before the page was full: `next` goes on."""
    unreadable: list[str]
    """Files that could not be read and were left out, each with the reason."""


class ParetoDocument(Document):
    """How many parts have each label, cause, ..."""

    by: str
    """What was counted."""
    counts: dict[str, int]
    """Parts by name, most first."""
    parts: int
    """All parts that the filters find, also those without a name."""
    complete: bool
    """False where the time of a query was over before all parts were seen: ask for a shorter time."""
    unreadable: list[str]
    """Files that could not be read and were left out, each with the reason."""


ANSWERS: dict[tuple[str, str], type[BaseModel]] = {
    ("get", "/v1/engine"): EngineDocument,
    ("get", "/v1/models"): ModelsDocument,
    ("get", "/v1/models/{model}"): ModelDocument,
    ("post", "/v1/models/{model}/versions/{version}/load"): ModelDocument,
    ("post", "/v1/models/{model}/unload"): ModelDocument,
    ("get", "/v1/parts"): PartsDocument,
    ("get", "/v1/parts/{name}"): PartDocument,
    ("get", "/v1/counts"): CountsDocument,
    ("get", "/v1/chain"): ChainDocument,
    ("get", "/v1/version"): VersionDocument,
    ("get", "/v1/policy"): Policy,
    ("put", "/v1/policy"): Policy,
    ("post", "/v1/policy/preview"): PreviewDocument,
    ("get", "/v1/capture/{capture_id}"): CaptureDocument,
    ("get", "/v1/cameras"): CamerasDocument,
    ("get", "/v1/evidence"): EvidenceDocument,
    ("get", "/v1/history"): HistoryDocument,
    ("get", "/v1/history/{request_id}"): HistoryPartDocument,
    ("get", "/v1/pareto"): ParetoDocument,
}
"""The model of each answer with status 200 by method and path."""
