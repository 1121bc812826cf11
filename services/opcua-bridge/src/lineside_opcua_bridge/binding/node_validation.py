"""Validates that a node fits its use in the settings: its type, its shape, and its access level. Pure.

A node must be one scalar value; where the settings map verdicts or codes to the PLC's own numbers, each of them must
fit the node's type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds

from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.settings.triggers import Condition
from lineside_opcua_bridge.settings.write_back import WriteBackSettings
from lineside_opcua_bridge.tags import index_of

WITHOUT_RANGES = "let the PLC have a scalar node for it; elements of this array can only be read"
"""The remedy where elements of arrays cannot be written."""

ATTRIBUTES = (
    AttributeIds.DataType,
    AttributeIds.Value,
    AttributeIds.AccessLevel,
    AttributeIds.UserAccessLevel,
    AttributeIds.ValueRank,
)
"""What is read of a variable for `facts_of`, in this order."""

_READABLE = 1 << ua.AccessLevel.CurrentRead
_WRITABLE = 1 << ua.AccessLevel.CurrentWrite
_BUILT_IN: Mapping[object, ua.VariantType] = {
    kind.value: kind for kind in ua.VariantType if kind not in {ua.VariantType.Null, ua.VariantType.Variant}
}

_T = ua.VariantType
INTEGERS: dict[ua.VariantType, tuple[int, int]] = {
    _T.SByte: (-(2**7), 2**7 - 1),
    _T.Byte: (0, 2**8 - 1),
    _T.Int16: (-(2**15), 2**15 - 1),
    _T.UInt16: (0, 2**16 - 1),
    _T.Int32: (-(2**31), 2**31 - 1),
    _T.UInt32: (0, 2**32 - 1),
    _T.Int64: (-(2**63), 2**63 - 1),
    _T.UInt64: (0, 2**64 - 1),
}
"""The types of whole numbers, with the least and the greatest of each."""

_BOOLEAN = (_T.Boolean,)
_TEXT = (_T.String,)
_REALS = (_T.Double, _T.Float)
_NUMBERS = (*INTEGERS, *_REALS)
_SCALARS = (*_BOOLEAN, *_NUMBERS, *_TEXT, _T.DateTime, _T.Guid, _T.ByteString, _T.LocalizedText, _T.StatusCode)
_CARRIED = (*_BOOLEAN, *_NUMBERS, *_TEXT, _T.DateTime, _T.LocalizedText)
"""What a request can carry as a tag; see `values.tags_of`."""


@dataclass(frozen=True)
class Facts:
    """A variable by its attributes."""

    kind: ua.VariantType | None
    """The built-in type; None where it is not known."""
    shown: str
    """The type in words, for messages."""
    rank: int
    """OPC UA's ValueRank: -1 is a scalar, 1 and more an array of so many dimensions, other values leave it open."""
    holds_array: bool | None
    """Whether the present value is an array; None where there is none."""
    nested: bool
    """Whether it is an array of several dimensions."""
    length: int | None
    """How many elements the present value has, where it is an array."""
    readable: bool
    writable: bool

    @property
    def is_array(self) -> bool:
        """Whether it is an array, by its value: some servers state a rank that their values do not have."""
        return self.rank >= 0 if self.holds_array is None else self.holds_array


@dataclass(frozen=True)
class Need:
    """What a node must be; empty `kinds` allow any type, with `may_be_unknown` also one that is not known yet."""

    kinds: tuple[ua.VariantType, ...] = ()
    read: bool = False
    write: bool = False
    may_be_unknown: bool = False


def facts_of(attributes: Sequence[ua.DataValue]) -> Facts | None:
    """Return a variable's facts by its attributes in the order of `ATTRIBUTES`; None where it is no variable."""
    data_type, value, access, user_access, rank = attributes
    if data_type.StatusCode is not None and not data_type.StatusCode.is_good():
        return None
    kind = _kind(data_type, value)
    bits = _bits(access) & _bits(user_access)
    stated, content = _content(rank), _content(value)
    return Facts(
        kind=kind,
        shown=kind.name if kind else f"of data type {_content(data_type)}",
        rank=stated if isinstance(stated, int) else -1,
        holds_array=None if content is None else isinstance(content, list),
        nested=isinstance(content, list) and any(isinstance(each, list) for each in content),
        length=len(content) if isinstance(content, list) else None,
        readable=bool(bits & _READABLE),
        writable=bool(bits & _WRITABLE),
    )


def problem(need: Need, node: str, facts: Facts) -> str | None:
    """Return why a node does not fit, naming it, what it is and what it must be; None where it fits."""
    if why := unlike(need, node, facts):
        return why
    if need.write and not facts.writable:
        return f"node {node!r} may not be written by us: its access level must include CurrentWrite"
    if need.read and not facts.readable:
        return f"node {node!r} may not be read by us: its access level must include CurrentRead"
    return None


def unlike(need: Need, node: str, facts: Facts) -> str | None:
    """Return why a node has the wrong shape or type, regardless of access; None where it has not."""
    if (index := index_of(node)) is not None:
        if why := _no_element(index, node, facts):
            return why
    elif facts.is_array and (need.write or facts.length != 1 or facts.nested):
        shape = f"an array of {facts.rank} dimension{'s' * (facts.rank != 1)}" if facts.rank > 0 else "an array"
        return (
            f"node {node!r} is {shape} (ValueRank {facts.rank}); it must be a scalar (ValueRank -1), or one "
            f"element of it is named: 'index=0;{node}'"
        )
    if need.kinds and facts.kind not in need.kinds and not (need.may_be_unknown and facts.kind is None):
        return f"node {node!r} is {facts.shown}; it must be {_either(need.kinds)}"
    return None


def _no_element(index: int, node: str, facts: Facts) -> str | None:
    """Return why a node has no element at `index`; None where it has one, or has no value yet."""
    if not facts.is_array:
        return f"node {node!r} is no array: without index={index}; it is the node itself"
    if facts.nested:
        return f"node {node!r} is an array of several dimensions; index= names an element of one dimension"
    if facts.length and index >= facts.length:
        return f"node {node!r} has {facts.length} elements, counted from 0: index is at most {facts.length - 1}"
    return None


def range_problem(node: str, within: ua.DataValue, beyond: ua.DataValue) -> str | None:
    """Return why an element may not be written, by the reads of its index and of one past the end.

    None where the server honours an IndexRange: the first read is an array of one, and the second has no value.
    """
    content = _content(within)
    if not _is_good(within):
        name = within.StatusCode.name if within.StatusCode is not None else "no status"
        return f"node {node!r}: the server does not give one element of an array (IndexRange): {name}"
    if not isinstance(content, list) or len(content) != 1 or _is_good(beyond):
        return (
            f"node {node!r}: the server ignores which element is asked for (IndexRange): a write would replace the "
            "whole array, and is not made"
        )
    return None


def need_of(role: str, settings: TriggerSettings) -> Need:
    """Return what a trigger needs of the node with this role, other than an event's notifier."""
    if role == "trigger":
        kinds = {"edge": _BOOLEAN, "limit": _NUMBERS, "counter": tuple(INTEGERS), "change": _SCALARS}
        return Need(kinds.get(settings.when.kind, ()), read=True)
    if role == "request":
        return Need(_BOOLEAN, read=True)
    if role.startswith("sample."):
        return Need(_CARRIED, read=True, may_be_unknown=True)
    if role.startswith("only_if."):
        return Need(_comparable(settings.only_if[int(role.removeprefix("only_if."))]), read=True)
    if role.startswith("window."):
        return Need((*_NUMBERS, *_BOOLEAN), read=True)
    written = settings.write_back
    kinds = {
        "verdict": _kinds_of(list(written.values.values()) if written else []),
        "code": tuple(INTEGERS) if written and written.codes else _TEXT,
        "confidence": _REALS,
        "findings": tuple(INTEGERS),
        "request_id": _TEXT,
        "part_id": (*_TEXT, *INTEGERS),
        "done": _BOOLEAN,
        "owner": _TEXT,
    }
    return Need(kinds[role], read=role in {"done", "owner"}, write=True)


def heartbeat_need() -> Need:
    """Return what the heartbeat's node must be."""
    return Need((*_BOOLEAN, *INTEGERS), write=True)


def misfit(role: str, settings: WriteBackSettings, kind: ua.VariantType | None) -> str | None:
    """Return which of the settings' values does not fit a written node's type; None where all do."""
    if kind not in INTEGERS:
        return None
    given: dict[str, object] = {}
    if role == "verdict":
        given |= {str(verdict): value for verdict, value in settings.values.items()}
    elif role == "code":
        given |= settings.codes
    name = "values" if role == "verdict" else "codes"
    least, greatest = INTEGERS[kind]
    wrong = [f"{name}.{key} is {value}" for key, value in given.items() if not least <= int(str(value)) <= greatest]
    node = settings.nodes()[role]
    return f"{', '.join(wrong)}; node {node!r} of type {kind.name} takes {least} to {greatest}" if wrong else None


def place_of(role: str) -> str:
    """Return the place in a trigger's settings of the node with this role."""
    kind, dot, name = role.partition(".")
    if role == "trigger":
        return "when.node"
    if role == "event_type":
        return "when.event_type"
    if kind == "only_if":
        return f"only_if.{name}.node"
    if kind == "window":
        return f"source.tags.{name}"
    return f"{kind}{dot}{name}" if dot else f"write_back.{role}"


def _comparable(condition: Condition) -> tuple[ua.VariantType, ...]:
    if condition.above is not None or condition.below is not None:
        return _NUMBERS
    return _kinds_of([value for value in (condition.equals, condition.not_equals) if value is not None], real=True)


def _kinds_of(values: Sequence[object], *, real: bool = False) -> tuple[ua.VariantType, ...]:
    """Return the types of node that hold values like these; text where there are none."""
    if values and all(isinstance(value, bool) for value in values):
        return _BOOLEAN
    if values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return _NUMBERS if real else tuple(INTEGERS)
    return _TEXT


def _either(kinds: Sequence[ua.VariantType]) -> str:
    if set(kinds) == set(INTEGERS):
        return "an integer"
    if kinds == _CARRIED:
        return "a Boolean, a number, String, DateTime or LocalizedText: a request carries nothing else"
    if set(kinds) >= set(_NUMBERS):
        return "a number" if len(kinds) <= len(_NUMBERS) + 1 else "a scalar"
    if set(kinds) == {*INTEGERS, *_BOOLEAN}:
        return "Boolean or an integer"
    return " or ".join(kind.name for kind in kinds)


def _kind(data_type: ua.DataValue, value: ua.DataValue) -> ua.VariantType | None:
    """Return the built-in type: that of the data type, or for a type derived from one that of the present value."""
    node = _content(data_type)
    if isinstance(node, ua.NodeId) and node.NamespaceIndex == 0 and (kind := _BUILT_IN.get(node.Identifier)):
        return kind
    if value.Value is not None and isinstance(value.Value.VariantType, ua.VariantType):
        return None if value.Value.VariantType is ua.VariantType.Null else value.Value.VariantType
    return None


def _content(value: ua.DataValue) -> object:
    return value.Value.Value if value.Value is not None else None


def _is_good(value: ua.DataValue) -> bool:
    return value.StatusCode is None or value.StatusCode.is_good()


def _bits(value: ua.DataValue) -> int:
    content = _content(value)
    return int(content) if _is_good(value) and isinstance(content, int) else 0
