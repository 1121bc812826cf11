"""Section `inference.tensorrt`: engines that this device builds of ONNX models itself, and their cache."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from lineside.contract import Name
from lineside.edge_manager.dlr_options import DlrOptions
from lineside.plans.key import Precision
from lineside.settings import Section

MIB = 1024 * 1024


class TensorRtSettings(Section):
    """TensorRT engines that are built on the device; without a folder there are none, and ONNX serves."""

    folder: Path | None = Field(
        None,
        description="Folder of the engines, which Triton and the builder beside it have too; absent: none are built. "
        "TVM_TENSORRT_CACHE_DIR of edge_manager.DLRBackendOptions where that is given.",
    )
    limit_mb: Annotated[int, Field(ge=1, le=1024 * 1024)] = Field(
        512,
        description="Most MiB of engines, those used least go first; absent, TVM_TENSORRT_CACHE_DISK_SIZE_MB counts.",
    )
    precision: Precision = Field(
        "fp32",
        description="fp32, fp16, int8 or best (the fastest of all), as trtexec takes them; int8 is right only for a "
        "model with scales in it. Absent, TVM_TENSORRT_USE_FP16 counts.",
    )
    workspace_mb: Annotated[int, Field(ge=1, le=1024 * 1024)] = Field(
        1024,
        description="Most MiB that a layer may use; a Jetson's GPU takes it of the memory that all share. Absent, "
        "TVM_TENSORRT_MAX_WORKSPACE_SIZE counts, in bytes.",
    )
    build: Literal["idle", "always", "never"] = Field(
        "idle",
        description="When an engine may be built. idle: while no part is judged, paused for each that comes; always; "
        "never: those that are there serve.",
    )
    idle_s: float = Field(60.0, ge=0, le=86_400, description="Seconds without a request after which it is idle.")
    build_s: float = Field(3600.0, gt=0, le=86_400, description="Longest time of one build, not counting pauses.")
    tolerance: float = Field(
        0.02,
        ge=0,
        le=1,
        description="How far an engine's outputs may be from ONNX's on the warm-up's inputs, as a share of the "
        "largest; of whole numbers, the share that differs. One that is further off is refused.",
    )
    onnx_only: tuple[Name, ...] = Field((), description="Models that get no engine.")

    def beside(self, dlr: DlrOptions) -> "TensorRtSettings":
        """Return the settings with DLR's flags for whatever is not set here itself."""
        flags: dict[str, Any] = {"folder": dlr.cache_dir, "limit_mb": dlr.cache_mb, "precision": dlr.precision}
        flags["workspace_mb"] = dlr.workspace_mb
        given = {name: flag for name, flag in flags.items() if flag is not None and name not in self.model_fields_set}
        return self.model_copy(update=given) if dlr.cache_dir is not None else self
