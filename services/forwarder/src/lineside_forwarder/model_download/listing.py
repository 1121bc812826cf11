"""What lies in a folder of S3, and whether it is models as Triton reads them. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lineside.contract import NAME_PATTERN
from lineside.greengrass.model_uri import S3Folder
from lineside_forwarder.model_download.errors import NotFetched

CONFIG, CARD = "config.pbtxt", "card.yaml"
MAX_FILES = 1000
MAX_BYTES = 16 * 1024**3
"""Of all files together; a folder by mistake, as that of a data set, is larger."""
_MAX_NAME_BYTES = 255
_GIB = 1024**3
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_VERSION = re.compile(r"[1-9][0-9]*")
_DOTTED = re.compile(r"v?[0-9]+([._-][0-9A-Za-z]+)*", re.IGNORECASE)
"""A folder's name that is a version, as v1.4 or 2026-04-09, and no model's name."""
_TOKEN = re.compile(r"""\#[^\n]*|"((?:\\.|[^"\\\n])*)"|'((?:\\.|[^'\\\n])*)'|[A-Za-z_]\w*|[^\s]""")


@dataclass(frozen=True)
class Entry:
    """One file: its path below the folder, its size in bytes, and the mark by which S3 knows its content."""

    path: str
    size: int
    etag: str


@dataclass(frozen=True)
class Package:
    """One model: its folder below the S3 folder, empty where it is that itself, and its versions."""

    folder: str
    versions: tuple[str, ...]

    def inside(self, name: str) -> str:
        """Return the path of one of its files below the S3 folder."""
        return f"{self.folder}/{name}" if self.folder else name


def entries(folder: S3Folder, objects: Iterable[Mapping[str, Any]]) -> tuple[Entry, ...]:
    """Return the files of a folder, from the pages of ListObjectsV2; raises NotFetched at the first bound."""
    found: list[Entry] = []
    total = 0
    for each in objects:
        key: str = each["Key"]
        path = key[len(folder.prefix) :]
        if not path or key.endswith("/"):
            continue  # what consoles make to show a folder
        _check_path(folder, path)
        total += each["Size"]
        found.append(Entry(path, each["Size"], each["ETag"]))
        if len(found) > MAX_FILES:
            raise NotFetched(
                f"{folder} has more than {MAX_FILES} files",
                remedy="let ModelS3URI name the folder of one model, or one with models and nothing else",
            )
        if total > MAX_BYTES:
            raise NotFetched(
                f"{folder} has more than {MAX_BYTES // _GIB} GiB",
                remedy="let ModelS3URI name the folder of one model, or deploy large ones one by one",
            )
    if not found:
        raise NotFetched(
            f"nothing is under {folder}",
            remedy="upload the model there (aws s3 sync), or correct ModelS3URI; it names a folder and no archive",
        )
    _check_tree(folder, found)
    return tuple(found)


def packages(folder: S3Folder, files: Iterable[Entry]) -> tuple[Package, ...]:
    """Return the models of a folder: it is one, or each folder in it is one. Raises NotFetched."""
    paths = {each.path for each in files}
    if CONFIG in paths:
        return (_package(folder, "", paths),)
    inner = sorted({path.partition("/")[0] for path in paths if "/" in path})
    if not any(f"{name}/{CONFIG}" in paths for name in inner):
        raise NotFetched(
            f"{folder} has no {CONFIG}, and no folder in it has",
            remedy="upload the model's folder as Triton reads it: config.pbtxt, card.yaml, 1/model.onnx",
        )
    return tuple(_package(folder, name, paths) for name in inner)


def wanted(files: Iterable[Entry], found: Iterable[Package]) -> tuple[Entry, ...]:
    """Return the files that a repository has of its models: beside the configuration, and in the versions' folders."""
    own = {each.folder: each for each in found}
    kept = []
    for file in files:
        folder, _slash, rest = ("", "", file.path) if "" in own else file.path.partition("/")
        top, slash, _more = rest.partition("/")
        if folder in own and rest and (not slash or top in own[folder].versions):
            kept.append(file)
    return tuple(kept)


def model_name(folder: S3Folder, package: Package, config: str) -> str:
    """Return how Triton shall know a model: by its configuration's name, else by its folder's; raises NotFetched."""
    where = f"{folder}{package.inside(CONFIG)}"
    steps = [step for step in folder.prefix.split("/") if step and not _DOTTED.fullmatch(step)]
    name = _top_name(config) or package.folder or (steps[-1] if steps else "")
    if not name:
        raise NotFetched(f"{where} names no model, and no folder does", remedy='write name: "..." into it')
    if not re.fullmatch(NAME_PATTERN, name):
        raise NotFetched(
            f"{where} stands for a model {name!r:.140}",
            remedy="give it a name of letters, digits, '.', '_' and '-', the first a letter or digit",
        )
    return name


def _package(folder: S3Folder, inner: str, paths: set[str]) -> Package:
    start = f"{inner}/" if inner else ""
    if missing := [name for name in (CONFIG, CARD) if f"{start}{name}" not in paths]:
        raise NotFetched(
            f"{folder}{start} has no {' and no '.join(missing)}",
            remedy="upload it beside the versions' folders (docs/how-to/add-a-model.md)",
        )
    rests = [path[len(start) :] for path in paths if path.startswith(start)]
    inside = {rest.partition("/")[0] for rest in rests if "/" in rest}
    versions = sorted((each for each in inside if _VERSION.fullmatch(each)), key=int)
    if not versions:
        raise NotFetched(f"{folder}{start} has no folder of a version", remedy="upload the model's file into 1/")
    return Package(inner, tuple(versions))


def _check_path(folder: S3Folder, path: str) -> None:
    steps = path.split("/")
    is_wrong = any(step in {"", ".", ".."} or len(step.encode()) > _MAX_NAME_BYTES for step in steps)
    if is_wrong or _CONTROL.search(path):
        raise NotFetched(
            f"{folder} has the key {folder.prefix + path!r:.200}, which is no file's path",
            remedy="delete it there: no empty name, '.', '..', backslash or control character may be in it",
        )


def _check_tree(folder: S3Folder, files: Iterable[Entry]) -> None:
    """Refuse a name that is a file and a folder at once, which only S3 can have."""
    paths = {each.path for each in files}
    for path in paths:
        for place, letter in enumerate(path):
            if letter == "/" and path[:place] in paths:
                raise NotFetched(
                    f"{folder} has {path[:place]!r:.200} as a file and as a folder", remedy="delete one of them there"
                )


def _top_name(config: str) -> str:
    """Return the value of `name` at the top of a protobuf text; empty where there is none."""
    depth = 0
    before: tuple[str, str] = ("", "")
    for token, text in _tokens(config):
        if token in {"{", "[", "<"}:
            depth += 1
        elif token in {"}", "]", ">"}:
            depth -= 1
        elif text is not None and depth == 0 and before == ("name", ":"):
            return text
        before = (before[1], token)
    return ""


def _tokens(config: str) -> Iterator[tuple[str, str | None]]:
    """Yield the tokens of a protobuf text, with the value of those that are text; comments are left out."""
    for found in _TOKEN.finditer(config):
        if not found[0].startswith("#"):
            yield found[0], found[1] if found[1] is not None else found[2]
