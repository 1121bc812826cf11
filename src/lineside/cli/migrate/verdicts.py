"""What becomes of each key of Edge Manager's here: the same, another thing, nothing, and what a person has to do."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from lineside.cli.migrate.source import Source
from lineside.edge_manager import agent_file
from lineside.edge_manager.settings import EMBED_LIMIT, SOCKET, EdgeManagerSettings
from lineside.wording import words

Says = Literal["same", "changed", "ignored", "wrong"]


@dataclass(frozen=True)
class Verdict:
    """What becomes of one key."""

    key: str
    value: Any
    """As it is given; None where it is not."""
    says: Says
    what: str
    """What it means here."""
    todo: str = ""
    """What a person has to do; empty: nothing."""


def judge(source: Source) -> list[Verdict]:
    """Return a verdict for each key that is given, in its order, then for those that are missing."""
    document = source.settings()
    wrong, settings = _read(document)
    found = [_verdict(source, key, value, wrong, settings) for key, value in source.keys.items()]
    found += [
        Verdict(key, None, "same", "reset: back to its default, as in DefaultConfiguration") for key in source.resets
    ]
    known = {path[-1] for key in source.keys if (path := source.place(key)) is not None}
    missing = [name for name in wrong if name not in known]
    found += [Verdict(name, None, "wrong", wrong[name], f"Give {_told(source, name)}") for name in missing]
    if source.kind == "agent":
        found += _conflicts(source)
    return found


def _read(document: Mapping[str, Any]) -> tuple[dict[str, str], EdgeManagerSettings | None]:
    """Return what is wrong by setting, and the settings where nothing is."""
    try:
        return {}, EdgeManagerSettings.model_validate(document["edge_manager"])
    except ValidationError as error:
        problems: dict[str, str] = {}
        for item in error.errors():
            message = words(item)
            name = str(item["loc"][0]) if item["loc"] else re.split(r"\W", message, maxsplit=1)[0]
            problems.setdefault(name, message)
        return problems, None


def _told(source: Source, name: str) -> str:
    """Return a setting's name as the file has it."""
    if source.kind == "component":
        return name
    return next((key for key, path in agent_file.NAMES.items() if path[-1] == name), name)


def _conflicts(source: Source) -> Iterator[Verdict]:
    for problem in agent_file.read(source.keys).problems:
        key = problem.split(" ", 1)[0]
        yield Verdict(key, source.keys[key], "wrong", problem, "Give one of them")


def _verdict(
    source: Source, key: str, value: Any, wrong: Mapping[str, str], settings: EdgeManagerSettings | None
) -> Verdict:
    if source.kind == "agent" and key in _AGENT_ONLY:
        says, what, todo = _AGENT_ONLY[key](value)
        return Verdict(key, value, says, what, todo)
    path = source.place(key)
    if path is None:
        return Verdict(key, value, "ignored", "not a key of Edge Manager; the service logs it once and goes on")
    name = path[-1]
    if name in wrong:
        return Verdict(key, value, "wrong", wrong[name], "Mend the value: the service does not start with it")
    if source.kind == "agent" and value in ("", None) and key != agent_file.FOLDER_PREFIX:
        return Verdict(key, value, "same", "empty, which counts as not given")
    if name in _JUDGES:
        effective = getattr(settings, name) if settings is not None else value
        says, what, todo = _JUDGES[name](effective, settings)
        return Verdict(key, value, says, what, todo)
    return Verdict(key, value, "same", _SAME[name])


_SAME: Mapping[str, str] = {
    "thing": "this box's name in every record: setting thing",
    "region": "the bucket's region",
    "DeviceFleetName": "folder of every path, and in every record",
    "CaptureDataPeriodicUploadPeriodSeconds": "seconds between uploads",
    "CaptureDataPushPeriodSeconds": "seconds after which a batch leaves that is not full",
    "FolderPrefix": "first folders of every path and key",
    "SagemakerEdgeLogVerbose": "debug lines of inference and forwarder, switched without a restart",
}
"""Settings that mean the same whatever their value is."""

Judged = tuple[Says, str, str]


def _batch(value: Any, settings: EdgeManagerSettings | None) -> Judged:
    what = "captures of one model that make a file"
    if settings is not None and value == settings.CaptureDataBufferSize:
        what += "; as many as the buffer holds, where at most half is recommended"
    return "same", what, ""


def _buffer(_value: Any, _settings: EdgeManagerSettings | None) -> Judged:
    what = "captures wait on the disk, bounded by spool.max_bytes; one more than this is refused with strict only"
    return "changed", what, ""


def _bucket(value: Any, _settings: EdgeManagerSettings | None) -> Judged:
    if "sagemaker" in str(value):
        return "same", "the bucket of captures", ""
    return "changed", "taken, where Edge Manager refused a name without `sagemaker` in it", ""


def _destination(value: Any, _settings: EdgeManagerSettings | None) -> Judged:
    if str(value).strip().lower() == "disk":
        return "same", "captures are files below CaptureDataDiskPath", ""
    what = "uploaded; without network kept on the disk and uploaded later, where the agent refused it (strict does)"
    return "changed", what, ""


def _upload(value: Any, settings: EdgeManagerSettings | None) -> Judged:
    if settings is not None and value is True and settings.CaptureDataDestination == "Cloud":
        return "ignored", "with destination Cloud all is uploaded anyway, as with Edge Manager", ""
    if value is True:
        return "changed", "uploaded from the spool; the files on the disk stay until somebody removes them", ""
    return "same", "nothing is uploaded from the disk", ""


def _embed(value: Any, settings: EdgeManagerSettings | None) -> Judged:
    if settings is not None and value > settings.embed_limit:
        return "changed", f"{EMBED_LIMIT} is used, Edge Manager's maximum; embed_above_3072 lifts it", ""
    return "same", "bytes up to which a tensor stands in the record; a larger one is an object of its own", ""


def _disk_path(value: Any, _settings: EdgeManagerSettings | None) -> Judged:
    return "same", "folder in which FolderPrefix is made", _mounted(Path(str(value)), "the forwarder's container")


def _data_root(value: Any, _settings: EdgeManagerSettings | None) -> Judged:
    what = "folder of the list of loaded models, with DbEnable; no models are downloaded to it"
    return "changed", what, _mounted(Path(str(value)), "the inference service's container")


def _socket(value: Any, _settings: EdgeManagerSettings | None) -> Judged:
    path = Path(str(value))
    is_usual = path.parent == SOCKET.parent
    todo = "" if is_usual else _mounted(path.parent, "the inference service's container")
    return "same", "the socket's path; clients need not change", todo


def _mounted(folder: Path, where: str) -> str:
    return f"Mount {folder} at the same path into {where}, writable for its user, where it runs in one"


def _db(value: Any, _settings: EdgeManagerSettings | None) -> Judged:
    if value is True:
        return "changed", "models that clients loaded come back after a restart; captures survive one in any case", ""
    return "changed", "models are not loaded again after a restart; captures survive one all the same", ""


def _deployment(value: Any, _settings: EdgeManagerSettings | None) -> Judged:
    if value is not True:
        return "same", "no models are fetched", ""
    todo = (
        "Say in deployer.desired where the desired state is: docs/how-to/deploy-without-greengrass.md; or deploy each "
        "model as a Greengrass component: docs/how-to/add-a-model.md"
    )
    return "changed", "the deployer asks a document of yours; the service that was asked is switched off", todo


def _poll(_value: Any, settings: EdgeManagerSettings | None) -> Judged:
    if settings is not None and settings.DeploymentEnable:
        return "same", "so often the deployer looks at the desired state", ""
    return "ignored", "no models are asked for", ""


def _dlr(value: Any, settings: EdgeManagerSettings | None) -> Judged:
    if not value:
        return "same", "no flags", ""
    if settings is None or settings.dlr.cache_dir is None:
        return "ignored", "without TVM_TENSORRT_CACHE_DIR no flag has an effect", ""
    todo = "Give Triton and its builder that folder: docs/how-to/build-engines-on-the-device.md"
    return "changed", "engines of models with a card are built and kept there; of clients' models none are", todo


_JUDGES: Mapping[str, Callable[[Any, EdgeManagerSettings | None], Judged]] = {
    "BucketName": _bucket,
    "CaptureDataBatchSize": _batch,
    "CaptureDataBufferSize": _buffer,
    "CaptureDataDestination": _destination,
    "CaptureDataPeriodicUpload": _upload,
    "CaptureDataBase64EmbedLimit": _embed,
    "CaptureDataDiskPath": _disk_path,
    "LocalDataRootPath": _data_root,
    "DbEnable": _db,
    "DeploymentEnable": _deployment,
    "DeploymentPollInterval": _poll,
    "DLRBackendOptions": _dlr,
    "UnixSocketName": _socket,
}


def _provider(value: Any) -> Judged:
    word = str(value or "None").strip().lower()
    if word == "aws":
        return "same", "captures go to S3 where the destination says so", ""
    if word == "none":
        return "changed", "what goes where is CaptureDataDestination's alone", ""
    todo = "List forwarder.destinations: a folder, S3 or a store that speaks its protocol, Stream Manager"
    return "ignored", "no library of one's own is loaded", todo


def _credentials(value: Any) -> Judged:
    if not value:
        return "ignored", "empty", ""
    todo = (
        "Give the forwarder credentials in AWS's own ways: on Greengrass the token exchange service, else environment "
        "or files; docs/how-to/ship-to-s3.md"
    )
    return "ignored", "no certificate is exchanged for credentials here", todo


def _certificates(value: Any) -> Judged:
    what = "packages signed by Edge Manager are not checked: what Neo compiled does not run here"
    return "ignored", what, "Convert the models to ONNX: docs/how-to/move-from-edge-manager.md" if value else ""


def _nothing(what: str) -> Callable[[Any], Judged]:
    return lambda _value: ("ignored", what, "")


_PROVIDER = f"{agent_file.PREFIX}provider_"
_CORE = f"{agent_file.PREFIX}core_"
_AGENT_ONLY: Mapping[str, Callable[[Any], Judged]] = {
    agent_file.PROVIDER: _provider,
    f"{_PROVIDER}provider_path": _nothing("no library of Edge Manager is loaded"),
    f"{_PROVIDER}aws_ca_cert_file": _credentials,
    f"{_PROVIDER}aws_cert_file": _credentials,
    f"{_PROVIDER}aws_cert_pk_file": _credentials,
    f"{_PROVIDER}aws_iot_cred_endpoint": _credentials,
    f"{_CORE}root_certs_path": _certificates,
    f"{_CORE}endpoint_override": _nothing("no service of Edge Manager is called"),
    f"{_CORE}config_path": _nothing("no service of Edge Manager is called"),
    f"{agent_file.PREFIX}telemetry_libsystemd_path": _nothing("restarts are counted by systemd and Greengrass"),
}
"""The agent's names that are no settings here."""


def notes(source: Source) -> list[str]:
    """Return what is beside the keys, and holds for everybody who moves."""
    found = [
        "Models that Neo compiled do not run on Triton: convert each from its source to ONNX, and keep its name.",
        "Clients need not change: same socket, same calls. docs/how-to/move-from-edge-manager.md has the rest.",
    ]
    if source.version is not None:
        version = f"The deployment names version {source.version} of the component: name that of ours, 1.4.0 or later."
        found.insert(0, version)
    return found
