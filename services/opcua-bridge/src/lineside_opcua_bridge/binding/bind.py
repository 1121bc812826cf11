"""Binds a trigger to the connected server: its nodes are found, and checked for type, shape and access.

What makes a trigger unusable (a node missing, of the wrong type or shape, that may not be read or written, or a mapping
that does not fit) raises one error that names all of it. A confidence, a count of findings or a request id that cannot
be written is left out and reported.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds

from lineside.errors import LinesideError
from lineside_opcua_bridge.binding.node_validation import (
    ATTRIBUTES,
    INTEGERS,
    WITHOUT_RANGES,
    Facts,
    facts_of,
    misfit,
    need_of,
    place_of,
    problem,
    range_problem,
    unlike,
)
from lineside_opcua_bridge.finding.event_fields import find_fields
from lineside_opcua_bridge.finding.find import find
from lineside_opcua_bridge.link.session import Session
from lineside_opcua_bridge.link.subscriber import Binding, EventSelection, ItemRequest
from lineside_opcua_bridge.nodes import NodeMissing
from lineside_opcua_bridge.settings import OpcuaBridgeSettings, TriggerSettings
from lineside_opcua_bridge.settings.sources import WindowSourceSettings
from lineside_opcua_bridge.settings.triggers import EventTrigger
from lineside_opcua_bridge.tags import Alias, index_of, parse

_OPTIONAL = frozenset({"confidence", "findings", "request_id"})
_NOTIFIES = 1 << ua.EventNotifier.SubscribeToEvents


@dataclass(frozen=True)
class _WrittenElement:
    """An element of an array that is written: its text in the settings, its node and index, and the array's length."""

    text: str
    node: ua.NodeId
    index: int
    length: int | None

    @property
    def index_past_end(self) -> int:
        """An index that the array does not have."""
        return max(self.length or 0, self.index + 1)


class NodeUnfit(LinesideError):
    """A node exists and cannot be used as the settings say."""

    code = "node-unfit"
    transient = True


async def bind(settings: TriggerSettings, session: Session, own: OpcuaBridgeSettings) -> Binding:
    """Return a trigger's nodes; raises NodeMissing, NodeUnfit or CallFailed."""
    written = settings.write_back.nodes() if settings.write_back else {}
    read = {role: text for role, text in settings.tags().items() if not isinstance(parse(text), Alias)}
    when = settings.when
    types = {"event_type": when.event_type} if isinstance(when, EventTrigger) else {}
    named = read | written | types
    by_place = await find(session, {place_of(role): text for role, text in named.items()})
    found = {role: by_place[place_of(role)] for role in named}
    notifier = {"trigger"} if isinstance(when, EventTrigger) else set()
    variables = {role: text for role, text in (read | written).items() if role not in notifier}
    facts = await read_facts(session, {place_of(role): (text, found[role]) for role, text in variables.items()})
    refused = _check(settings, {role: (text, facts[place_of(role)]) for role, text in variables.items()})
    indices = settings.elements()
    elements = {
        role: _WrittenElement(written[role], found[role], index, facts[place_of(role)].length)
        for role, index in indices.items()
        if role in written and role not in refused
    }
    await _check_elements(session, elements)
    selection = None
    if isinstance(when, EventTrigger):
        await _check_events(session, when, found)
        fields = await find_fields(session, found["event_type"], when.fields)
        selection = EventSelection(found["event_type"], fields, when.min_severity, when.source_name)
    items = [
        ItemRequest(role, found[role], _sampling_ms(role, settings, own), selection if role in notifier else None)
        for role in read
    ]
    if settings.write_back and settings.overrun != "newest":
        items.append(ItemRequest("done", found["done"], own.sampling_interval_ms))
    kinds = {role: facts[place_of(role)].kind for role in written if role not in refused}
    return Binding(
        session=session,
        items=tuple(items),
        nodes={role: found[role] for role in read},
        write_back={role: found[role] for role in written if role not in refused},
        kinds={role: kind for role, kind in kinds.items() if kind is not None},
        elements=indices,
        refused=refused,
        simulated=own.simulate,
    )


async def read_facts(session: Session, nodes: Mapping[str, tuple[str, ua.NodeId]]) -> dict[str, Facts]:
    """Return the attributes of variables, by their places in the settings; raises NodeMissing or CallFailed."""
    attributes = [(node, attribute) for _text, node in nodes.values() for attribute in ATTRIBUTES]
    values = await session.read(attributes) if attributes else []
    each = len(ATTRIBUTES)
    facts = {place: facts_of(values[number * each : (number + 1) * each]) for number, place in enumerate(nodes)}
    if missing := [place for place, known in facts.items() if known is None]:
        what = "; ".join(f"{place}: node {nodes[place][0]!r} is not a variable on the server" for place in missing)
        raise NodeMissing(what, remedy="correct the settings, or add the node to the PLC")
    return {place: known for place, known in facts.items() if known is not None}


def _check(settings: TriggerSettings, nodes: Mapping[str, tuple[str, Facts]]) -> dict[str, str]:
    """Return which write-backs are left out and why; raises NodeUnfit with all that makes the trigger unusable."""
    problems = {role: problem(need_of(role, settings), text, facts) for role, (text, facts) in nodes.items()}
    if settings.write_back:
        for role in settings.write_back.nodes():
            problems[role] = problems[role] or misfit(role, settings.write_back, nodes[role][1].kind)
    if settings.write_back and "code" in nodes and not settings.write_back.codes:
        text, facts = nodes["code"]
        if facts.kind in INTEGERS:
            problems["code"] = f"node {text!r} is {facts.shown}: write_back.codes must give the number of each code"
    if settings.write_back and not settings.write_back.values and problems["verdict"]:
        text, facts = nodes["verdict"]
        if facts.kind in {*INTEGERS, ua.VariantType.Boolean} and (index_of(text) is not None or not facts.is_array):
            problems["verdict"] = (
                f"node {text!r} is {facts.shown}; it must be String, or write_back.values must give what stands for "
                "pass, fail and unknown"
            )
    optional = {role for role in _OPTIONAL & nodes.keys() if not unlike(need_of(role, settings), *nodes[role])}
    unfit = [f"{place_of(role)}: {why}" for role, why in problems.items() if why and role not in optional]
    if unfit:
        raise NodeUnfit("; ".join(unfit), remedy="correct the settings, or the node in the PLC")
    return {role: why for role, why in problems.items() if why}


async def _check_elements(session: Session, written: Mapping[str, _WrittenElement]) -> None:
    """Raise NodeUnfit with every element of an array, by its role, that cannot be written alone on this server.

    An element is written only where the server was seen to honour an IndexRange: one that ignores it would replace the
    whole array by the element.
    """
    asked = [(each.node, index) for each in written.values() for index in (each.index, each.index_past_end)]
    values = await session.read_elements(asked) if asked else []
    slices = zip(values[::2], values[1::2], strict=True)
    unfit = [
        f"{place_of(role)}: {why}"
        for (role, each), (within, beyond) in zip(written.items(), slices, strict=True)
        if (why := range_problem(each.text, within, beyond))
    ]
    if unfit:
        raise NodeUnfit("; ".join(unfit), remedy=WITHOUT_RANGES)


async def _check_events(session: Session, when: EventTrigger, found: Mapping[str, ua.NodeId]) -> None:
    notifier, kind = await session.read(
        [(found["trigger"], AttributeIds.EventNotifier), (found["event_type"], AttributeIds.NodeClass)]
    )
    bits = notifier.Value.Value if notifier.Value is not None else None
    if not isinstance(bits, int) or not bits & _NOTIFIES:
        raise NodeUnfit(
            f"when.node: node {when.node!r} notifies of no events: its EventNotifier must include SubscribeToEvents",
            remedy="name the object that does; i=2253, the server, hands on the events of all",
        )
    if kind.Value is None or kind.Value.Value != ua.NodeClass.ObjectType:
        raise NodeMissing(
            f"when.event_type: node {when.event_type!r} is no type of event on the server",
            remedy="name an ObjectType below BaseEventType (i=2041)",
        )


def _sampling_ms(role: str, settings: TriggerSettings, own: OpcuaBridgeSettings) -> float:
    if role in {"trigger", "request"}:
        return own.sampling_interval_ms
    if role.startswith("window.") and isinstance(settings.source, WindowSourceSettings):
        return 1000 / settings.source.rate_hz
    return own.publishing_interval_ms
