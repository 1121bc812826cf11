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
# Every value here is the default; delete what you do not change. The environment wins over this file:
# the name of a setting's variable stands behind it. `lineside config check FILE` reads the file as the services do.
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
    if field.description:
        yield f"{indent}# {field.description}"
    if group is None:
        limits = _limits(field)
        yield f"{indent}#   {variable(path)}{'; ' + limits if limits else ''}"
        if default is PydanticUndefined:
            yield f"{indent}# {name}:    # must be given"
        else:
            yield indent + _value(name, default)
    elif default is None:
        yield f"{indent}{name}: null"
    else:
        yield f"{indent}{name}:"
        values = default if isinstance(default, BaseModel) else None
        for child, child_field in group.model_fields.items():
            value = getattr(values, child) if values is not None else _default(child_field)
            yield from _setting(child, child_field, (*path, child), value, indent=indent + "  ")


def _value(name: str, default: Any) -> str:
    """Return the setting as YAML; JSON is YAML, and quotes what YAML would read otherwise (off, no, 1e3)."""
    return f"{name}: {json.dumps(to_jsonable_python(default, by_alias=True), ensure_ascii=False)}"


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
                found.append(f"{word} {bound:g}" if isinstance(bound, float) else f"{word} {bound}")
    return ", ".join(found)


def _choices(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return [value if isinstance(value, str) else json.dumps(value) for value in typing.get_args(annotation)]
    return []
