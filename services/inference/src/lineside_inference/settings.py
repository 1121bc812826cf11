"""The settings of the inference service: section `inference` of the box's settings file."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lineside.contract import MAX_DEADLINE_MS, Name, Policy
from lineside.settings import HttpSettings, Port, Section
from lineside.settings import Settings as SharedSettings

MIB = 1024 * 1024


class InferenceHttpSettings(HttpSettings):
    """The HTTP server that takes requests."""

    port: Port = Field(8080, description="TCP port to listen on.")


class TritonSettings(Section):
    """The Triton server that runs the models."""

    url: Annotated[str, Field(pattern=r"^[^/\s]+:[0-9]{1,5}$")] = Field(
        "127.0.0.1:8001", description="Host and port of Triton's gRPC endpoint."
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
    health_ms: float = Field(500.0, ge=50, le=60_000, description="How often Triton and its models are checked.")
    timeout_ms: float = Field(2000.0, ge=50, le=60_000, description="Longest wait for an answer to such a check.")
    load_models: bool = Field(
        default=True,
        description="Ask Triton to load a model that is not ready; Triton allows it in explicit mode only.",
    )
    load_timeout_ms: float = Field(
        120_000.0, ge=1000, le=3_600_000, description="Longest wait for Triton to load one model."
    )


class CameraSettings(Section):
    """One camera that gives its present frame as JPEG, PNG or BMP by HTTP GET."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")] = Field(description="Address of the snapshot.")
    timeout_ms: float = Field(
        2000.0, gt=0, le=60_000, description="Longest wait for one frame; the request's deadline shortens it."
    )


class LimitSettings(Section):
    """Bounds; what is above one is refused by name and counted."""

    body_bytes: int = Field(
        16 * MIB,
        ge=1024,
        description="Largest body of predict: one image. Camera frames and files have the same limit.",
    )
    json_bytes: int = Field(4 * MIB, ge=1024, description="Largest body of infer: one request as JSON.")
    body_s: float = Field(10.0, gt=0, le=600, description="Longest wait for a body to arrive.")
    pixels: int = Field(40_000_000, ge=1, description="Most pixels of an image, by its header.")
    concurrency: int = Field(16, ge=1, le=1024, description="Requests worked on at the same time.")
    queue: int = Field(64, ge=0, le=65_536, description="Requests that wait beyond these; one more gets 503.")
    workers: int = Field(0, ge=0, le=256, description="Threads that decode and prepare; 0: one a core.")
    remembered: int = Field(4096, ge=1, description="Answers kept so that the same id asked again runs once.")
    remembered_bytes: int = Field(32 * MIB, ge=1024, description="Most memory of the kept answers.")


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
    cameras: dict[Name, CameraSettings] = Field(default_factory=dict, description="Cameras by name.")
    file_roots: tuple[Path, ...] = Field((), description="Folders below which image files may be read.")
    policy: Policy = Field(default_factory=Policy, description="The operator's choices: enabled, thresholds, versions.")
    limits: LimitSettings = Field(
        default_factory=lambda: LimitSettings.model_validate({}),
        description="Bounds; what is above one is refused by name and counted.",
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

    inference: InferenceSettings = Field(
        default_factory=lambda: InferenceSettings.model_validate({}), description="The inference service."
    )
