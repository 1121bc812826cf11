"""The settings of the inference service: section `inference` of the box's settings file."""

import ipaddress
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from lineside.addresses import HostAndPort
from lineside.contract import MAX_DEADLINE_MS, Name, Policy
from lineside.edge_manager import EdgeManagerSettings
from lineside.settings import HttpSettings, Port, Section
from lineside.settings import Settings as SharedSettings
from lineside.spool.settings import SpoolSettings
from lineside_inference.http1.target import Target
from lineside_inference.settings.capture import CaptureSettings

MIB = 1024 * 1024


class InferenceHttpSettings(HttpSettings):
    """The HTTP server that takes requests."""

    port: Port = Field(8080, description="TCP port to listen on.")
    token_file: Path | None = Field(
        None,
        description="File of bearer tokens, one a line, read again when it changes; whoever sends one may ask.",
    )
    auth: Literal["auto", "none"] = Field(
        "auto",
        description="auto: a token where token_file names them, needed off loopback; none: open to the whole network.",
    )
    allowed_hosts: tuple[Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._:-]+)$")], ...] = Field(
        (),
        description="Names by which this service may be asked besides localhost and http.host; any other is refused "
        "where no token is needed, and where some are listed. Off loopback its numeric addresses are taken too while "
        "none is listed.",
    )
    open_metrics: bool = Field(default=False, description="Serve /metrics without a token too.")

    @model_validator(mode="after")
    def _not_open_by_accident(self) -> Self:
        if self.auth == "none" and self.token_file is not None:
            raise ValueError("auth is none and token_file is given: remove one of them")
        if self.auth == "auto" and self.token_file is None and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} is reached from the network: give token_file (one bearer token a line), "
                "or set auth to none to let everybody in, or host to 127.0.0.1"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class TritonSettings(Section):
    """The Triton server that runs the models."""

    url: HostAndPort = Field("127.0.0.1:8001", description="Host and port of Triton's gRPC endpoint.")
    http_url: HostAndPort | None = Field(
        None,
        description="Host and port of Triton's HTTP endpoint, where inference calls go: it answers them sooner than "
        "gRPC, which stays in use for all the rest. Absent: the port before that of url, where it is this Triton's "
        "(it knows our shared memory), else gRPC.",
    )
    shared_memory: Literal["auto", "off"] = Field(
        "auto",
        description="auto: tensors in system shared memory where Triton can map it, else in bytes; off: bytes.",
    )
    slots: int = Field(
        32,
        ge=1,
        le=1024,
        description="Places for one request's tensors in the shared memory; at least limits.concurrency.",
    )
    slot_bytes: int = Field(
        MIB,
        ge=4096,
        le=1024 * MIB,
        description="Smallest size of such a place; a v2 request that needs more goes to Triton in bytes.",
    )
    health_ms: float = Field(500.0, ge=50, le=60_000, description="How often Triton and its models are checked.")
    timeout_ms: float = Field(2000.0, ge=50, le=60_000, description="Longest wait for an answer to such a check.")
    load_models: bool = Field(
        default=True,
        description="Ask Triton to load a model that is not ready; Triton allows it in explicit mode only.",
    )
    load_timeout_ms: float = Field(
        120_000.0, ge=1000, le=3_600_000, description="Longest wait for Triton to load one model."
    )
    pid_file: Path | None = Field(
        None, description="File with Triton's process id, on the same host; its resident memory is watched then."
    )
    recycle_above_bytes: int | None = Field(
        None,
        ge=64 * MIB,
        description="A change of models that leaves Triton's resident memory above this is counted and acted on.",
    )
    recycle: Literal["report", "terminate"] = Field(
        "report",
        description="What is done then. report: a warning; terminate: SIGTERM, for its supervisor to start it anew.",
    )

    @model_validator(mode="after")
    def _memory_can_be_seen(self) -> Self:
        if self.recycle_above_bytes is not None and self.pid_file is None:
            raise ValueError("recycle_above_bytes is given and pid_file is not: Triton's memory cannot be seen then")
        return self


class ModelsSettings(Section):
    """How models are changed."""

    allow_python_backend: bool = Field(
        default=False, description="Serve models with backend python: their own code runs inside Triton."
    )
    warm_up: int = Field(
        5, ge=1, le=1000, description="Prepares and infers that a new version must do well before it judges parts."
    )
    warm_up_s: float = Field(30.0, gt=0, le=3600, description="Longest time for them all.")
    drain_s: float = Field(
        30.0, gt=0, le=600, description="Longest wait for requests on the old version before it is unloaded."
    )


class HardwareSettings(Section):
    """What runs the models, where it is not what this service finds itself; it chooses among a card's files."""

    gpu: str | None = Field(None, description="GPU or module, for instance NVIDIA Jetson Orin NX; found where absent.")
    cc: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+$")] | None = Field(
        None, description="The GPU's compute capability, for instance 8.7."
    )
    trt: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)*$")] | None = Field(
        None, description="Version of TensorRT in Triton, for instance 10.3.0."
    )
    jetpack: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)*$")] | None = Field(
        None, description="Version of JetPack, for instance 6.1."
    )


class CameraSettings(Section):
    """One camera: `snapshot` is asked for each frame; of the others a reader keeps the newest frame."""

    kind: Literal["snapshot", "mjpeg", "stream", "directory"] = Field(
        "snapshot",
        description="snapshot: one image by HTTP GET; mjpeg: multipart HTTP stream; stream: RTSP, V4L2 device or video "
        "file, in a loop; directory: newest image file in a folder.",
    )
    url: str | None = Field(
        None, description="snapshot, mjpeg: http(s) address; stream: rtsp(s) or http(s) address, without a password."
    )
    path: Path | None = Field(None, description="directory: the folder; stream: a device like /dev/video0, or a file.")
    timeout_ms: float = Field(
        2000.0,
        gt=0,
        le=60_000,
        description="Longest wait for one frame; the request's deadline shortens it. A stream that is silent for "
        "longer than this, and at least 2 s, is opened again.",
    )
    allow_older_ms: float = Field(
        0.0,
        ge=0,
        le=600_000,
        description="By how much a frame may be older than the trigger; 0: wait for the first one after it.",
    )
    warmup_frames: int = Field(
        0, ge=0, le=100, description="Frames thrown away after each connect; snapshot: asked for at the start."
    )
    most_fps: float = Field(
        60.0, gt=0, le=1000, description="Frames a second that are kept; what comes between is skipped and counted."
    )
    significant_bits: int | None = Field(
        None,
        ge=8,
        le=16,
        description="snapshot, mjpeg, directory: significant bits of a PNG, TIFF or PGM of 16 bits a value, where its "
        "file does not say it; 16 where the values fill all 16 bits.",
    )
    required: bool = Field(default=False, description="Whether the whole service is unready while this camera is away.")
    username: str | None = Field(None, description="User name at the camera.")
    password_file: Path | None = Field(None, description="File that holds the password, on its first line.")
    auth: Literal["auto", "basic", "digest"] = Field(
        "auto", description="snapshot, mjpeg: what the camera's challenge may be; auto: either."
    )
    ca_file: Path | None = Field(None, description="snapshot, mjpeg: certificates (PEM) trusted for https.")
    pattern: str = Field("*", min_length=1, max_length=255, description="directory: which file names are images.")
    since: Literal["start", "any"] = Field(
        "start", description="directory: start: only files written after the service's start; any: older ones too."
    )
    poll_ms: float = Field(50.0, ge=5, le=60_000, description="directory: how often it is looked at.")
    most_files: int = Field(2000, ge=1, le=100_000, description="directory: most entries; above, it is refused.")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        wanted = {"snapshot": {"url"}, "mjpeg": {"url"}, "stream": {"url", "path"}, "directory": {"path"}}[self.kind]
        given = {name for name in ("url", "path") if getattr(self, name) is not None}
        if len(given & wanted) != 1:
            raise ValueError(f"{' or '.join(sorted(wanted, reverse=True))}: must be given with kind {self.kind}")
        for name in sorted(given - wanted):
            raise ValueError(f"{name}: does not stand with kind {self.kind}")
        of_kind = {
            "directory": {"allow_older_ms", "pattern", "since", "poll_ms", "most_files", "significant_bits"},
            "snapshot": {"username", "password_file", "auth", "ca_file", "significant_bits"},
            "mjpeg": {"allow_older_ms", "username", "password_file", "auth", "ca_file", "most_fps", "significant_bits"},
            "stream": {"allow_older_ms", "username", "password_file", "most_fps"},
        }
        strange = (self.model_fields_set & set().union(*of_kind.values())) - of_kind[self.kind]
        for name in sorted(strange):
            raise ValueError(f"{name}: does not stand with kind {self.kind}")
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file: give both or neither")
        if self.url is not None:
            _check_camera_url(self.url, self.kind)
        return self


def _check_camera_url(url: str, kind: str) -> None:
    """Raise ValueError where an address has the wrong scheme, no host, or a password, which is not repeated."""
    schemes = ("rtsp", "rtsps", "http", "https") if kind == "stream" else ("http", "https")
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        del error  # its words hold a part of the address
        raise ValueError("url: is no address: expected <scheme>://<host>[:<port>]/<path>") from None
    if parts.scheme.lower() not in schemes:
        raise ValueError(f"url: its scheme is {parts.scheme!r:.20}; kind {kind} takes {', '.join(schemes)}")
    if "@" in parts.netloc:
        raise ValueError("url: has a user name or password in it; give username and password_file instead")
    if not host or any(ord(character) <= ord(" ") for character in url):
        raise ValueError("url: has no host, or a space in it")
    if kind != "stream":
        try:
            Target.of(url)
        except ValueError as error:
            raise ValueError(f"url: {error}") from None


class UrlHost(Section):
    """One host from which images may be fetched; `host` or `host:port` is short for it."""

    host: Annotated[str, Field(pattern=r"^[a-z0-9.:_-]{1,253}$")] = Field(
        description="Name or address, in lower case, exactly as requests have it; no wildcards."
    )
    ports: tuple[Port, ...] = Field((80, 443), min_length=1, description="TCP ports that may be connected to.")
    private: bool = Field(
        default=False, description="Allow it where its name leads to a private, loopback or link-local address."
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        host, colon, port = given.rpartition(":")
        if not colon or given.count(":") > 1:
            return {"host": given}
        return {"host": host, "ports": (port,)}


class UrlSettings(Section):
    """Source `url`: images from hosts on a list; with an empty list it is refused."""

    hosts: tuple[UrlHost, ...] = Field(
        (), description="Hosts: `name`, `name:port`, or {host, ports, private}. Redirects are not followed."
    )
    timeout_ms: float = Field(
        2000.0, gt=0, le=60_000, description="Longest wait for one image; the request's deadline shortens it."
    )
    most_bytes: int = Field(
        16 * MIB, ge=1024, description="Largest image; limits.body_bytes is the bound where that is less."
    )
    ca_file: Path | None = Field(None, description="Certificates (PEM) trusted for https; the system's where absent.")


class LimitSettings(Section):
    """Bounds; what is above one is refused by name and counted."""

    body_bytes: int = Field(
        16 * MIB,
        ge=1024,
        description="Largest body of predict: one image. Camera frames and files have the same limit.",
    )
    json_bytes: int = Field(4 * MIB, ge=1024, description="Largest body of infer: one request as JSON.")
    json_body_values: int = Field(
        262_144, ge=1, description="Most values of a JSON body; what has more must go as binary, by /v2."
    )
    body_s: float = Field(10.0, gt=0, le=600, description="Longest wait for a body to arrive.")
    pixels: int = Field(40_000_000, ge=1, description="Most pixels of an image, by its header.")
    concurrency: int = Field(
        16,
        ge=1,
        le=1024,
        description="Requests worked on at the same time; a quarter of the places is kept for the line's own: small "
        "ones that bring no pixels, as all that come over the bus.",
    )
    queue: int = Field(
        64,
        ge=0,
        le=65_536,
        description="Requests that wait beyond these, of the line and of others; one more gets 429.",
    )
    workers: int = Field(
        0, ge=0, le=256, description="Threads that decode and prepare; 0: one a core, as many as the container may use."
    )
    memory_bytes: int | None = Field(
        None,
        ge=32 * MIB,
        description="Most memory of bodies, and of pictures while they are decoded, half for each, a quarter of both "
        "kept for the line's own requests; what is larger is taken alone. Absent: a quarter of the container's memory, "
        "or of the machine's.",
    )
    remembered: int = Field(4096, ge=1, description="Answers kept so that the same id asked again runs once.")
    remembered_bytes: int = Field(32 * MIB, ge=1024, description="Most memory of the kept answers.")
    unpacked_bytes: int = Field(
        64 * MIB, ge=1024, description="Largest v2 request after its Content-Encoding (gzip, deflate) is undone."
    )
    tensors: int = Field(64, ge=1, le=1024, description="Most inputs of one v2 request.")
    outputs: int = Field(64, ge=1, le=1024, description="Most outputs that one v2 request may name.")
    strings: int = Field(65_536, ge=1, description="Most elements of one BYTES tensor in v2.")
    json_values: int = Field(
        262_144,
        ge=1,
        description="Most values of a v2 answer as JSON; what has more must be asked for as binary.",
    )
    v2_concurrency: int = Field(
        16,
        ge=1,
        le=1024,
        description="v2 requests read and worked on at the same time, beside concurrency; they use the slots of "
        "triton.slots above limits.concurrency, and go to Triton in bytes where none is left.",
    )
    v2_deadline_ms: float = Field(
        30_000.0, gt=0, le=MAX_DEADLINE_MS, description="Deadline of a v2 request that names none."
    )
    client_shared_memory_prefixes: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")], ...] = Field(
        (),
        description="Clients of v2 may register and name shared memory of their own (system_shared_memory) whose key "
        "begins so; empty: none may.",
    )
    client_shared_memory_regions: int = Field(
        128, ge=1, le=4096, description="Most regions of such memory that are registered at the same time."
    )
    client_shared_memory_bytes: int = Field(1024 * MIB, ge=4096, description="Most bytes of all such regions together.")

    @model_validator(mode="after")
    def _not_our_own_memory(self) -> Self:
        for prefix in self.client_shared_memory_prefixes:
            if any(own.startswith(prefix) or prefix.startswith(own) for own in ("lineside", "triton")):
                raise ValueError(
                    f"client_shared_memory_prefixes names {prefix!r}: memory of lineside and of triton is their own; "
                    "give clients another prefix"
                )
        return self


class PageSettings(Section):
    """What the page at `/` keeps in memory, and for how many viewers."""

    parts: int = Field(400, ge=1, le=10_000, description="Results kept for the page.")
    part_bytes: int = Field(8 * MIB, ge=1024, description="Most memory of the kept results.")
    images: int = Field(60, ge=0, le=10_000, description="Images kept for the page.")
    image_bytes: int = Field(32 * MIB, ge=0, description="Most memory of the kept images.")
    watchers: int = Field(16, ge=1, le=256, description="Open pages that follow the line; one more gets 503.")
    backlog: int = Field(
        256, ge=2, le=10_000, description="Parts that a page may be behind; then it is dropped, and comes back itself."
    )


class InferenceSettings(Section):
    """The inference service."""

    http: InferenceHttpSettings = Field(
        default_factory=lambda: InferenceHttpSettings.model_validate({}),
        description="The HTTP server that takes requests.",
    )
    triton: TritonSettings = Field(
        default_factory=lambda: TritonSettings.model_validate({}), description="The Triton server that runs the models."
    )
    model_repository: Path = Field(
        Path("models"), description="Folder of models in Triton's layout, each with its card.yaml."
    )
    models: ModelsSettings = Field(
        default_factory=lambda: ModelsSettings.model_validate({}), description="How models are changed."
    )
    hardware: HardwareSettings = Field(
        default_factory=lambda: HardwareSettings.model_validate({}),
        description="What runs the models, where it is not what this service finds itself.",
    )
    state_dir: Path | None = Field(
        None,
        description="Folder where the policy, the versions in force and which services tell are kept over a restart; "
        "absent: they are not.",
    )
    cameras: dict[Name, CameraSettings] = Field(default_factory=dict, description="Cameras by name.")
    urls: UrlSettings = Field(
        default_factory=lambda: UrlSettings.model_validate({}), description="Source url: images from hosts on a list."
    )
    file_roots: tuple[Path, ...] = Field((), description="Folders below which image files may be read.")
    policy: Policy = Field(default_factory=Policy, description="The operator's choices: enabled, thresholds, versions.")
    capture: CaptureSettings = Field(
        default_factory=lambda: CaptureSettings.model_validate({}),
        description="How evidence is taken; which parts are kept is the policy's.",
    )
    limits: LimitSettings = Field(
        default_factory=lambda: LimitSettings.model_validate({}),
        description="Bounds; what is above one is refused by name and counted.",
    )
    page: PageSettings = Field(
        default_factory=lambda: PageSettings.model_validate({}),
        description="What the page at / keeps in memory, and for how many viewers.",
    )
    default_deadline_ms: float = Field(
        2000.0, gt=0, le=MAX_DEADLINE_MS, description="Deadline of a request that names none."
    )
    margin_ms: float = Field(
        5.0, ge=0, le=1000, description="The work ends this long before the deadline, for the answer's way back."
    )

    @model_validator(mode="after")
    def _enough_slots(self) -> Self:
        if self.triton.slots < self.limits.concurrency:
            raise ValueError(
                f"triton.slots is {self.triton.slots}: every request at work needs one; "
                f"give at least limits.concurrency, {self.limits.concurrency}"
            )
        return self


class Settings(SharedSettings):
    """All that the inference service reads: the shared part and its own section."""

    section: ClassVar[str] = "inference"

    spool: SpoolSettings = Field(
        default_factory=lambda: SpoolSettings.model_validate({}), description="Where evidence waits on this box."
    )
    edge_manager: EdgeManagerSettings = Field(
        default_factory=lambda: EdgeManagerSettings.model_validate({}),
        description="Data capture, by the names of SageMaker Edge Manager.",
    )
    inference: InferenceSettings = Field(
        default_factory=lambda: InferenceSettings.model_validate({}), description="The inference service."
    )
