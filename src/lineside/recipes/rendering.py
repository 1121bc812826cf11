"""A component becomes a recipe: text in the YAML dialect that the classic nucleus and nucleus lite both read."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lineside.recipes import dialect
from lineside.recipes.components import (
    AARCH64,
    AMD64,
    COMPONENTS,
    ENGINE,
    INFERENCE_URL,
    PREFIX,
    PROCESSORS,
    TRITON,
    Component,
    Dependency,
    Noted,
)
from lineside.settings import merged

SCRIPT = "component.sh"
PLATFORMS: Mapping[str, tuple[str, bool]] = {
    "lite-arm64": (AARCH64, True),
    "lite-amd64": (AMD64, True),
    "classic-arm64": (AARCH64, False),
    "classic-amd64": (AMD64, False),
}
"""Architecture and whether it is nucleus lite, strictest first: the first manifest that fits is taken."""
RECOVER_S = 90
MODEL_S = 600
SERVES_S = 1260
"""For Triton's start, inference's and the model's load; TopicBridge waits as long. The step is given a minute more."""
_WIDTH = 118


@dataclass(frozen=True)
class Place:
    """For whom recipes are written: the images' registry, the artifacts' bucket, the version, the platforms.

    `digests` are images' digests by their name without a tag; what has none is named by the version as its tag.
    `components`: what of ours is deployed there.
    """

    registry: str
    bucket: str
    version: str
    platforms: tuple[str, ...] = tuple(PLATFORMS)
    digests: Mapping[str, str] = field(default_factory=dict)
    components: tuple[Component, ...] = COMPONENTS

    def image(self, name: str) -> str:
        """Return the full name of an image of ours."""
        full = f"{self.registry}/{name}"
        return f"{full}@{self.digests[full]}" if full in self.digests else f"{full}:{self.version}"

    def artifact(self, path: str) -> str:
        """Return the address of a file in the bucket."""
        return f"s3://{self.bucket}/{PREFIX}/{path}"


@dataclass(frozen=True)
class ModelComponent:
    """A model as a component: `where` the script finds it, and its artifacts, paths below the bucket's own folder."""

    model: str
    name: str
    version: str
    description: str
    where: str
    artifacts: tuple[str, ...]
    note: str
    is_zip: bool = False


def zipped(model: str, version: str) -> ModelComponent:
    """Return the component that brings a model's folder, zipped."""
    return ModelComponent(
        model,
        model_component(model),
        version,
        _described(model),
        f'"{{artifacts:decompressedPath}}/{model}"',
        (f"models/{model}/{version}/{model}.zip",),
        "The model's folder of the repository, zipped: config.pbtxt, card.yaml, 1/model.onnx.",
        is_zip=True,
    )


def packaged(
    model: str, archive: str, version: str, *, name: str | None = None, description: str | None = None, is_signed: bool
) -> ModelComponent:
    """Return the component that brings a package, and its signature where it has one."""
    files = (archive, f"{archive}.sig") if is_signed else (archive,)
    return ModelComponent(
        model,
        name or model_component(model),
        version,
        description or _described(model),
        f'"{{artifacts:path}}/{archive}"',
        tuple(f"models/{model}/{version}/{file}" for file in files),
        "The package as `lineside model pack` made it, and its signature." if is_signed else "The package, not signed.",
    )


def model_recipe(component: ModelComponent, place: Place) -> str:
    """Return the recipe of a model's component."""
    return _text(_model(component, place))


def _described(model: str) -> str:
    return f"The model {model}; it can change while everything else runs on."


def recipes(place: Place, models: Mapping[str, str]) -> dict[str, str]:
    """Return the recipes by file name: the components', and one for each model (version by its name in Triton)."""
    found = {}
    for component in place.components:
        extra = [model_dependency(name, version) for name, version in models.items()] if component is TRITON else []
        found[f"{component.name}.yaml"] = _text(_component(component, place, extra))
    for name, version in models.items():
        found[f"{model_component(name)}.yaml"] = model_recipe(zipped(name, version), place)
    return found


def images(place: Place) -> tuple[str, ...]:
    """Return the names, without tag, of every image that the recipes name."""
    wanted = {architecture for architecture, _lite in (PLATFORMS[each] for each in place.platforms)}
    names = {name for component in place.components for arch, name in component.images.items() if arch in wanted}
    return tuple(sorted(f"{place.registry}/{name}" for name in names))


def model_component(name: str) -> str:
    """Return the component of a model, for instance com.lineside.Model.SurfaceDefect for surface-defect."""
    return f"{PREFIX}.Model.{''.join(part[:1].upper() + part[1:] for part in re.split('[-_.]', name))}"


def model_dependency(name: str, version: str) -> Dependency:
    """Return what binds Triton to a model: it comes along, and can change without Triton."""
    return Dependency(model_component(name), f">={version}", "A model; it changes while Triton runs")


_ACCESS_NOTE = (
    "A change of accessControl does not reach a device that has the component, unless the deployment resets it",
    '("reset": ["/accessControl"]). The nucleus needs interpolateComponentConfiguration to put the thing in.',
)
_LITE_NOTE = (
    "Nucleus lite knows neither shutdown nor recover: startup clears what the last run left, and the signal of its",
    "systemd lets the container finish the part.",
)


def _text(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"


def _component(component: Component, place: Place, extra: Sequence[Dependency]) -> Iterator[str]:
    yield from _head(component.name, component.description, component.version or place.version)
    yield from _dependencies([*component.dependencies, *extra], place)
    yield "ComponentConfiguration:"
    yield "  DefaultConfiguration:"
    if component.policies:
        yield from (f"    # {line}" for line in _ACCESS_NOTE)
    own = component.configuration if is_classic(place) else merged(component.configuration, component.on_lite)
    yield from _map({**own, **_access(component)}, "    ")
    yield "Manifests:"
    for name in _ordered(place):
        if not (component.is_classic_only and PLATFORMS[name][1]):
            yield from _manifest(name, component, place)


def _head(name: str, description: str, version: str) -> Iterator[str]:
    yield "# Made by `lineside recipe render`; change src/lineside/recipes/components.py and render it again."
    yield f"RecipeFormatVersion: '{dialect.FORMAT_VERSION}'"
    yield f"ComponentName: {name}"
    yield f"ComponentVersion: '{version}'"
    yield f"ComponentDescription: {_scalar(description)}"
    yield "ComponentPublisher: Lineside"


def _ordered(place: Place) -> list[str]:
    return [name for name in PLATFORMS if name in place.platforms]


def is_classic(place: Place) -> bool:
    """Whether recipes are for the classic nucleus too."""
    return any(not PLATFORMS[name][1] for name in place.platforms)


def _dependencies(dependencies: Sequence[Dependency], place: Place) -> Iterator[str]:
    yield "ComponentDependencies:"
    for each in dependencies:
        if each.classic_only and not is_classic(place):
            continue
        yield f"  # {each.why}."
        if each.classic_only:
            yield "  # On the classic nucleus only: recipes for nucleus lite are rendered with --platform lite."
        yield f"  {each.name}:"
        yield f"    VersionRequirement: '{each.versions.replace('{version}', place.version)}'"
        yield f"    DependencyType: {'HARD' if each.is_hard else 'SOFT'}"


def _access(component: Component) -> dict[str, Any]:
    services: dict[str, dict[str, Any]] = {}
    for each in component.policies:
        short = each.service.removeprefix("aws.greengrass.").removeprefix("ipc.").lower()
        services.setdefault(each.service, {})[f"{component.name}:{short}:{each.number}"] = {
            "policyDescription": each.description,
            "operations": list(each.operations),
            "resources": list(each.resources),
        }
    return {"accessControl": services} if services else {}


def _platform(name: str) -> Iterator[str]:
    architecture, is_lite = PLATFORMS[name]
    yield f"  - Name: {name}"
    yield "    Platform:"
    yield "      os: linux"
    yield f"      architecture: {architecture}"
    if is_lite:
        yield f"      runtime: {dialect.LITE}"


def _manifest(name: str, component: Component, place: Place) -> Iterator[str]:
    architecture, is_lite = PLATFORMS[name]
    image = place.image(component.images[architecture])
    reporter = place.image(component.reporter) if component.reporter else None
    fetcher = place.image(component.fetcher) if component.fetcher else None
    forwarder = place.image(component.forwarder) if component.forwarder else None
    every = [image, *(each for each in (reporter, fetcher, forwarder) if each)]
    yield from _platform(name)
    yield "    Lifecycle:"
    if is_lite:
        yield from (f"      # {line}" for line in _LITE_NOTE)
    machine = (("--machine", architecture, "--room", str(component.room_gib)), component.checks.get(architecture, ()))
    needs = machine if reporter else (*machine, ("--ipc",))
    if component.has_clients:
        needs = (*needs, ("--client-models",))
    if fetcher:
        needs = (*needs, ("--models", '"{configuration:/ModelS3URI}"', fetcher))
    yield from _step("install", component.install_s, component.name, needs, tuple((each,) for each in every))
    teller = (
        "a container of --reporter, once this one is healthy" if reporter else "the service itself, once it is ready"
    )
    yield f"      # RUNNING is reported by {teller}. The script runs until the container ends."
    start = (
        *((("--reporter", reporter),) if reporter else ()),
        *((("--forwarder", forwarder),) if forwarder else ()),
        *component.options,
        (*PROCESSORS, "--stop", str(component.stop_s)),
        ("--",),
        *component.docker,
        *component.only_on.get(architecture, ()),
    )
    yield from _step("startup", component.startup_s, f"{component.name} {component.container} {image}", start)
    if not is_lite:
        yield from _step(
            "shutdown",
            component.stop_s + 15,
            f"{component.name} {component.container} {component.stop_s}",
            (("--forwarder",),) if forwarder else (),
        )
        left = ((*component.recover, image),) if component.recover else (("--forwarder",),) if forwarder else ()
        yield from _step("recover", RECOVER_S, f"{component.name} {component.container}", left)
    yield "    Artifacts:"
    for each in every:
        yield f"      - Uri: docker:{each}"
    yield from _script_artifact(place)


def _script_artifact(place: Place) -> Iterator[str]:
    yield f"      - Uri: {place.artifact(f'{place.version}/{SCRIPT}')}"


def _step(
    step: str, seconds: int, first: str, *rest: Sequence[Sequence[str]], verb: str | None = None
) -> Iterator[str]:
    """Yield a step that calls the script with the step's name, or a verb; groups of words stay in one line."""
    yield f"      {step}:"
    yield f"        Timeout: {seconds}"
    yield "        Script: |-"
    lines = [f"sh {{artifacts:path}}/{SCRIPT} {verb or step} {first}"]
    for words in (" ".join(group) for groups in rest for group in groups if group):
        if len(lines) > 1 and len(lines[-1]) + len(words) + 15 < _WIDTH and "--" not in {lines[-1], words}:
            lines[-1] += f" {words}"
        else:
            lines.append(words)
    for place, line in enumerate(lines):
        more = " \\" if place + 1 < len(lines) else ""
        yield f"          {'  ' if place else ''}{line}{more}"


def _model(brought: ModelComponent, place: Place) -> Iterator[str]:
    """Yield the recipe of a model: `install` puts what came into the repository; then it must serve."""
    component, name, folder = brought.name, brought.model, brought.where
    image = place.image("inference")
    yield from _head(component, brought.description, brought.version)
    yield from _dependencies(ENGINE, place)
    yield "Manifests:"
    for platform in _ordered(place):
        yield from _platform(platform)
        yield "    Lifecycle:"
        is_lite = PLATFORMS[platform][1]
        container = f"lineside-model-{name}"
        yield from _step("install", MODEL_S, f"{component}", ((image, name),), ((folder,),), verb="model")
        yield "      # RUNNING only once inference says that it serves; what it refused ends the step with the reason."
        tell = (("--tell",),) if is_lite else ()
        yield from _step(
            "startup",
            SERVES_S + 60,
            f"{component} {container}",
            ((image, name), (folder,), (INFERENCE_URL, str(SERVES_S)), *tell),
            verb="serves",
        )
        if not is_lite:
            left = (("--staging", image, name),)
            yield from _step("recover", RECOVER_S, f"{component} {container}", left)
        yield "    Artifacts:"
        yield f"      - Uri: docker:{image}"
        yield from _script_artifact(place)
        yield f"      # {brought.note}"
        for path in brought.artifacts:
            yield f"      - Uri: {place.artifact(path)}"
            if brought.is_zip:
                yield "        Unarchive: ZIP"


def _map(group: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, given in group.items():
        value = given
        if isinstance(given, Noted):
            yield f"{indent}# {given.note}."
            value = given.value
        if isinstance(value, Mapping) and value:
            yield f"{indent}{_scalar(key)}:"
            yield from _map(value, indent + "  ")
        elif isinstance(value, list) and value:
            yield f"{indent}{_scalar(key)}:"
            for each in value:
                yield f"{indent}  - {_flow(each)}"
        else:
            yield f"{indent}{_scalar(key)}: {_flow(value)}"


def _flow(value: Any) -> str:
    """Return a value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(each) for each in value) + "]"
    return _scalar(value)


_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def _scalar(value: Any) -> str:
    """Return a plain value as YAML, text in quotes where it could be read as anything else."""
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return "'" + value.replace("'", "''") + "'"
