"""What a client names by LoadModel's url, read: which files Triton gets, and by which configuration.

Nothing is unpacked, converted or changed; what does not belong to the model is left alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from tritonclient.grpc import model_config_pb2 as pb

from lineside.packages.paths import CONFIG_FILE
from lineside_inference.agent.packages.foreign import HOW_TO, format_of, is_archive, is_neo, neo_remedy, remedy_of
from lineside_inference.agent.packages.manifest import MANIFEST_FILE, MAX_BYTES, Manifest, ManifestError, parse_manifest
from lineside_inference.agent.packages.onnx_file import NotOnnx, Signature, Tensor, read_signature
from lineside_inference.agent.packages.paths import Roots, entries
from lineside_inference.agent.packages.plan_file import HEAD, NotAnEngine, check_engine
from lineside_inference.agent.packages.triton_folder import read_triton_folder, versions_in
from lineside_inference.errors import PackageUnusable

Kind = Literal["triton", "onnx", "plan"]

_KINDS: dict[str, Kind] = {".onnx": "onnx", ".plan": "plan", ".engine": "plan"}
_SHOWN = 10


@dataclass(frozen=True)
class PackageFile:
    """One file: where Triton finds it in the model's folder, where it lies, and its size in bytes."""

    place: str
    path: Path
    size: int


@dataclass(frozen=True)
class Package:
    """A model that can be loaded: `config` has no name yet, `path` is the file or folder that was named, resolved."""

    kind: Kind
    path: Path
    files: tuple[PackageFile, ...]
    config: pb.ModelConfig
    manifest: Manifest | None = None

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


def read_package(url: str, roots: Roots, *, allow_python: bool = False) -> Package:
    """Read what lies at a path; takes as long as reading a model's head, not its weights.

    Raises PackagePathRefused, PackageNotFound or PackageUnusable.
    """
    path = roots.resolve(url)
    if not path.is_dir():
        return _of_file(path, roots)
    names = entries(path)
    manifest = _manifest(path, names, roots)
    if CONFIG_FILE in names:
        config, places = read_triton_folder(path, names, roots, allow_python=allow_python)
        return Package("triton", path, _files(places, roots), config, manifest)
    return _of_model(path, _single(path, names), roots, manifest)


def _single(folder: Path, names: dict[str, bool]) -> Path:
    """Return the one model of a folder, or of its highest version folder; raises PackageUnusable."""
    models = [folder / name for name in _models(names)]
    if not models and (versions := versions_in(names)):
        inner = folder / versions[-1]
        models = [inner / name for name in _models(entries(inner))]
    if len(models) == 1:
        return models[0]
    if models:
        raise PackageUnusable(
            f"{folder} has {len(models)} models: {_listed(model.name for model in models)}",
            remedy="Name the path of the one to load",
        )
    raise _nothing(folder, names)


def _models(names: dict[str, bool]) -> list[str]:
    return [name for name, is_folder in names.items() if not is_folder and PurePosixPath(name).suffix.lower() in _KINDS]


def _nothing(folder: Path, names: dict[str, bool]) -> PackageUnusable:
    """Return why a folder without a model that Triton serves is refused."""
    files = [name for name, is_folder in names.items() if not is_folder]
    if neo := [name for name in files if is_neo(name)]:
        return PackageUnusable(f"{folder} holds a model compiled by Neo ({_listed(neo)})", remedy=neo_remedy())
    if not names:
        return PackageUnusable(f"{folder} is empty", remedy="Put the model there first")
    for name in files:
        if is_archive(name):
            return _archive(folder / name)
        if (remedy := remedy_of(name)) is not None:
            return PackageUnusable(f"{folder / name} cannot be served: {remedy}", remedy=f"See {HOW_TO}")
    return PackageUnusable(
        f"{folder} has no model that Triton serves, but {_listed(names)}",
        remedy=f"Put one .onnx or .plan there, or Triton's model folder ({CONFIG_FILE} and 1/)",
    )


def _archive(path: Path) -> PackageUnusable:
    return PackageUnusable(
        f"{path} is an archive, and is not unpacked here",
        remedy=f"Unpack it (tar xf {path} -C FOLDER) and name FOLDER",
    )


def _of_file(path: Path, roots: Roots) -> Package:
    if is_archive(path.name):
        raise _archive(path)
    if is_neo(path.name):
        raise PackageUnusable(f"{path} is of a model compiled by Neo", remedy=neo_remedy())
    if path.suffix.lower() not in _KINDS:
        what = remedy_of(path.name) or f"name a .onnx, a .plan, or Triton's model folder ({CONFIG_FILE} and 1/)"
        raise PackageUnusable(f"{path} cannot be served: {what}", remedy=f"See {HOW_TO}")
    return _of_model(path, path, roots, None)


def _of_model(named: Path, model: Path, roots: Roots, manifest: Manifest | None) -> Package:
    """Return the package of one file whose configuration is made from itself."""
    kind = _KINDS[model.suffix.lower()]
    if kind == "plan":
        with roots.open(model) as stream:
            head = stream.read(HEAD)
        try:
            check_engine(head)
        except NotAnEngine as error:
            raise PackageUnusable(f"{model} is no TensorRT engine: {error}", remedy=f"See {HOW_TO}") from None
        return Package(
            kind, named, _files({"1/model.plan": model}, roots), pb.ModelConfig(backend="tensorrt"), manifest
        )
    signature = _signature(model, roots)
    places = {"1/model.onnx": model} | {f"1/{part}": _beside(model, part) for part in signature.external}
    return Package(kind, named, _files(places, roots), _config_of(signature), manifest)


def _signature(model: Path, roots: Roots) -> Signature:
    with roots.open(model) as stream:
        head = stream.read(HEAD)
        if not head:
            raise PackageUnusable(f"{model} is empty", remedy="It was not copied whole: deploy the model again")
        if (other := format_of(head)) is not None:
            raise PackageUnusable(f"{model} is no ONNX model: it is {other}", remedy=f"See {HOW_TO}")
        try:
            return read_signature(stream.fileno())
        except NotOnnx as error:
            raise PackageUnusable(
                f"{model} is no ONNX model that can be served: {error}",
                remedy=f"See {HOW_TO}",
            ) from None
        except OSError as error:
            raise PackageUnusable(f"{model} cannot be read: {error.strerror}") from None


def _beside(model: Path, part: str) -> Path:
    """Return where a file with tensors of a model lies, which ONNX names relative to the model."""
    inner = PurePosixPath(part)
    if not part or inner.is_absolute() or ".." in inner.parts or part == "model.onnx":
        raise PackageUnusable(
            f"{model} has its tensors in file {part!r:.200}, which is not in its folder",
            remedy="Save it as one file (onnx.save_model with save_as_external_data=False)",
        )
    return model.parent / part


def _config_of(signature: Signature) -> pb.ModelConfig:
    """Return Triton's configuration of an ONNX model: its shapes as they stand in the file, whole.

    Without Triton's own batching: that an open first axis is a batch cannot be told from a file, and tensors of any
    length on it are served as they come. What the file does not say of the outputs is left for Triton to complete.
    """
    config = pb.ModelConfig(backend="onnxruntime")
    for given in signature.inputs:
        if given.shape is None:
            raise PackageUnusable(
                f"the file does not say how many axes input {given.name!r:.100} has",
                remedy="Export it with shapes, or add a config.pbtxt (Triton's model folder)",
            )
        config.input.add(name=given.name, data_type=given.datatype, dims=_dims(given))
    if all(tensor.shape is not None for tensor in signature.outputs):
        for tensor in signature.outputs:
            config.output.add(name=tensor.name, data_type=tensor.datatype, dims=_dims(tensor))
    return config


def _dims(tensor: Tensor) -> tuple[int, ...]:
    return tensor.shape or (1,)  # Triton has no scalar: one value


def _files(places: dict[str, Path], roots: Roots) -> tuple[PackageFile, ...]:
    """Return the files with their sizes; raises PackageUnusable, PackageNotFound or PackagePathRefused."""
    found = []
    for place, path in places.items():
        with roots.open(path) as stream:
            size = stream.seek(0, 2)
        if size == 0 and PurePosixPath(place).suffix in {*_KINDS, ".pt"}:
            raise PackageUnusable(f"{path} is empty", remedy="It was not copied whole: deploy the model again")
        found.append(PackageFile(place, path, size))
    return tuple(found)


def _manifest(folder: Path, names: dict[str, bool], roots: Roots) -> Manifest | None:
    if names.get(MANIFEST_FILE, True):
        return None
    with roots.open(folder / MANIFEST_FILE) as stream:
        text = stream.read(MAX_BYTES + 1)
    try:
        return parse_manifest(text)
    except ManifestError as error:
        raise PackageUnusable(
            f"{folder / MANIFEST_FILE} is not Edge Manager's: {error}", remedy="Deploy the package again"
        ) from None


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more
