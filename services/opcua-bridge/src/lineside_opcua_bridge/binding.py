"""A trigger's nodes on the server that is connected now: found, of the right type, open for what we do with them.

What makes a trigger useless (a node missing, a trigger that is no Boolean, a verdict or done that cannot be written)
raises and keeps that trigger out of service; a confidence or request id that cannot be written is left out and named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds

from lineside.errors import LinesideError
from lineside_opcua_bridge.finding import find
from lineside_opcua_bridge.nodes import NodeMissing
from lineside_opcua_bridge.session import Session
from lineside_opcua_bridge.settings import TriggerSettings

_ATTRIBUTES = (
    AttributeIds.DataType,
    AttributeIds.Value,
    AttributeIds.AccessLevel,
    AttributeIds.UserAccessLevel,
)
_READABLE = 1 << ua.AccessLevel.CurrentRead
_WRITABLE = 1 << ua.AccessLevel.CurrentWrite
_ACCEPTED: dict[str, tuple[ua.VariantType, ...]] = {
    "trigger": (ua.VariantType.Boolean,),
    "verdict": (ua.VariantType.String,),
    "confidence": (ua.VariantType.Double, ua.VariantType.Float),
    "request_id": (ua.VariantType.String,),
    "done": (ua.VariantType.Boolean,),
}
_NEEDED = frozenset({"trigger", "verdict", "done"})


class NodeUnfit(LinesideError):
    """A node is there and cannot be used as the settings say."""

    code = "node-unfit"
    transient = True


@dataclass(frozen=True)
class Watched:
    """A node whose changes a station wants to hear of, and as what: the role is the one in TriggerSettings.tags."""

    role: str
    node: ua.NodeId
    sampling_ms: float = 0.0
    """How often the server shall look; 0 is its fastest."""


@dataclass(frozen=True)
class Binding:
    """The nodes of one trigger in one session; `refused` says of each write-back that is left out, why."""

    session: Session
    watches: tuple[Watched, ...]
    nodes: dict[str, ua.NodeId]
    """The nodes that are read, by role."""
    write_back: dict[str, ua.NodeId]
    confidence: ua.VariantType = ua.VariantType.Double
    refused: dict[str, str] = field(default_factory=dict)


async def bind(settings: TriggerSettings, session: Session) -> Binding:
    """Return a trigger's nodes; raises NodeMissing, NodeUnfit or CallFailed."""
    written = settings.write_back.nodes() if settings.write_back else {}
    texts = settings.tags() | written
    found = await find(session, texts)
    values = await session.read([(node, attribute) for node in found.values() for attribute in _ATTRIBUTES])
    attributes = {
        role: values[place * len(_ATTRIBUTES) : (place + 1) * len(_ATTRIBUTES)] for place, role in enumerate(texts)
    }
    kinds = {role: check(role, texts[role], attributes[role]) for role in texts}
    refused = {role: kind for role, kind in kinds.items() if isinstance(kind, str)}
    confidence = kinds.get("confidence")
    return Binding(
        session=session,
        watches=(Watched("trigger", found["trigger"]),),
        nodes={role: found[role] for role in settings.tags()},
        write_back={role: found[role] for role in written if role not in refused},
        confidence=confidence if isinstance(confidence, ua.VariantType) else ua.VariantType.Double,
        refused=refused,
    )


def check(role: str, text: str, attributes: Sequence[ua.DataValue]) -> ua.VariantType | str | None:
    """Return the type of a node, or why it is left out, by its attributes in the order of `_ATTRIBUTES`.

    None for a sampled node, which may be of any type. Raises NodeMissing, or NodeUnfit where the trigger needs it.
    """
    data_type, value, access, user_access = attributes
    if data_type.StatusCode is not None and not data_type.StatusCode.is_good():
        raise NodeMissing(
            f"{role}: node {text!r} is not a variable on the server ({data_type.StatusCode.name})",
            remedy="correct the settings, or add the node to the PLC",
        )
    if role not in _ACCEPTED:
        return None
    kind = _kind(data_type, value)
    allowed = _ACCEPTED[role]
    names = " or ".join(each.name for each in allowed)
    if kind not in allowed:
        shown = kind.name if kind else f"of data type {_content(data_type)}"
        return _unfit(role, f"node {text!r} is {shown}; it must be {names}")
    if role != "trigger" and not (_bits(access) & _bits(user_access) & _WRITABLE):
        return _unfit(role, f"node {text!r} may not be written by us: its access level must include CurrentWrite")
    if role == "done" and not (_bits(access) & _bits(user_access) & _READABLE):
        return _unfit(role, f"node {text!r} may not be read by us: after an outage it tells which part was judged")
    return kind


def _unfit(role: str, why: str) -> str:
    if role in _NEEDED:
        raise NodeUnfit(f"{role}: {why}", remedy="correct the settings, or the node in the PLC")
    return why


def _kind(data_type: ua.DataValue, value: ua.DataValue) -> ua.VariantType | None:
    """Return the built-in type: that of the data type, or for a type derived from one that of the present value."""
    node = _content(data_type)
    if isinstance(node, ua.NodeId) and node.NamespaceIndex == 0 and node.Identifier in _BUILT_IN:
        return _BUILT_IN[node.Identifier]
    if value.Value is not None and not value.Value.is_array and isinstance(value.Value.VariantType, ua.VariantType):
        return value.Value.VariantType
    return None


_BUILT_IN: Mapping[object, ua.VariantType] = {
    kind.value: kind for kind in ua.VariantType if kind is not ua.VariantType.Null
}


def _content(value: ua.DataValue) -> object:
    return value.Value.Value if value.Value is not None else None


def _bits(value: ua.DataValue) -> int:
    content = _content(value)
    good = value.StatusCode is None or value.StatusCode.is_good()
    return int(content) if good and isinstance(content, int) else 0
