"""A folder in Triton's own layout: which of its files Triton needs, and its configuration.

Of the versions only those are taken that the configuration's `version_policy` serves; files beside them are left alone.
No code is taken: no library, no operator library, and Python only where the settings allow it.
"""

import re
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from lineside.packages.paths import CONFIG_FILE
from lineside_inference.agent.packages.paths import Roots, entries
from lineside_inference.errors import PackageUnusable, StoreError
from lineside_inference.models.configuration import BACKENDS, default_file, parse_config, runs_python

_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_LIBRARY = re.compile(r".*\.(so|dylib|dll)([.0-9]*)", re.IGNORECASE)
_MAX_FILES = 1000
_MAX_DEPTH = 8


def versions_in(names: dict[str, bool]) -> list[str]:
    """Return the version folders among a folder's entries, the highest last."""
    return sorted((name for name, is_folder in names.items() if is_folder and _VERSION.fullmatch(name)), key=int)


def read_triton_folder(
    folder: Path, names: dict[str, bool], roots: Roots, *, allow_python: bool
) -> tuple[pb.ModelConfig, dict[str, Path]]:
    """Return the configuration, unnamed, and the files by their place in Triton's folder.

    Raises PackageUnusable, PackageNotFound or PackagePathRefused.
    """
    path = folder / CONFIG_FILE
    with roots.open(path) as stream:
        try:
            config = parse_config(stream, path)
        except StoreError as error:
            raise PackageUnusable(error.what, remedy=error.remedy) from None
    config.name = ""
    if config.platform == "ensemble" or config.HasField("ensemble_scheduling"):
        raise PackageUnusable(
            f"{path} is an ensemble: its steps are other models", remedy="Put them all into Triton's model repository"
        )
    if config.model_operations.op_library_filename:
        raise PackageUnusable(f"{path} has operator libraries, and no package brings code", remedy="Remove them")
    served = _served(config, versions_in(names))
    if not served:
        raise PackageUnusable(
            f"{folder} has a {CONFIG_FILE} and no version of the model that it serves",
            remedy="Put the model's file into a folder named 1 beside it",
        )
    files: dict[str, Path] = {}
    for version in served:
        _collect(folder / version, version, files)
        _check_file(config, folder, version, files)
    for extra in _mentioned(config):
        files[extra] = folder / extra
    for name in files:
        if _LIBRARY.fullmatch(name):
            raise PackageUnusable(f"{folder / name} is a library, and no package brings code", remedy="Remove it")
    if not allow_python and (runs_python(config, (Path(name).name for name in files)) or _python(files)):
        raise PackageUnusable(
            f"{folder} brings Python code, which would run inside Triton",
            remedy="Use an ONNX file, or set inference.models.allow_python_backend for models you trust",
        )
    return config, files


def _served(config: pb.ModelConfig, versions: list[str]) -> list[str]:
    """Return the versions that Triton would serve by the configuration, without a policy the highest."""
    policy = config.version_policy
    if policy.HasField("all"):
        return versions
    if policy.HasField("specific"):
        wanted = {str(version) for version in policy.specific.versions}
        return [version for version in versions if version in wanted]
    count = policy.latest.num_versions if policy.HasField("latest") else 1
    return versions[-max(1, count) :]


def _collect(folder: Path, place: str, files: dict[str, Path], depth: int = 0) -> None:
    for name, is_folder in entries(folder).items():
        inner = f"{place}/{name}"
        if is_folder and depth < _MAX_DEPTH:
            _collect(folder / name, inner, files, depth + 1)
        else:
            files[inner] = folder / name
        if len(files) > _MAX_FILES:
            raise PackageUnusable(f"{folder} has more than {_MAX_FILES} files", remedy="Leave the model's own there")


def _check_file(config: pb.ModelConfig, folder: Path, version: str, files: dict[str, Path]) -> None:
    """Demand the file that the configuration names; set the backend by it where the configuration names none."""
    there = sorted(name.removeprefix(f"{version}/") for name in files if name.startswith(f"{version}/"))
    if not config.backend and not config.platform and not config.default_model_filename:
        for name in there:
            if Path(name).stem == "model" and (backend := BACKENDS.get(Path(name).suffix)) is not None:
                config.backend, config.default_model_filename = backend, name
                break
    wanted = default_file(config)
    if not there or (wanted is not None and not any(name == wanted or name.startswith(f"{wanted}/") for name in there)):
        raise PackageUnusable(
            f"{folder / version} has no {wanted or 'file'}",
            remedy=f"There is {', '.join(there[:10])}: rename it, or set default_model_filename in {CONFIG_FILE}"
            if there
            else "It is empty: put the model's file there",
        )


def _mentioned(config: pb.ModelConfig) -> list[str]:
    """Return the files outside the versions that the configuration names: labels, and inputs of warm-up requests."""
    named = [output.label_filename for output in config.output if output.label_filename]
    named += [
        f"warmup/{given.input_data_file}"
        for sample in config.model_warmup
        for given in sample.inputs.values()
        if given.input_data_file
    ]
    for name in named:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise PackageUnusable(f"{CONFIG_FILE} names file {name!r:.200}, which is not in the model's folder")
    return named


def _python(files: dict[str, Path]) -> bool:
    return any(Path(name).suffix in {".py", ".pyc", ".pyz"} for name in files)
