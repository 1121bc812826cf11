"""Attributes and values of nodes, as text for a table and as JSON."""

import base64
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIdNames

from lineside_opcua_bridge.link.session import Session
from lineside_opcua_bridge.nodes import describe
from lineside_opcua_bridge.values import instant

_ATTRIBUTES = (
    AttributeIds.NodeClass,
    AttributeIds.DataType,
    AttributeIds.ValueRank,
    AttributeIds.ArrayDimensions,
    AttributeIds.AccessLevel,
    AttributeIds.UserAccessLevel,
)
_LONGEST = 80
_SHAPE_IN_VALUE = (-3, -2, 0)
"""Value ranks that leave open how many dimensions there are (OPC 10000-3, 5.6.2)."""


@dataclass(frozen=True)
class Variable:
    """Attributes of a node; of one that is no variable only `kind` means something."""

    kind: str
    data_type: str | None = None
    shape: tuple[int, ...] | None = None
    """Lengths of an array's dimensions, 0 where any; None of a scalar."""
    readable: bool = False
    writable: bool = False
    value: ua.DataValue | None = None

    @property
    def type(self) -> str:
        """The data type as people write it: Double, Double[10], Double[]."""
        if self.data_type is None:
            return ""
        return self.data_type + ("" if self.shape is None else f"[{','.join(str(n or '') for n in self.shape)}]")

    @property
    def access(self) -> str:
        """What we may do: rw, r-, -w or --."""
        return "" if self.data_type is None else ("r" if self.readable else "-") + ("w" if self.writable else "-")


async def variables(session: Session, nodes: Sequence[ua.NodeId], *, values: bool) -> list[Variable]:
    """Return the attributes of each node, its present value only with `values`; raises CallFailed."""
    attributes = (*_ATTRIBUTES, AttributeIds.Value) if values else _ATTRIBUTES
    read = await session.read([(node, attribute) for node in nodes for attribute in attributes])
    rows = [read[at : at + len(attributes)] for at in range(0, len(read), len(attributes))]
    names = await _type_names(session, [content(row[1]) for row in rows])
    return [_variable(row, names) for row in rows]


def shown_value(variable: Variable, session: Session) -> str:
    """Return a node's value for a table; its status where it has none."""
    if variable.value is None:
        return ""
    value, code = content(variable.value), variable.value.StatusCode
    if value is None and code is not None and code.is_bad():
        return status(variable.value)
    return as_text(value, session.namespaces)


def described(variable: Variable) -> dict[str, Any]:
    """Return a node's attributes as JSON has them."""
    return {
        "class": variable.kind,
        "data_type": variable.data_type,
        "array_shape": list(variable.shape) if variable.shape is not None else None,
        "readable": variable.readable,
        "writable": variable.writable,
    }


def content(value: ua.DataValue | None) -> Any:
    """Return the content of a DataValue; None where there is none or it is bad."""
    if value is None or value.Value is None or (value.StatusCode is not None and value.StatusCode.is_bad()):
        return None
    return value.Value.Value


def status(value: ua.DataValue) -> str:
    """Return the name of a value's status."""
    return status_name(value.StatusCode.value if value.StatusCode is not None else 0)


def status_name(code: int) -> str:
    """Return a status' name, such as Good or BadNodeIdUnknown; the lower half of a code is left out."""
    return str(ua.StatusCode(ua.UInt32(code & 0xFFFF0000)).name)


def as_text(value: Any, namespaces: Sequence[str]) -> str:
    """Return a value as one line for a table, cut where it is long."""
    text = " ".join(_line(jsonable(value, namespaces)).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def jsonable(value: Any, namespaces: Sequence[str]) -> Any:
    """Return a value as JSON has it: bytes as base64, times as ISO 8601, structures as objects of their fields.

    A structure whose type is not known is its `type_id` and its `body` as base64. What JSON cannot represent is text.
    """
    if isinstance(value, list | tuple):
        return [jsonable(each, namespaces) for each in value]
    if isinstance(value, ua.NodeId):
        return describe(value, namespaces)
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    for kind, convert in _AS_TEXT:
        if isinstance(value, kind):
            return convert(value)
    return _structure(value, namespaces) if is_dataclass(value) else str(value)


def _structure(value: Any, namespaces: Sequence[str]) -> Any:
    if isinstance(value, ua.Variant):
        return jsonable(value.Value, namespaces)
    if isinstance(value, ua.ExtensionObject):
        return {"type_id": describe(value.TypeId, namespaces), "body": jsonable(value.Body, namespaces)}
    members = [each.name for each in fields(value) if each.name != "Encoding"]
    return {name: jsonable(getattr(value, name), namespaces) for name in members}


def moment(when: datetime | None) -> str | None:
    """Return a time in UTC as ISO 8601 with milliseconds; None where it is not set."""
    aware = instant(when)
    return aware.isoformat(timespec="milliseconds").replace("+00:00", "Z") if aware else None


def _variable(row: Sequence[ua.DataValue], names: dict[ua.NodeId, str]) -> Variable:
    kind, data_type, rank, dimensions, access, user_access = (content(value) for value in row[: len(_ATTRIBUTES)])
    name = ua.NodeClass(kind).name if kind is not None else ""
    if name not in {"Variable", "VariableType"} or not isinstance(data_type, ua.NodeId):
        return Variable(name)
    may = (access or 0) & (access or 0 if user_access is None else user_access)
    value = row[len(_ATTRIBUTES)] if len(row) > len(_ATTRIBUTES) else None
    return Variable(
        kind=name,
        data_type=names.get(data_type, ""),
        shape=_shape(rank, dimensions, content(value)),
        readable=bool(may & (1 << ua.AccessLevel.CurrentRead)),
        writable=bool(may & (1 << ua.AccessLevel.CurrentWrite)),
        value=value,
    )


def _shape(rank: int | None, dimensions: Sequence[int] | None, value: Any) -> tuple[int, ...] | None:
    if rank in _SHAPE_IN_VALUE:
        return (len(value),) if isinstance(value, list) else None
    if value is not None and not isinstance(value, list):
        return None  # the value counts: some servers state a rank that their values do not have
    if rank is None or rank < 0:
        return None
    return tuple(dimensions) if dimensions else (0,) * rank


async def _type_names(session: Session, types: Iterable[Any]) -> dict[ua.NodeId, str]:
    """Return the names of data types: OPC UA's own are known, others are asked for."""
    wanted = list(dict.fromkeys(each for each in types if isinstance(each, ua.NodeId)))
    names = {
        each: ObjectIdNames[each.Identifier]
        for each in wanted
        if each.NamespaceIndex == 0 and isinstance(each.Identifier, int) and each.Identifier in ObjectIdNames
    }
    others = [each for each in wanted if each not in names]
    if others:
        read = await session.read([(each, AttributeIds.BrowseName) for each in others])
        for each, value in zip(others, read, strict=True):
            name = content(value)
            names[each] = name.Name if isinstance(name, ua.QualifiedName) else describe(each, session.namespaces)
    return names


def _line(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_line(each) for each in value) + "]"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


_AS_TEXT: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (bytes, lambda value: base64.b64encode(value).decode("ascii")),
    (datetime, moment),
    (ua.LocalizedText, lambda value: value.Text),
    (ua.QualifiedName, lambda value: value.Name),
    (ua.StatusCode, lambda value: status_name(value.value)),
)
