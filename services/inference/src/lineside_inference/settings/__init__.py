"""The settings of the inference service: section `inference` of the box's settings file; a module for each concern."""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from lineside.contract import MAX_DEADLINE_MS, Name, Policy
from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.settings import Section
from lineside.settings import Settings as SharedSettings
from lineside.spool.settings import SpoolSettings
from lineside.telemetry import Level
from lineside_inference.settings.capture import CaptureSettings
from lineside_inference.settings.history import HistorySettings
from lineside_inference.settings.http import GrpcSettings, InferenceHttpSettings, is_loopback
from lineside_inference.settings.limits import LimitSettings
from lineside_inference.settings.page import PageSettings
from lineside_inference.settings.sources import (
    SERVICE_FEATURES,
    ActionCommand,
    CameraSettings,
    HardwareTrigger,
    UrlHost,
    UrlSettings,
)
from lineside_inference.settings.tensorrt import TensorRtSettings
from lineside_inference.settings.triton import HardwareSettings, ModelsSettings, TritonSettings

__all__ = [
    "SERVICE_FEATURES",
    "ActionCommand",
    "CameraSettings",
    "CaptureSettings",
    "GrpcSettings",
    "HardwareSettings",
    "HardwareTrigger",
    "HistorySettings",
    "InferenceHttpSettings",
    "InferenceSettings",
    "LimitSettings",
    "ModelsSettings",
    "PageSettings",
    "Settings",
    "TensorRtSettings",
    "TritonSettings",
    "UrlHost",
    "UrlSettings",
    "is_loopback",
]


class InferenceSettings(Section):
    """The inference service."""

    http: InferenceHttpSettings = Field(
        default_factory=lambda: InferenceHttpSettings.model_validate({}),
        description="The HTTP server that takes requests.",
    )
    grpc: GrpcSettings = Field(
        default_factory=lambda: GrpcSettings.model_validate({}),
        description="The gRPC server of the Open Inference Protocol, with the tokens of inference.http.",
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
    tensorrt: TensorRtSettings = Field(
        default_factory=lambda: TensorRtSettings.model_validate({}),
        description="TensorRT engines that this device builds of ONNX models itself.",
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
    history: HistorySettings = Field(
        default_factory=lambda: HistorySettings.model_validate({}),
        description="The record of every part on this box.",
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
    def _grpc_not_open_by_accident(self) -> Self:
        is_open = self.http.token_file is None and self.http.auth != "none"
        if self.grpc.port is not None and is_open and not is_loopback(self.grpc.host):
            raise ValueError(
                f"grpc.host {self.grpc.host!r} is reached from the network: give http.token_file (one bearer token a "
                "line), or set http.auth to none to let everybody in, or grpc.host to 127.0.0.1"
            )
        return self

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
        description="SageMaker Edge Manager's agent, by its own names.",
    )
    inference: InferenceSettings = Field(
        default_factory=lambda: InferenceSettings.model_validate({}), description="The inference service."
    )

    @property
    def tensorrt(self) -> TensorRtSettings:
        """What counts of inference.tensorrt and DLRBackendOptions."""
        return self.inference.tensorrt.beside(self.edge_manager.dlr)

    @property
    def log_level(self) -> Level:
        """The level of the log, which SagemakerEdgeLogVerbose lowers."""
        return self.edge_manager.log_level(self.log.level)
