"""The work of `lineside recipe render`: which digests, the files, and that they are right before anybody uses them."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from lineside.errors import LinesideError
from lineside.recipes import dialect
from lineside.recipes.checking import check, check_together
from lineside.recipes.device_role import documents
from lineside.recipes.rendering import PLATFORMS, SCRIPT, Place, images, is_classic, recipes

SOURCE = Path(__file__).with_name(SCRIPT)
ANSWER_S = 20.0


def platforms_of(wanted: Iterable[str]) -> tuple[str, ...]:
    """Return platforms by name, or by a nucleus or an architecture that several have; all where none is wanted.

    Raises LinesideError for a name that is none.
    """
    found: list[str] = []
    for each in wanted:
        fitting = [name for name in PLATFORMS if each in {name, *name.split("-")}]
        if not fitting:
            raise LinesideError(
                f"--platform {each}: is no platform",
                remedy=f"classic, lite, arm64, amd64, or one of {', '.join(PLATFORMS)}",
            )
        found += fitting
    return tuple(name for name in PLATFORMS if name in found) or tuple(PLATFORMS)


def with_digests(place: Place, file: Path) -> Place:
    """Return the place with the digests of a file; raises LinesideError where one is wrong or missing there."""
    known = read_digests(file)
    if missing := [name for name in images(place) if name not in known]:
        raise LinesideError(f"{file}: has no digest of {', '.join(missing)}", remedy="add a line for it, or use --pin")
    return replace(place, digests=known)


def read_digests(file: Path) -> dict[str, str]:
    """Return digests by image name from lines `registry/name@sha256:...`; a tag before the digest is left out.

    Lines may begin with `VARIABLE=`, as docker/pin.py writes them. Raises LinesideError that names the line.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LinesideError(
            f"{file}: cannot be read: {error}", remedy="name a file of lines image@sha256:..."
        ) from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, at, digest = text.rpartition("=")[2].rpartition("@")
        if not at or not name or not dialect.DIGEST.fullmatch(digest):
            raise LinesideError(
                f"{file}:{number}: {text!r} is no image with its digest", remedy="write image@sha256:..."
            )
        first, slash, last = name.rpartition("/")
        found[f"{first}{slash}{last.partition(':')[0]}"] = digest
    return found


def pinned(place: Place) -> Place:
    """Return the place with the digests that this machine's Docker knows of the images of one version.

    Raises LinesideError for an image that is not here, or was never pushed: it has no digest of a registry.
    """
    found = {}
    for name in images(place):
        tagged = f"{name}:{place.version}"
        argv = ["docker", "image", "inspect", "--format", "{{json .RepoDigests}}", tagged]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=ANSWER_S)  # noqa: S603 - our own words
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LinesideError(f"docker cannot be asked: {error}", remedy="give --digests FILE instead") from None
        if done.returncode:
            raise LinesideError(
                f"{tagged} is not on this machine", remedy=f"docker pull {tagged}, or build and push it"
            )
        known = [str(each).rpartition("@") for each in json.loads(done.stdout or "null") or ()]
        digests = [digest for repository, _at, digest in known if repository == name]
        if not digests:
            raise LinesideError(f"{tagged} has no digest of {name}", remedy=f"docker push {tagged}, and render again")
        found[name] = digests[0]
    return replace(place, digests=found)


def files(place: Place, models: Mapping[str, str]) -> dict[str, str]:
    """Return every file by its path: the recipes, the artifacts as they have to lie in the bucket, the device's rights.

    Raises LinesideError where a recipe would be wrong, for instance because of a registry that is none.
    """
    for component in place.components:
        if component.is_classic_only and not is_classic(place):
            raise LinesideError(
                f"{component.name} is a component of the classic nucleus only",
                remedy="leave --edge-manager out, or render for --platform classic too",
            )
    texts = recipes(place, models)
    findings = check_together({name: check(text) for name, text in texts.items()})
    for name, found in findings.items():
        if found:
            raise LinesideError(f"{name}:{found[0]}", remedy="correct --registry, --bucket, --version or --model")
    key = place.artifact(f"{place.version}/{SCRIPT}").partition(f"s3://{place.bucket}/")[2]
    return {**texts, f"artifacts/{key}": SOURCE.read_text(encoding="utf-8"), **documents(place)}


def write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files below a folder; raises LinesideError where that cannot be."""
    try:
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LinesideError(f"{folder}: cannot be written: {error.strerror}", remedy="give another --out") from None
