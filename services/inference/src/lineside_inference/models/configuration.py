"""A model's `config.pbtxt`: read as Triton reads it, judged, and overridden for one load.

A load sends Triton the whole configuration as JSON, with the versions that it shall serve now and the file that was
chosen for this hardware. Only `version_policy` differs between two loads of a change, so Triton leaves the version
that serves alone, loads the other beside it, and drops the old one without touching the new.
"""

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from google.protobuf import json_format, text_format  # type: ignore[import-untyped]  # it ships no types
from tritonclient.grpc import model_config_pb2 as pb

from lineside.packages.paths import CONFIG_FILE
from lineside_inference.errors import StoreError

_MAX_BYTES = 1024 * 1024
BACKENDS = {".onnx": "onnxruntime", ".plan": "tensorrt", ".engine": "tensorrt", ".pt": "pytorch"}
_PYTHON = "python"


def read_config(folder: Path, version: str | None = None) -> pb.ModelConfig:
    """Return a version's configuration: its own folder's, else the model's, else one with the name alone.

    Raises StoreError.
    """
    path = folder / CONFIG_FILE
    if version is not None and (own := folder / version / CONFIG_FILE).is_file():
        path = own
    try:
        with path.open("rb") as stream:
            config = parse_config(stream, path)
    except FileNotFoundError:
        return pb.ModelConfig(name=folder.name)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None
    if config.name not in {"", folder.name}:
        raise StoreError(f"{path}: name is {config.name!r}", remedy=f"Call it {folder.name!r}, as its folder")
    config.name = folder.name
    return config


def parse_config(stream: BinaryIO, path: Path) -> pb.ModelConfig:
    """Return what an open `config.pbtxt` says; raises StoreError, or OSError where it cannot be read."""
    text = stream.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise StoreError(f"{path} has more than {_MAX_BYTES} bytes", remedy="A configuration is a page of text")
    try:
        config: pb.ModelConfig = text_format.Parse(text, pb.ModelConfig(), allow_unknown_field=True)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{path} is not Triton's configuration: {error}", remedy="It is protobuf text, see Triton's model_config"
        ) from None
    return config


def runs_python(config: pb.ModelConfig, names: Iterable[str] = ()) -> bool:
    """Whether Triton would run Python code that the model brings: by its backend, its file, or a model.py of it.

    `names` are the file names in the model's version folders. A backend of another name, also one that Triton's own
    installation writes in Python, brings no code of the model's.
    """
    if _PYTHON in {config.backend.strip().lower(), config.platform.strip().lower()}:
        return True
    if config.backend or config.platform:
        return False
    return config.default_model_filename.endswith(".py") or "model.py" in set(names)


def check_backend(config: pb.ModelConfig, folder: Path, *, allow_python: bool) -> None:
    """Refuse a model that brings Python code, unless it is allowed; raises StoreError."""
    names = (path.name for path in folder.glob("*/*.py"))
    if not allow_python and runs_python(config, names):
        raise StoreError(
            f"model {folder.name!r} has backend python: its own code would run inside Triton",
            remedy="Use an ONNX file or an engine, or set inference.models.allow_python_backend for a model you trust",
        )


def override(config: pb.ModelConfig, versions: Iterable[str], file: str | None) -> str:
    """Return the JSON of a configuration that serves these versions from this file (None: as configured).

    The backend follows the file's ending, for a file of another backend than the folder's configuration names.
    """
    wanted = pb.ModelConfig()
    wanted.CopyFrom(config)
    wanted.version_policy.Clear()
    wanted.version_policy.specific.versions[:] = sorted(int(version) for version in versions)
    if file is not None:
        usual = default_file(wanted)
        if file != usual:
            wanted.default_model_filename = file
        backend = BACKENDS.get(PurePosixPath(file).suffix)
        if backend is not None and backend != _backend_of(wanted):
            wanted.backend, wanted.platform = backend, ""
    return as_json(wanted)


def as_json(config: pb.ModelConfig) -> str:
    """Return a configuration as the call takes it that loads a model."""
    return json.dumps(json_format.MessageToDict(config, preserving_proto_field_name=True))


def default_file(config: pb.ModelConfig) -> str | None:
    """Return the file that Triton takes of a version's folder by this configuration; None where it is not known."""
    if config.default_model_filename:
        return str(config.default_model_filename)
    names = {"onnxruntime": "model.onnx", "tensorrt": "model.plan", "pytorch": "model.pt"}
    return names.get(_backend_of(config))


def _backend_of(config: pb.ModelConfig) -> str:
    platforms = {"onnxruntime_onnx": "onnxruntime", "tensorrt_plan": "tensorrt", "pytorch_libtorch": "pytorch"}
    return str(config.backend or platforms.get(config.platform, config.platform))
