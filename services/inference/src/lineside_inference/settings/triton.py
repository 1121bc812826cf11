"""Sections `inference.triton`, `models` and `hardware`: what runs the models, and how they are changed."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lineside.addresses import HostAndPort
from lineside.settings import Section

MIB = 1024 * 1024


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
    look_s: float = Field(
        2.0,
        ge=0.1,
        le=60,
        description="Seconds between two looks at the model repository, and at the TensorRT engines' folder. A model "
        "is read once two looks found it the same; one that changes afterwards is read again.",
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
