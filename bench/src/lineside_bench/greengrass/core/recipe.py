"""A recipe as it is written, and what of it fits one platform. Pure.

Keys and steps are read in any case, as the classic nucleus does since 2.10.2. The first manifest that fits the platform
is taken. Source: the recipe reference of the Greengrass V2 developer guide.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from semantic_version import NpmSpec, Version

from lineside.settings import close_to
from lineside_bench.errors import BenchError
from lineside_bench.greengrass.core.reading import Node

TIMEOUTS_S: Mapping[str, float | None] = MappingProxyType(
    {
        "bootstrap": 120.0,
        "install": 120.0,
        "startup": 120.0,
        "run": None,
        "shutdown": 15.0,
        "recover": 60.0,
        "uninstall": 120.0,
    }
)
"""The steps, each with the time limit that it has where the recipe gives none, in seconds."""
LITE = "aws_nucleus_lite"
_SETENV = "setenv"
_ALL = "all"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


class DependencyType(StrEnum):
    """HARD: started before, and its end restarts who depends on it. SOFT: deployed with it, and no more."""

    HARD = "HARD"
    SOFT = "SOFT"


@dataclass(frozen=True)
class Dependency:
    """A component that another needs, in which versions."""

    name: str
    requirement: str
    kind: DependencyType = DependencyType.HARD

    def allows(self, version: str) -> bool:
        """Return whether a version is in the range."""
        return Version(version) in NpmSpec(self.requirement)


@dataclass(frozen=True)
class Step:
    """One step of a lifecycle; `timeout_s` None: it may take for ever."""

    script: str
    timeout_s: float | None
    privileged: bool = False
    skip_if: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """A file or an image that a manifest brings; `unarchive`: NONE or ZIP."""

    uri: str
    unarchive: str = "NONE"
    executable: bool = False

    @property
    def image(self) -> str | None:
        """The image's name, of an artifact that is one."""
        return self.uri.removeprefix("docker:") if self.uri.startswith("docker:") else None


@dataclass(frozen=True)
class Manifest:
    """What a component does on the platforms that it fits."""

    name: str
    platform: Mapping[str, str]
    steps: Mapping[str, Step]
    environment: Mapping[str, str]
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True)
class Recipe:
    """One version of one component."""

    name: str
    version: str
    default: Mapping[str, Any]
    dependencies: tuple[Dependency, ...]
    manifests: tuple[Manifest, ...]
    place: str = ""
    """The file that it was read from."""
    document: Mapping[str, Any] = field(default_factory=dict)
    """It as it was written, for a core that is started again."""

    def fitting(self, platform: Mapping[str, str]) -> Manifest | None:
        """Return the first manifest that fits a platform, None where none does."""
        return next((each for each in self.manifests if fits(each.platform, platform)), None)


def fits(wanted: Mapping[str, str], platform: Mapping[str, str]) -> bool:
    """Return whether a device is of the platform that a manifest is for.

    A value is compared whole; `*` is any value that the device has; `/x/` is an expression that matches all of it. A
    manifest that names no runtime is for the classic nucleus only: `*` or the lite nucleus' own name is for that one.
    """
    if platform.get("runtime") == LITE and "runtime" not in wanted:
        return False
    return all(_agrees(value, platform.get(name)) for name, value in wanted.items())


def _agrees(wanted: str, given: str | None) -> bool:
    if wanted in {"*", _ALL}:
        return wanted == _ALL or given is not None
    if given is None:
        return False
    if len(wanted) > 1 and wanted[0] == wanted[-1] == "/":
        return re.fullmatch(wanted[1:-1], given) is not None
    return wanted == given


def read_recipe(root: Node) -> Recipe:
    """Return a recipe; raises BenchError that says where it is wrong."""
    name = root.get("ComponentName")
    if not _NAME.fullmatch(name.text()):
        raise name.wrong("a component's name: letters, digits, dots, _ and -, at most 128")
    version = root.get("ComponentVersion")
    _version(version)
    overall = root.get("Lifecycle")
    manifests = tuple(_manifest(each, overall) for each in root.get("Manifests").entries())
    if not manifests:
        raise root.get("Manifests").wrong("at least one manifest")
    return Recipe(
        name=name.text(),
        version=version.text(),
        default=root.get("ComponentConfiguration").get("DefaultConfiguration").document(),
        dependencies=tuple(_dependency(*each) for each in root.get("ComponentDependencies").items()),
        manifests=manifests,
        place=root.place,
        document=root.document(),
    )


def _version(node: Node) -> None:
    try:
        Version(node.text())
    except ValueError:
        raise node.wrong("a version of three numbers, for instance '1.2.0'") from None


def _dependency(name: str, node: Node) -> Dependency:
    requirement, kind = node.get("VersionRequirement"), node.get("DependencyType")
    try:
        NpmSpec(requirement.optional_text(">=0.0.0"))
    except ValueError:
        raise requirement.wrong("a range of versions as npm writes it, for instance '>=1.0.0 <2.0.0'") from None
    given = kind.optional_text(DependencyType.HARD)
    if given.upper() not in DependencyType.__members__:
        raise kind.wrong("HARD or SOFT")
    return Dependency(name, requirement.optional_text(">=0.0.0"), DependencyType(given.upper()))


def _manifest(node: Node, overall: Node) -> Manifest:
    platform = {}
    for name, value in node.get("Platform").items():
        platform[name] = value.text()
        if platform[name].startswith("/"):
            _expression(value)
    own = node.get("Lifecycle")
    selections = [each.text() for each in node.get("Selections").entries()] or [_ALL]
    lifecycle = own if own.value is not None else _selected(overall, selections)
    environment = _environment(lifecycle.get(_SETENV))
    steps = {
        key.lower(): _step(key.lower(), each, environment)
        for key, each in lifecycle.items()
        if key.lower() != _SETENV and each.value not in (None, "")
    }
    if "startup" in steps and "run" in steps:
        raise BenchError(
            f"{lifecycle.place} has startup and run; a component has one of them",
            remedy="Keep `run` for what runs for ever, `startup` for what reports when it is ready",
        )
    return Manifest(
        name=node.get("Name").optional_text(),
        platform=platform,
        steps=steps,
        environment=environment,
        artifacts=tuple(_artifact(each) for each in node.get("Artifacts").entries()),
    )


def _expression(node: Node) -> None:
    try:
        re.compile(node.text().strip("/"))
    except re.error:
        raise node.wrong("a value, or an expression between two slashes") from None


def _selected(overall: Node, selections: list[str]) -> Node:
    """Return the lifecycle for all manifests as one of them selects it: by keys above the steps, or below each."""
    by_name = dict(overall.items())
    for selection in [*selections, _ALL]:
        if selection in by_name and selection.lower() not in TIMEOUTS_S:
            return by_name[selection]
    made = {}
    for name, node in by_name.items():
        if name.lower() not in {*TIMEOUTS_S, _SETENV}:
            continue
        below = dict(node.items()) if isinstance(node.value, Mapping) else {}
        chosen = next((below[each] for each in [*selections, _ALL] if each in below), node)
        made[name] = chosen.value
    return Node(made, overall.place)


def _step(name: str, node: Node, around: Mapping[str, str]) -> Step:
    if name not in TIMEOUTS_S:
        raise BenchError(
            f"{node.place}: no such step{close_to(name, list(TIMEOUTS_S))}; the steps are {', '.join(TIMEOUTS_S)}",
            remedy="Correct its name",
        )
    if isinstance(node.value, str):
        return Step(node.value, TIMEOUTS_S[name], environment=around)
    script = node.get("Script")
    if not isinstance(script.value, str):
        raise script.wrong("a script, as text")
    limit = node.get("Timeout").optional_seconds()
    return Step(
        script=script.value,
        timeout_s=limit if limit is not None else TIMEOUTS_S[name],
        privileged=node.get("RequiresPrivilege").flag(),
        skip_if=_skip(node.get("Skipif")),
        environment={**around, **_environment(node.get(_SETENV))},
    )


def _skip(node: Node) -> str:
    """Return `onpath NAME` or `exists FILE`, empty where the step is never skipped."""
    text = node.optional_text()
    if text and text.partition(" ")[0].lower() not in {"onpath", "exists"}:
        raise node.wrong("'onpath <program>' or 'exists <file>'")
    return text


def _environment(node: Node) -> dict[str, str]:
    made = {}
    for name, value in node.items():
        if isinstance(value.value, dict | list):
            raise value.wrong("text")
        made[name] = str(value.value).lower() if isinstance(value.value, bool) else str(value.value or "")
    return made


def _artifact(node: Node) -> Artifact:
    unarchive = node.get("Unarchive")
    if unarchive.optional_text("NONE").upper() not in {"NONE", "ZIP"}:
        raise unarchive.wrong("NONE or ZIP")
    execute = node.get("Permission").get("Execute")
    if execute.optional_text("NONE").upper() not in {"NONE", "OWNER", "ALL"}:
        raise execute.wrong("NONE, OWNER or ALL")
    return Artifact(
        uri=node.get("Uri").text(),
        unarchive=unarchive.optional_text("NONE").upper(),
        executable=execute.optional_text("NONE").upper() != "NONE",
    )
