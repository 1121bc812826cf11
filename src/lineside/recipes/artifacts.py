"""The rules of a manifest's artifacts: image names as the nucleus parses them, files, what they depend on."""

from collections.abc import Collection, Iterator

from lineside.greengrass.services import DOCKER_MANAGER, PRIVATE_REGISTRY, TOKEN_EXCHANGE
from lineside.recipes import dialect
from lineside.recipes.document import Value
from lineside.recipes.findings import Finding, flag, unknown_keys

_DOCKER = "docker:"
_ALLOWED = {"Read": ("NONE", "OWNER", "ALL"), "Execute": ("NONE", "OWNER", "ALL")}


def kinds(artifacts: Value | None) -> frozenset[str]:
    """Return what a manifest brings: `docker` for an image, `file` for a file, `archive` for one that is unpacked."""
    found = set()
    for _place, artifact in artifacts.entries() if artifacts else ():
        uri, unarchive = artifact.get("Uri"), artifact.get("Unarchive")
        is_image = uri is not None and str(uri.data).startswith(_DOCKER)
        is_archive = unarchive is not None and unarchive.data not in {None, "NONE"}
        found |= {"docker"} if is_image else {"file", "archive"} if is_archive else {"file"}
    return frozenset(found)


def findings(artifacts: Value | None, path: str, dependencies: Collection[str], *, is_lite: bool) -> Iterator[Finding]:
    """Yield what is wrong with a manifest's artifacts; `dependencies` are the names that the recipe depends on."""
    if artifacts is None:
        return
    where = f"{path}.Artifacts"
    if not isinstance(artifacts.data, list):
        yield flag(artifacts, where, "type-wrong", "expected a list of artifacts")
        return
    for place, artifact in artifacts.entries():
        yield from _artifact(artifact, f"{where}.{place}", dependencies, is_lite=is_lite)


def _artifact(artifact: Value, path: str, dependencies: Collection[str], *, is_lite: bool) -> Iterator[Finding]:
    yield from unknown_keys(artifact, path, dialect.ARTIFACT_KEYS, "an artifact")
    uri, unarchive, permission = (artifact.get(key) for key in ("Uri", "Unarchive", "Permission"))
    if unarchive is not None and unarchive.data not in {"NONE", "ZIP"}:
        yield flag(unarchive, f"{path}.Unarchive", "artifact-unarchive", "NONE or ZIP")
    if permission is not None:
        yield from unknown_keys(permission, f"{path}.Permission", dialect.PERMISSION_KEYS, "a permission")
        for key, allowed in _ALLOWED.items():
            given = permission.get(key)
            if given is not None and given.data not in allowed:
                yield flag(given, f"{path}.Permission.{key}", "artifact-permission", f"one of {', '.join(allowed)}")
    where = f"{path}.Uri"
    if uri is None:
        yield (
            flag(artifact, where, "key-missing", "must be given")
            if isinstance(artifact.data, dict)
            else flag(artifact, path, "type-wrong", "expected Uri and others")
        )
        return
    if is_lite and isinstance(artifact.data, dict) and "Uri" not in artifact.data:
        yield flag(uri, where, "lite-case", "nucleus lite reads the key Uri in this spelling only")
    text = uri.text or ""
    if text.startswith(_DOCKER):
        yield from _image(uri, text.removeprefix(_DOCKER), where, dependencies, is_lite=is_lite)
    elif not dialect.S3_URI.fullmatch(text) and not text.startswith("greengrass:"):
        yield flag(uri, where, "artifact-uri", "expected s3://<bucket>/<key> or docker:<image>")


def _image(uri: Value, image: str, path: str, dependencies: Collection[str], *, is_lite: bool) -> Iterator[Finding]:
    """Yield what is wrong with one image's name, and with the dependencies that its download asks for."""
    name, at, digest = image.partition("@")
    first, slash, rest = name.rpartition("/")
    last, colon, tag = rest.partition(":")
    if at and colon:
        yield flag(uri, path, "image-tag-and-digest", "a tag or a digest, never both: the nucleus refuses the name")
        return
    parts = [*(first.split("/") if slash else []), last]
    registry = parts[0] if len(parts) > 1 else None
    names = parts[1:] if registry is not None else parts
    is_right = (
        (registry is None or dialect.REGISTRY.fullmatch(registry) is not None)
        and all(dialect.IMAGE_PART.fullmatch(part) for part in names)
        and (not colon or dialect.TAG.fullmatch(tag) is not None)
        and (not at or dialect.DIGEST.fullmatch(digest) is not None)
    )
    if not is_right:
        says = (
            "expected docker:[registry/]name:tag or docker:[registry/]name@sha256:<64 digits>, the name in lower case"
        )
        yield flag(uri, path, "image-malformed", says)
        return
    if not at and tag in {"", "latest"}:
        says = "without a version it is pulled anew at each deployment, and fails offline; give a tag or a digest"
        yield flag(uri, path, "image-latest", says)
    if not is_lite and DOCKER_MANAGER not in dependencies:
        says = f"needs {DOCKER_MANAGER} in ComponentDependencies: no image is pulled without it"
        yield flag(uri, path, "docker-manager-missing", says)
    if registry and PRIVATE_REGISTRY.fullmatch(registry) and TOKEN_EXCHANGE not in dependencies:
        says = f"needs {TOKEN_EXCHANGE} in ComponentDependencies: a private registry asks for credentials"
        yield flag(uri, path, "token-exchange-missing", says)
