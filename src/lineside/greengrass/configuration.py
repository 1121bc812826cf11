"""The configuration of a Greengrass component as a layer of the settings, between the file and the environment.

It has the form of the settings file: `bus`, `log`, and the service's own section; other services' sections are left
alone. Values mean the same as numbers, as floats and as text, for a recipe in YAML delivers text on the lite nucleus,
and JSON without a decimal point may come as a float on the classic one: 10, 10.0 and "10", true and "true".

At its top more names are known (`SHORT`): four that published examples of inference components use, and those of
SageMaker Edge Manager's component; and names that are not the settings' business (`FOREIGN`). A component that bears
Edge Manager's name serves its API.

A key that is no setting and like one is a slip, and refused with the nearest name. One that is like none is read over:
what an older version knew stays in a device's configuration over an update, and must not stop the newer one. A policy
takes no unknown key at all; Edge Manager's component read over slips too.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.greengrass import model_uri
from lineside.settings import Layer, Section, Settings, close_to, group_of, merged, top_names, type_at

SHORT: Mapping[str, tuple[str, ...]] = {
    "ConfidenceThreshold": ("inference", "policy", "thresholds", "default"),
    "InferenceTopicIn": ("bus", "request_topic"),
    "InferenceTopicOut": ("bus", "result_topic"),
    "ModelS3URI": ("inference", "model_repository"),
    **{name: ("edge_manager", name) for name in EdgeManagerSettings.model_fields if name[0].isupper()},
}
"""Names at the top of a component's configuration that stand for a setting."""

FOREIGN: Mapping[str, str] = {
    "accessControl": "the recipe's authorization policies, which Greengrass reads",
    "container": "how the recipe's scripts run the container",
}
"""Names at the top of a component's configuration that are not settings, and who reads them."""

EDGE_MANAGER = "aws.greengrass.SageMakerEdgeManager"
"""The component that ours takes the place of, where it bears this name."""

MAX_EXACT = 2**53
"""Largest whole number of which a float still says which one it is (IEEE 754 binary64)."""


def layer(kind: type[Settings], component: str, configuration: Mapping[str, Any]) -> Layer:
    """Return a component's configuration as a layer for the settings of one service, with what is wrong with it."""
    settings = {name: value for name, value in configuration.items() if name not in {*SHORT, *FOREIGN}}
    is_edge_manager = component == EDGE_MANAGER
    names = [*top_names(kind), *SHORT, *FOREIGN]
    document, ignored = _known(kind, settings, names, (), are_slips_refused=not is_edge_manager)
    if is_edge_manager:
        document = merged({"edge_manager": {"serve": True}}, document)
    problems: list[str] = []
    written: dict[tuple[str, ...], str] = {}
    origin = f"configuration of {component}"
    for name in SHORT:
        path = SHORT[name]
        if name not in configuration or path[0] not in kind.model_fields:
            continue
        value, refused = _short(name, configuration[name])
        given = _at(document, path)
        if refused is None and given is not None and not _alike(given, value):
            refused = (
                f"is {configuration[name]!r:.120} and {'.'.join(path)} is {given!r:.120}: both say the same setting; "
                "give one of them"
            )
        if refused is not None:
            problems.append(f"{origin}: {name}: {refused}")
            continue
        written[path] = name
        group: Any = value
        for step in reversed(path):
            group = {step: group}
        if all(isinstance(_at(document, path[:depth]) or {}, Mapping) for depth in range(1, len(path))):
            document = merged(document, group)  # else a group on the way is no group, which is said as such
    problems += [
        f"{origin}: {written.get(path) or '.'.join(path)}: {text}" for path, text in _not_meant(kind, document, ())
    ]
    beside = (*SHORT, *FOREIGN)
    return Layer(origin, document, written, names=beside, problems=tuple(problems), ignored=tuple(ignored))


def _known(
    kind: type[BaseModel],
    document: Mapping[str, Any],
    names: list[str],
    path: tuple[str, ...],
    *,
    are_slips_refused: bool = True,
) -> tuple[dict[str, Any], list[str]]:
    """Return a group without the keys that are read over, at any depth, and the paths of those."""
    kept: dict[str, Any] = {}
    ignored: list[str] = []
    for name, value in document.items():
        field = kind.model_fields.get(name)
        group = group_of(field.annotation) if field is not None else None
        if name not in names and not (are_slips_refused and close_to(name, names)):
            ignored.append(".".join((*path, name)))
        elif group is not None and issubclass(group, Section) and isinstance(value, Mapping):
            kept[name], below = _known(group, value, list(group.model_fields), (*path, name))
            ignored += below
        else:
            kept[name] = value
    return kept, ignored


def _short(name: str, value: Any) -> tuple[Any, str | None]:
    """Return the setting's value for one of the SHORT names, and what is wrong with it."""
    if name != "ModelS3URI":
        return value, None
    try:
        return model_uri.folder(value), None
    except ValueError as error:
        return value, str(error)


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(step)
    return document


def _alike(one: Any, other: Any) -> bool:
    if one == other:
        return True
    try:
        return float(one) == float(other)
    except (TypeError, ValueError, OverflowError):
        return False


def _not_meant(kind: type[Settings], value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield values that the settings would take for a number and that do not say one."""
    if isinstance(value, Mapping | list):
        inner = (
            value.items() if isinstance(value, Mapping) else ((str(place), each) for place, each in enumerate(value))
        )
        for name, each in inner:
            yield from _not_meant(kind, each, (*path, name))
    elif isinstance(value, bool):
        if type_at(kind, path) in {int, float}:
            yield path, f"expected a number (got {str(value).lower()})"
    elif isinstance(value, float) and abs(value) > MAX_EXACT and type_at(kind, path) is int:
        text = f"a whole number above 2^53 does not arrive exactly as a number (got {value!r}); give it as text"
        yield path, text
