"""The settings file that documents itself, made from the models: every setting, its meaning, default and variable."""

import json
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from lineside.settings import Settings, group_of, variable

_HEAD = """\
# Settings of a Lineside box. One file for all services: what they share first, then a section a service.
# Every value here is the default; delete what you do not change. What an entry of a list or a map holds stands below it
# in comments. The environment wins over this file: the name of a setting's variable stands behind it.
# `lineside config check FILE` reads the file as the services do.
"""


def sample(kinds: Sequence[type[Settings]]) -> str:
    """Return a YAML file with every setting of these services at its default, commented."""
    lines = [_HEAD.rstrip()]
    seen: set[str] = set()
    for kind in kinds:
        for name, field in kind.model_fields.items():
            if name not in seen:
                seen.add(name)
                lines += ["", *_setting(name, field, (name,), _default(field), indent="")]
    return "\n".join(lines) + "\n"


def schema(kinds: Sequence[type[Settings]]) -> dict[str, Any]:
    """Return the JSON schema of the settings file for these services."""
    whole: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of a Lineside box",
        "type": "object",
        "additionalProperties": False,
        "properties": {},
        "$defs": {},
    }
    for kind in kinds:
        part = kind.model_json_schema()
        whole["properties"] |= part["properties"]
        whole["$defs"] |= part.get("$defs", {})
    return whole


def _setting(name: str, field: FieldInfo, path: tuple[str, ...], default: Any, *, indent: str) -> Iterator[str]:
    group = group_of(field.annotation)
    if meaning := _meaning(field):
        yield f"{indent}# {meaning}"
    if group is None:
        limits = _limits(field)
        yield f"{indent}#   {variable(path)}{'; ' + limits if limits else ''}"
        if default is PydanticUndefined:
            yield f"{indent}# {name}:    # must be given"
        else:
            yield indent + _value(name, default)
        inside = "" if _container(field.annotation) else "  "
        for line in _entries(field.annotation):
            yield f"{indent}# {inside}{line}"
    elif default is None:
        yield f"{indent}{name}: null"
        for line in _shape([group]):
            yield f"{indent}#   {line}"
    else:
        yield f"{indent}{name}:"
        values = default if isinstance(default, BaseModel) else None
        for child, child_field in group.model_fields.items():
            value = getattr(values, child) if values is not None else _default(child_field)
            yield from _setting(child, child_field, (*path, child), value, indent=indent + "  ")


def _entries(annotation: Any) -> Iterator[str]:
    """Yield what an entry of a list or map of groups holds, or a group of several kinds; nothing for plain values."""
    lines = list(_shape(models_of(annotation)))
    kind = _container(annotation)
    if kind is dict and lines:
        yield "<name>:"
    first, others = {None: ("", ""), dict: ("  ", "  ")}.get(kind, ("- ", "  "))
    for number, line in enumerate(lines):
        yield (others if number else first) + line


def _shape(models: Sequence[type[BaseModel]]) -> Iterator[str]:
    """Yield the fields of a group, one a line with its meaning; of a group of several kinds, those of each kind."""
    for place, model in enumerate(models):
        if place:
            yield "# or"
        for name, field in model.model_fields.items():
            default = _default(field)
            choices = _choices(field.annotation)
            only = choices[0] if len(choices) == 1 else None
            inner = models_of(field.annotation)
            if only:
                shown = f"{name}: {only}"
            elif inner or default is PydanticUndefined:
                shown = f"{name}:"
            else:
                shown = _value(name, default)
            must = "Must be given. " if default is PydanticUndefined and not only else ""
            limits = "" if only else _limits(field)
            yield f"{shown}  # {must}{_meaning(field).rstrip('.')}{'; ' + limits if limits else ''}"
            for line in _entries(field.annotation) if inner else ():
                yield f"  {line}"


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """Return the groups that a list, map or union is made of; of one group, itself."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in models_of(part)]


def _container(annotation: Any) -> Any:
    """Return tuple, list or dict, or None, through what is annotated or may be left out."""
    origin = typing.get_origin(annotation)
    if origin in (tuple, list, dict):
        return origin
    return next((found for part in typing.get_args(annotation) if (found := _container(part))), None)


def _value(name: str, default: Any) -> str:
    """Return the setting as YAML; JSON is YAML, and quotes what YAML would read otherwise (off, no, 1e3)."""
    return f"{name}: {json.dumps(to_jsonable_python(default, by_alias=True), ensure_ascii=False)}"


def _meaning(field: FieldInfo) -> str:
    """Return what a setting means, on one line."""
    return " ".join((field.description or "").split())


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True, validated_data={})


def _limits(field: FieldInfo) -> str:
    choices = _choices(field.annotation)
    if choices:
        return " | ".join(choices)
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = []
    for item in field.metadata:
        for attribute, word in words.items():
            bound = getattr(item, attribute, None)
            if bound is not None:
                found.append(f"{word} {bound:.12g}" if isinstance(bound, float) else f"{word} {bound}")
    return ", ".join(found)


def _choices(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return [value if isinstance(value, str) else json.dumps(value) for value in typing.get_args(annotation)]
    return []
