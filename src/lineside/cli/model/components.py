"""The work of `lineside model component` and `publish`: a package as a Greengrass component, written, sent to AWS."""

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lineside import __version__
from lineside.cli.model.aws_clients import clients
from lineside.cli.model.commands import refusals
from lineside.errors import LinesideError
from lineside.packages import read_manifest
from lineside.recipes import writing
from lineside.recipes.checking import check
from lineside.recipes.publishing import publish, read_component
from lineside.recipes.rendering import PLATFORMS, SCRIPT, Place, model_recipe, packaged


def write_component(
    package: Path,
    out: Path,
    *,
    registry: str,
    bucket: str,
    version: str,
    name: str | None,
    description: str | None,
    operating_system: str,
    platform: Sequence[str],
    digests: Path | None,
    lineside_version: str | None,
    unsigned: bool,
) -> None:
    """Write the recipe and the artifacts of a package's component, and print their paths."""
    with refusals():
        if operating_system != "linux":
            raise LinesideError(f"--platform-os {operating_system}: Lineside's components run on linux")
        signature = package.with_name(f"{package.name}.sig")
        if not signature.is_file() and not unsigned:
            raise LinesideError(
                f"{package} is not signed: there is no {signature}", remedy="lineside model sign, or give --unsigned"
            )
        manifest = read_manifest(package)
        place = Place(registry, bucket, lineside_version or __version__, _platforms(platform))
        if digests is not None:
            found = writing.read_digests(digests)
            image = f"{registry}/inference"
            if image not in found:
                raise LinesideError(f"{digests}: has no digest of {image}", remedy="add a line for it")
            place = Place(place.registry, place.bucket, place.version, place.platforms, digests=found)
        brought = packaged(
            manifest.name,
            manifest.archive_name,
            version,
            name=name,
            description=description,
            is_signed=signature.is_file(),
        )
        recipe = model_recipe(brought, place)
        if wrong := check(recipe).findings:
            raise LinesideError(f"the recipe would be wrong: {wrong[0]}", remedy="Correct what it names")
        script = place.artifact(f"{place.version}/{SCRIPT}")
        texts = {
            f"{brought.name}.yaml": recipe,
            f"artifacts/{_key(script)}": writing.SOURCE.read_text(encoding="utf-8"),
        }
        _make_room(out)
        writing.write(out, texts)
        files = [out / each for each in texts]
        for path, source in zip(brought.artifacts, (package, signature), strict=False):
            there = out / "artifacts" / _key(place.artifact(path))
            _copy(source, there)
            files.append(there)
    for file in files:
        sys.stdout.write(f"{file}\n")
    sys.stdout.write(f"next: lineside model publish {out}\n")


def publish_component(folder: Path, region: str | None) -> None:
    """Publish what `write_component` wrote, and say of each thing whether it was there."""
    with refusals():
        component = read_component(folder)
        bucket, components = clients(region)
        is_new = publish(component, bucket, components, _say, time.sleep)
    _say("published" if is_new else "nothing was changed: all of it was there")


def _platforms(wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the platforms that fit every word: an architecture and a nucleus together mean one."""
    for each in wanted:
        writing.platforms_of([each])
    return tuple(name for name in PLATFORMS if all(each in {name, *name.split("-")} for each in wanted))


def _key(address: str) -> str:
    return address.removeprefix("s3://").partition("/")[2]


def _make_room(out: Path) -> None:
    """Refuse a folder that has another recipe: one is published at a time."""
    if out.is_dir() and any(out.glob("*.yaml")):
        raise LinesideError(f"{out} has a recipe already", remedy="Name a new folder, or empty it")


def _copy(source: Path, there: Path) -> None:
    try:
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, there)
    except OSError as error:
        raise LinesideError(f"{there}: cannot be written: {error.strerror}", remedy="give another --out") from None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
