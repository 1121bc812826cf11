"""The configuration file of an agent without Greengrass, as settings: JSON with names that begin `sagemaker_edge_`.

It may be given where a settings file is: its names are taken for the settings that they stand for, and the agent's gRPC
API is served. A setting that stands there by our own name goes before. An empty text is what is not given, as in the
templates of such files, but for the folder's prefix. Sources: public samples and installers of the agent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX = "sagemaker_edge_"
_CORE = f"{PREFIX}core_"
_CAPTURE = f"{_CORE}capture_data_"
FOLDER_PREFIX = f"{_CORE}folder_prefix"
DESTINATION = f"{_CAPTURE}destination"
PROVIDER = f"{PREFIX}provider_provider"

NAMES: Mapping[str, tuple[str, ...]] = {
    f"{_CORE}device_name": ("thing",),
    f"{_CORE}device_uuid": ("thing",),
    f"{_CORE}iot_thing_name": ("thing",),
    f"{_CORE}device_fleet_name": ("edge_manager", "DeviceFleetName"),
    f"{_CORE}region": ("edge_manager", "region"),
    f"{PREFIX}provider_s3_bucket_name": ("edge_manager", "BucketName"),
    FOLDER_PREFIX: ("edge_manager", "FolderPrefix"),
    DESTINATION: ("edge_manager", "CaptureDataDestination"),
    f"{_CAPTURE}disk_path": ("edge_manager", "CaptureDataDiskPath"),
    f"{_CAPTURE}buffer_size": ("edge_manager", "CaptureDataBufferSize"),
    f"{_CAPTURE}batch_size": ("edge_manager", "CaptureDataBatchSize"),
    f"{_CAPTURE}push_period_seconds": ("edge_manager", "CaptureDataPushPeriodSeconds"),
    f"{_CAPTURE}periodic_upload": ("edge_manager", "CaptureDataPeriodicUpload"),
    f"{_CAPTURE}periodic_upload_period_seconds": ("edge_manager", "CaptureDataPeriodicUploadPeriodSeconds"),
    f"{_CAPTURE}base64_embed_limit": ("edge_manager", "CaptureDataBase64EmbedLimit"),
    f"{PREFIX}db_module_path": ("edge_manager", "DbEnable"),
    f"{PREFIX}local_data_root_path": ("edge_manager", "LocalDataRootPath"),
    f"{PREFIX}deployment_lib_path": ("edge_manager", "DeploymentEnable"),
    f"{PREFIX}model_deployment_poll_interval": ("edge_manager", "DeploymentPollInterval"),
    f"{PREFIX}dlr_backend_options": ("edge_manager", "DLRBackendOptions"),
    f"{PREFIX}log_verbose": ("edge_manager", "SagemakerEdgeLogVerbose"),
}
"""By the agent's name the path of the setting that it stands for."""

WITHOUT_EFFECT = frozenset(
    {
        PROVIDER,
        f"{PREFIX}provider_provider_path",
        f"{PREFIX}provider_aws_ca_cert_file",
        f"{PREFIX}provider_aws_cert_file",
        f"{PREFIX}provider_aws_cert_pk_file",
        f"{PREFIX}provider_aws_iot_cred_endpoint",
        f"{_CORE}root_certs_path",
        f"{_CORE}endpoint_override",
        f"{_CORE}config_path",
        f"{PREFIX}telemetry_libsystemd_path",
    }
)
"""The agent's names that stand for nothing here; `lineside migrate check` says of each why."""


def _is_given(value: Any) -> bool:
    """Take the path of one of the agent's libraries for the wish to have what it does."""
    return value is not False and value not in ("", "false")


_MEANING: Mapping[str, Callable[[Any], Any]] = {
    f"{PREFIX}db_module_path": _is_given,
    f"{PREFIX}deployment_lib_path": _is_given,
}


@dataclass(frozen=True)
class AgentFile:
    """An agent's file, as a document of our settings."""

    document: Mapping[str, Any]
    written: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    """By a setting's path the name that it has in the file."""
    ignored: tuple[str, ...] = ()
    """Names that nobody here knows."""
    problems: tuple[str, ...] = ()


def is_agent_file(document: Mapping[str, Any]) -> bool:
    """Whether a document has any of the agent's names at its top."""
    return any(name.startswith(PREFIX) for name in document)


def read(document: Mapping[str, Any]) -> AgentFile:
    """Return the settings that an agent's file stands for; what it has beside the agent's names stays as it is."""
    found: dict[str, Any] = {name: value for name, value in document.items() if not name.startswith(PREFIX)}
    own = found.get("edge_manager", {})
    if not isinstance(own, Mapping):
        return AgentFile(document)  # which is refused for that
    group = {"serve": True, "CaptureDataDestination": "Disk"}
    written: dict[tuple[str, ...], str] = {}
    problems: list[str] = []
    for name, path in NAMES.items():
        value = document.get(name)
        if name not in document or value is None or (value == "" and name != FOLDER_PREFIX):
            continue
        value = _MEANING.get(name, lambda same: same)(value)
        target = found if len(path) == 1 else group
        if path in written and target[path[-1]] != value:
            first = f"{written[path]} is {target[path[-1]]!r:.120}"
            problems.append(f"{name} is {value!r:.120} and {first}: both say the same setting; give one of them")
        elif len(path) > 1 or path[0] not in found:
            written.setdefault(path, name)
            target[path[-1]] = value
    found["edge_manager"] = group | dict(own)
    for name in own:
        written.pop(("edge_manager", name), None)
    strange = [name for name in document if name.startswith(PREFIX) and name not in {*NAMES, *WITHOUT_EFFECT}]
    return AgentFile(found, written, tuple(strange), tuple(problems))
