"""A component of a model goes to AWS: its artifacts into the bucket, then the recipe; again, it changes nothing.

The order counts: a recipe whose artifacts are missing fails on every device. What is in the bucket, or is a component's
version, is compared and never replaced: a number that is out means one content for ever.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lineside.errors import LinesideError
from lineside.recipes import document
from lineside.recipes.checking import check
from lineside.recipes.comparing import canonical, differences

MAX_OBJECT = 5 * 1024**3
"""What one put takes."""
_CHUNK = 1024 * 1024
_TRIES = 30


class PublishRefused(LinesideError):
    """A component is not published; what is in the bucket and in Greengrass is as it was, or lacks the last step."""

    code = "publish-refused"


class Bucket(Protocol):
    """What is asked of S3; boto3's client behind it."""

    def sha256(self, bucket: str, key: str) -> str | None:
        """Return an object's SHA-256, None where there is none."""

    def put(self, bucket: str, key: str, file: Path, sha256: str) -> bool:
        """Put a file there, checked by its SHA-256 on arrival; return False where an object came in between."""


class Components(Protocol):
    """What is asked of Greengrass; boto3's client behind it."""

    def recipe(self, name: str, version: str) -> str | None:
        """Return a version's recipe as JSON, None where there is none."""

    def create(self, recipe: str) -> None:
        """Make a version; raises PublishRefused where it is there by now."""

    def state(self, name: str, version: str) -> tuple[str, str]:
        """Return a version's state and what is said of it."""


@dataclass(frozen=True)
class Artifact:
    """A file for the bucket."""

    file: Path
    bucket: str
    key: str
    sha256: str

    @property
    def uri(self) -> str:
        """Its address."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Component:
    """A recipe and the files that it needs."""

    name: str
    version: str
    recipe: str
    artifacts: tuple[Artifact, ...]


def read_component(folder: Path) -> Component:
    """Read what `lineside model component` wrote; raises PublishRefused where something is missing or wrong."""
    recipes = sorted(folder.glob("*.yaml"))
    if len(recipes) != 1:
        raise PublishRefused(
            f"{folder} has {len(recipes)} recipes, and one is published at a time",
            remedy="Name the folder that `lineside model component` wrote",
        )
    try:
        text = recipes[0].read_text(encoding="utf-8")
        recipe = document.read(text, is_json=False).plain()
    except (OSError, ValueError) as error:
        raise PublishRefused(f"{recipes[0]}: {error}") from None
    if found := check(text).findings:
        raise PublishRefused(f"{recipes[0]}:{found[0]}", remedy="Make it anew by `lineside model component`")
    artifacts = tuple(_artifact(folder, uri) for uri in dict.fromkeys(_uris(recipe)))
    return Component(str(recipe["ComponentName"]), str(recipe["ComponentVersion"]), json.dumps(recipe), artifacts)


def publish(
    component: Component,
    bucket: Bucket,
    components: Components,
    say: Callable[[str], None],
    pause: Callable[[float], None],
) -> bool:
    """Publish; return whether anything was new. Raises PublishRefused, and what the clients raise."""
    known = components.recipe(component.name, component.version)
    if known is not None and (different := differing(component.recipe, known)):
        raise PublishRefused(
            f"component {component.name} {component.version} exists with another content: {different}",
            remedy="Give the new one another version",
        )
    news = [bucket.sha256(each.bucket, each.key) for each in component.artifacts]
    for artifact, there in zip(component.artifacts, news, strict=True):
        _compare(artifact, there)
    for artifact, there in zip(component.artifacts, news, strict=True):
        if there is None and not bucket.put(artifact.bucket, artifact.key, artifact.file, artifact.sha256):
            _compare(artifact, bucket.sha256(artifact.bucket, artifact.key))
        say(f"{artifact.uri}: {'is there' if there else 'put'}, SHA-256 {artifact.sha256}")
    if known is None:
        components.create(component.recipe)
        _await(component, components, pause)
    say(f"{component.name} {component.version}: {'is there' if known is not None else 'deployable'}")
    return known is None or None in news


def differing(ours: str, theirs: str) -> str:
    """Return where two recipes differ, empty where they say the same: AWS fills in digests and defaults."""
    return next(differences(canonical(json.loads(ours)), canonical(json.loads(theirs))), "")


def sha256_of(file: Path) -> str:
    """Return a file's SHA-256; raises OSError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def as_base64(sha256: str) -> str:
    """Return a SHA-256 as S3 writes it."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()


def _compare(artifact: Artifact, there: str | None) -> None:
    if there not in {None, artifact.sha256}:
        raise PublishRefused(
            f"{artifact.uri} is there with another content (SHA-256 {there}, here {artifact.sha256})",
            remedy="Give the component another version: devices may have the other one",
        )


def _await(component: Component, components: Components, pause: Callable[[float], None]) -> None:
    for attempt in range(_TRIES):
        state, says = components.state(component.name, component.version)
        if state == "DEPLOYABLE":
            return
        if state in {"FAILED", "DEPRECATED"}:
            raise PublishRefused(
                f"component {component.name} {component.version} cannot be deployed: {state}: {says}",
                remedy="Correct it, and give it another version",
            )
        pause(min(10.0, 0.5 * 2**attempt))
    raise PublishRefused(
        f"component {component.name} {component.version} is not deployable yet",
        remedy="AWS still works on it: publish it again",
    )


def _uris(recipe: Mapping[str, Any]) -> Iterator[str]:
    for manifest in recipe.get("Manifests") or ():
        for artifact in manifest.get("Artifacts") or ():
            uri = str(artifact.get("Uri", artifact.get("URI", "")))
            if uri.startswith("s3://"):
                yield uri


def _artifact(folder: Path, uri: str) -> Artifact:
    bucket, _slash, key = uri.removeprefix("s3://").partition("/")
    file = folder / "artifacts" / key
    if ".." in key.split("/") or not file.is_file():
        raise PublishRefused(f"{file} is not there, and the recipe names {uri}", remedy="Make the component anew")
    if file.stat().st_size > MAX_OBJECT:
        raise PublishRefused(f"{file} has {file.stat().st_size} bytes; {MAX_OBJECT} are put at once")
    return Artifact(file, bucket, key, sha256_of(file))
