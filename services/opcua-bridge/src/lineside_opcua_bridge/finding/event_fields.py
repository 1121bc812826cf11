"""The fields of an event by their paths in the settings: which type declares each, and its qualified names there.

A server need not report an unknown field: events then arrive with null in it. So the types are browsed: the event's
own, those that it derives from, and those derived from it, whose events are notified too.
"""

from collections.abc import Iterable, Mapping

from asyncua import ua

from lineside_opcua_bridge.finding.browsing import MAX_DEPTH, Browser, Child, nearest
from lineside_opcua_bridge.link.session import Session
from lineside_opcua_bridge.link.subscriber import BASE_EVENT, EventField, base_field
from lineside_opcua_bridge.nodes import NodeMissing

_OF_EVERY_EVENT = frozenset(
    {"EventId", "EventType", "LocalTime", "Message", "ReceiveTime", "Severity", "SourceName", "SourceNode", "Time"}
)
_SHOWN = 12


async def find_fields(session: Session, event_type: ua.NodeId, paths: Mapping[str, str]) -> dict[str, EventField]:
    """Return the field at each path, browse names joined by `/`, by its name in the settings.

    Raises NodeMissing that names the nearest, or CallFailed.
    """
    fields = {name: base_field(path) for name, path in paths.items() if path in _OF_EVERY_EVENT}
    others = {name: tuple(path.split("/")) for name, path in paths.items() if name not in fields}
    if not others:
        return fields
    browser = Browser(session)
    types = await _types(browser, event_type)
    problems: list[NodeMissing] = []
    for name, path in others.items():
        found = await _find(browser, types, path, session.namespaces)
        if isinstance(found, EventField):
            fields[name] = found
        elif any(found):
            problems.append(_missing(name, paths[name], found))
        else:  # the server does not show its types: the path cannot be checked
            index = event_type.NamespaceIndex
            fields[name] = EventField(event_type, tuple(ua.QualifiedName(each, ua.UInt16(index)) for each in path))
    if problems:
        what = "; ".join(problem.what for problem in problems)
        raise NodeMissing(what, remedy="; ".join(dict.fromkeys(problem.remedy for problem in problems)))
    return {name: fields[name] for name in paths}


async def _types(browser: Browser, event_type: ua.NodeId) -> list[ua.NodeId]:
    """Return the types whose fields an event may have: its own first, then what it derives from, then the derived."""
    bases: dict[ua.NodeId, ua.NodeId] = {}
    level = [BASE_EVENT]
    for _level in range(MAX_DEPTH):
        await browser.visit(level)
        below = {
            child.node: node
            for node in level
            for child in browser.children(node)
            if child.kind is ua.NodeClass.ObjectType and child.node not in bases
        }
        bases |= below
        level = list(below)
        if not level:
            break
    await browser.visit([event_type])
    own = [event_type]
    while own[-1] in bases:
        own.append(bases[own[-1]])
    derived = [event_type]
    for node in derived:  # the list grows during the loop
        derived += [each for each, base in bases.items() if base == node]
    return own + derived[1:]


async def _find(
    browser: Browser, types: Iterable[ua.NodeId], path: tuple[str, ...], namespaces: list[str]
) -> EventField | list[str]:
    """Return the field, or the names that exist where the first unknown one was expected."""
    furthest, there = 0, list[str]()
    for declaring in types:
        node, names = declaring, list[ua.QualifiedName]()
        for place, name in enumerate(path):
            await browser.visit([node])
            child = next(filter(_is_field, browser.named(node, name)), None)
            if child is None:
                seen = [each.name for each in browser.children(node) if _is_field(each)]
                if place > furthest:
                    furthest, there = place, []
                if place == furthest:
                    there += seen
                break
            names.append(ua.QualifiedName(child.name, ua.UInt16(namespaces.index(child.namespace))))
            node = child.node
        else:
            return EventField(declaring, tuple(names))
    return there


def _is_field(child: Child) -> bool:
    return child.kind is not ua.NodeClass.ObjectType


def _missing(name: str, path: str, there: list[str]) -> NodeMissing:
    what = f"when.fields.{name}: events of this type have no field {path!r}"
    known = list(dict.fromkeys(there))
    close = {near: None for part in path.split("/") for near in nearest(part, known)}
    if close:
        return NodeMissing(what, remedy=f"did you mean {' or '.join(map(repr, close))}?")
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return NodeMissing(what, remedy=f"they have {', '.join(map(repr, known[:_SHOWN]))}{more}")
