"""What a recipe says of its images, architectures and dependencies. Pure."""

from collections.abc import Mapping
from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "arm64": "aarch64"}


def _get(group: Any, name: str) -> Any:
    if not isinstance(group, Mapping):
        return None
    return next((each for key, each in group.items() if str(key).lower() == name), None)


def manifests(recipe: Mapping[str, Any]) -> list[Any]:
    """Return the manifests."""
    found = _get(recipe, "manifests")
    return found if isinstance(found, list) else []


def images(recipe: Mapping[str, Any]) -> list[str]:
    """Return the images of all manifests, each once, without `docker:`."""
    artifacts = [each for manifest in manifests(recipe) for each in _get(manifest, "artifacts") or []]
    uris = [str(_get(each, "uri") or "") for each in artifacts]
    return list(dict.fromkeys(uri.removeprefix("docker:") for uri in uris if uri.startswith("docker:")))


def architectures(recipe: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the architectures that it has manifests for, None for all or where a pattern says."""
    named = [str(_get(_get(each, "platform"), "architecture") or "*") for each in manifests(recipe)]
    if not named or any(each == "*" or each.startswith("/") for each in named):
        return None
    return frozenset(ARCHITECTURES.get(each, each) for each in named)


def dependencies(recipe: Mapping[str, Any]) -> list[str]:
    """Return the components that it depends on, by name."""
    found = _get(recipe, "componentdependencies")
    return sorted(map(str, found)) if isinstance(found, Mapping) else []
