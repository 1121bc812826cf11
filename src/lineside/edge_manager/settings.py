"""Section `edge_manager`: the settings of SageMaker Edge Manager's agent, by its own names and defaults.

The names in capitals are those of the component aws.greengrass.SageMakerEdgeManager, with its defaults; those in small
letters are ours. Values come as that component took them: numbers and booleans also as strings. The same settings come
from the component's configuration (`lineside.greengrass.configuration`), from a settings file, and from the file of an
agent without Greengrass (`lineside.edge_manager.agent_file`). Source: the component's public documentation.

With `serve` the inference service serves the agent's gRPC API on `UnixSocketName`, with the mode `socket_permissions`
and the group `socket_group`, and takes messages of `max_message_bytes`; `strict` has it refuse what the agent refused.
With `serve` DeviceFleetName must be given, and BucketName where the destination needs one, as the component demanded.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lineside.edge_manager import dlr_options
from lineside.edge_manager.dlr_options import DlrOptions
from lineside.settings import Section
from lineside.telemetry import Level

EMBED_LIMIT = 3072
"""Largest tensor, in bytes, that Edge Manager put into a record itself; its default and its maximum."""
SOCKET = Path("/tmp/aws.greengrass.SageMakerEdgeManager.sock")  # noqa: S108 - where its clients look for it
MAX_SOCKET_PATH = 107
"""Longest path of a unix socket in bytes: `sun_path` of Linux has 108, the last one for the end."""
MIB = 1024 * 1024


def _whole(value: Any) -> Any:
    """Take 10, 10.0 and "10" for the same number."""
    if isinstance(value, bool):
        raise ValueError("expected a whole number")  # noqa: TRY004 - pydantic turns ValueError into its own
    if isinstance(value, str) and value.strip().removesuffix(".0").isdecimal():
        return int(value.strip().removesuffix(".0"))
    return value


def _either(value: Any) -> Any:
    """Take true and "true" for the same, and nothing else for either."""
    if isinstance(value, str) and value.strip().lower() in {"true", "false"}:
        return value.strip().lower() == "true"
    if not isinstance(value, bool):
        raise ValueError("expected true or false")  # noqa: TRY004 - pydantic turns ValueError into its own
    return value


def _destination(value: Any) -> Any:
    return value.strip().capitalize() if isinstance(value, str) else value


def _bucket(value: Any) -> Any:
    if isinstance(value, str) and "://" in value:
        raise ValueError("expected the bucket's name alone, without s3:// and without a path")
    return value


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be absolute")
    return path


def _socket(path: Path) -> Path:
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise ValueError(f"has {len(os.fsencode(path))} bytes; the path of a socket has {MAX_SOCKET_PATH} at most")
    return path


Whole = Annotated[int, BeforeValidator(_whole)]
Either = Annotated[bool, BeforeValidator(_either)]
Absolute = Annotated[Path, AfterValidator(_absolute)]


class EdgeManagerSettings(Section):
    """SageMaker Edge Manager's agent, by its own names: data capture, and the gRPC API that its clients speak."""

    DeviceFleetName: Annotated[str, Field(pattern=r"^[a-zA-Z0-9](-*_*[a-zA-Z0-9])*$", max_length=63)] = Field(
        "lineside", description="The fleet: a folder of every path, and in every record."
    )
    BucketName: (
        Annotated[str, BeforeValidator(_bucket), Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] | None
    ) = Field(None, description="S3 bucket; needed with destination Cloud, and with CaptureDataPeriodicUpload.")
    CaptureDataDestination: Annotated[Literal["Cloud", "Disk"], BeforeValidator(_destination)] = Field(
        "Cloud", description="Where captures go: Cloud, the bucket; Disk, below CaptureDataDiskPath."
    )
    CaptureDataDiskPath: Absolute | None = Field(
        None,
        description="Disk: the folder in which FolderPrefix is made; absolute. It is made where the folder above it is "
        "there. Absent: `capture` beside spool.folder.",
    )
    CaptureDataPeriodicUpload: Either = Field(
        default=False, description="Disk: whether what was written there is uploaded to the bucket too."
    )
    CaptureDataPeriodicUploadPeriodSeconds: Whole = Field(
        8, ge=1, le=86_400, description="Seconds between such uploads."
    )
    CaptureDataBatchSize: Whole = Field(
        10, ge=1, le=100_000, description="Captures of one model that make a batch: one file, a capture a line."
    )
    CaptureDataBufferSize: Whole = Field(
        30, ge=1, le=100_000, description="With strict: undelivered captures above which one more is refused."
    )
    CaptureDataPushPeriodSeconds: Whole = Field(
        4, ge=1, le=86_400, description="Seconds after which a batch leaves that is not full."
    )
    CaptureDataBase64EmbedLimit: Whole = Field(
        EMBED_LIMIT,
        ge=1,
        le=MIB,
        description="Largest tensor or image, in bytes, that stands in the record itself; a larger one is an object of "
        "its own. Above 3072, Edge Manager's maximum, only with embed_above_3072.",
    )
    FolderPrefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9_.=-]+(/[A-Za-z0-9_.=-]+)*)?$", max_length=512)] = Field(
        "sme-capture", description="First folders of every path; may be empty."
    )
    LocalDataRootPath: Absolute | None = Field(
        None,
        description="Folder for what DbEnable keeps and for the deployer; inference.state_dir and deployer.state_dir "
        "where absent.",
    )
    DbEnable: Either = Field(
        default=False,
        description="Load the models that clients had loaded again after a restart. Captures, and what became of them, "
        "survive one in any case.",
    )
    DeploymentEnable: Either = Field(
        default=False,
        description="The deployer brings models to what deployer.desired says, and inference starts without one too. "
        "true needs DbEnable.",
    )
    DeploymentPollInterval: Whole = Field(
        1440, ge=1, le=527_040, description="Minutes between two looks of the deployer."
    )
    DLRBackendOptions: str = Field(
        "",
        max_length=4096,
        description="Flags of DLR as NAME=value; NAME=value. Those of the TensorRT cache (TVM_TENSORRT_CACHE_DIR, "
        "_CACHE_DISK_SIZE_MB, _USE_FP16, _MAX_WORKSPACE_SIZE) mean inference.tensorrt's; no other has an effect.",
    )
    SagemakerEdgeLogVerbose: Either = Field(
        default=False,
        description="true: inference and forwarder log as with log.level debug.",
    )
    UnixSocketName: Annotated[Absolute, AfterValidator(_socket)] = Field(
        SOCKET, description="With serve: the socket's path, 107 bytes at most; its folder must be there."
    )
    serve: Either = Field(
        default=False, description="Serve the agent's gRPC API on UnixSocketName, as part of the inference service."
    )
    socket_mode: Annotated[str, Field(pattern=r"^0?[0-7]{3}$")] = Field(
        "0660", description="With serve: who may connect, as the socket's mode in quotes; connecting needs w."
    )
    socket_group: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, description="With serve: group of the socket, by name or number; this process's own where absent."
    )
    max_message_bytes: Whole = Field(
        64 * MIB, ge=4 * MIB, le=2047 * MIB, description="With serve: largest message that is taken or answered."
    )
    model_roots: tuple[Absolute, ...] = Field(
        (Path("/greengrass/v2/work"),),
        description="With serve: folders below which clients may load models; a relative path counts from the first.",
    )
    model_folder: Absolute | None = Field(
        None,
        description="With serve: folder for copies of the models that clients load, which Triton has as one more "
        "--model-repository; absent: their bytes go to Triton with the call that loads them, as its memory allows.",
    )
    signer_roots: Absolute | None = Field(
        None,
        description="With serve: folder of the public keys and authorities that sign clients' models, which only root "
        "or this service's user may write; a model without a signature is refused then. Absent: nobody is asked.",
    )
    unsigned_models: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = Field(
        (), description="With signer_roots: names by which clients may load models that have no signature."
    )
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None = Field(
        None, description="Region of BucketName; AWS_REGION or AWS_DEFAULT_REGION where absent."
    )
    text_as_base64: bool = Field(
        default=False,
        description="Write the JSON and CSV of a record as base64 with encoding BASE64, for readers that decode "
        "whatever stands in data; else as text, with encoding JSON or CSV.",
    )
    embed_above_3072: bool = Field(default=False, description="Let CaptureDataBase64EmbedLimit be above 3072.")
    strict: bool = Field(
        default=False,
        description="Behave as the agent did: with destination Cloud and no network a capture is refused instead of "
        "kept, one more than CaptureDataBufferSize too, a bucket's name must contain sagemaker, the embed limit is at "
        "most 3072.",
    )

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if ".." in self.FolderPrefix.split("/") or "." in self.FolderPrefix.split("/"):
            raise ValueError("FolderPrefix: `.` and `..` are no folders")
        if self.CaptureDataBatchSize > self.CaptureDataBufferSize:
            raise ValueError(
                f"CaptureDataBatchSize is {self.CaptureDataBatchSize}: must be less than CaptureDataBufferSize, "
                f"{self.CaptureDataBufferSize}"
            )
        if self.DeploymentEnable and not self.DbEnable:
            raise ValueError("DeploymentEnable is true: set DbEnable to true as well")
        if self.strict and self.BucketName is not None and "sagemaker" not in self.BucketName:
            raise ValueError(f"BucketName is {self.BucketName!r}: with strict it must contain `sagemaker`")
        try:
            dlr_options.parse(self.DLRBackendOptions)
        except ValueError as error:
            raise ValueError(f"DLRBackendOptions: {error}") from None
        return self

    @model_validator(mode="after")
    def _given_as_the_component_demanded(self) -> Self:
        if not self.serve:
            return self
        if "DeviceFleetName" not in self.model_fields_set:
            raise ValueError("DeviceFleetName: must be given where serve is true; it stands in every path and record")
        if self.BucketName is None and (why := self.why_bucket):
            raise ValueError(
                f"BucketName: must be given where {why}; or keep captures on this box with CaptureDataDestination: Disk"
            )
        return self

    @property
    def why_bucket(self) -> str:
        """Why BucketName must be given, for instance `CaptureDataDestination is Cloud`; empty where it need not."""
        if self.CaptureDataDestination == "Cloud":
            return "CaptureDataDestination is Cloud"
        return "CaptureDataPeriodicUpload is true" if self.CaptureDataPeriodicUpload else ""

    @property
    def embed_limit(self) -> int:
        """Largest bytes that stand in a record itself."""
        if self.embed_above_3072 and not self.strict:
            return self.CaptureDataBase64EmbedLimit
        return min(self.CaptureDataBase64EmbedLimit, EMBED_LIMIT)

    @property
    def socket_permissions(self) -> int:
        """`socket_mode` as a number, for chmod."""
        return int(self.socket_mode, 8)

    @property
    def dlr(self) -> DlrOptions:
        """DLRBackendOptions, read."""
        return dlr_options.parse(self.DLRBackendOptions)

    def log_level(self, level: Level) -> Level:
        """Return the level of the log in force, where the settings of all services have `level`."""
        return "debug" if self.SagemakerEdgeLogVerbose else level

    def remarks(self) -> list[str]:
        """Return what is allowed and not what was meant, or better otherwise."""
        return [f"edge_manager.{remark}" for remark in self._remarks()]

    def _remarks(self) -> Iterator[str]:
        batch, buffer = self.CaptureDataBatchSize, self.CaptureDataBufferSize
        if batch == buffer:
            yield f"CaptureDataBatchSize is {batch}, as CaptureDataBufferSize: less is recommended, at most half of it"
        elif batch * 2 > buffer:
            yield f"CaptureDataBatchSize is {batch}: at most half of CaptureDataBufferSize, {buffer}, is recommended"
        if self.BucketName is not None and "sagemaker" not in self.BucketName:
            yield (
                f"BucketName is {self.BucketName!r}: Edge Manager took only names that contain `sagemaker`; "
                "it is used as it is"
            )
        if self.CaptureDataDestination == "Cloud" and self.CaptureDataPeriodicUpload:
            yield "CaptureDataPeriodicUpload is ignored: with CaptureDataDestination Cloud all is uploaded anyway"
        if self.embed_limit < self.CaptureDataBase64EmbedLimit:
            yield (
                f"CaptureDataBase64EmbedLimit is {self.CaptureDataBase64EmbedLimit}: {self.embed_limit} is used, Edge "
                "Manager's maximum; embed_above_3072: true lets more stand in a record, where strict is false"
            )
        if self.dlr.unknown:
            yield f"DLRBackendOptions: {', '.join(self.dlr.unknown)} is not known here, and ignored"
