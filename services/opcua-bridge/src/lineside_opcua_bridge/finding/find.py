"""Finds the node ids of the settings' texts on the connected server.

Node ids are read to check that they exist. Browse paths are followed from the Root folder, all of them together, one
level at a time, and only along branches that match; the nodes on the way give the nearest names for what is missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from lineside_opcua_bridge.finding.browsing import MAX_DEPTH, Browser, BrowseTooLarge, nearest
from lineside_opcua_bridge.finding.walk import Walk
from lineside_opcua_bridge.link.session import CallFailed, Session
from lineside_opcua_bridge.nodes import Address, NodeAmbiguous, NodeMissing, describe, resolve
from lineside_opcua_bridge.tags import Alias, Element, Path, Tag, parse

_BROWSED_FOR_HINT = 2000
"""Nodes that are browsed at most for the ids nearest to a missing one."""
_SHOWN = 5
_ABSENT = frozenset({StatusCodes.BadNodeIdUnknown, StatusCodes.BadNodeIdInvalid})

_hints: WeakKeyDictionary[Session, dict[str, str]] = WeakKeyDictionary()
"""The hint for each missing id, by session: a trigger that is bound again must not browse the PLC again."""


@dataclass(frozen=True)
class FoundNode:
    """A node that a text names, and the browse path by which it was found, where it was found by one."""

    node: ua.NodeId
    text: str
    """The node id as it goes into the settings."""
    path: str | None = None


_Findings = tuple[dict[str, list[FoundNode]], dict[str, NodeMissing]]


async def find(session: Session, texts: Mapping[str, str]) -> dict[str, ua.NodeId]:
    """Return the one node of each text, by role; of an element of an array the node that has it.

    Raises NodeMissing for a text that names no node, with the nearest names; NodeAmbiguous for one that names several;
    BrowseTooLarge where too many nodes match on the way; or CallFailed. The error names up to five texts.
    """
    everything, problems = await _find(session, texts)
    for role, found in everything.items():
        if len(found) > 1:
            several = ", ".join(f"{each.path} ({each.text})" for each in found[:_SHOWN])
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            problems[role] = NodeAmbiguous(
                f"{texts[role]!r} is {len(found)} nodes where one is needed: {several}{more}",
                remedy="name one of them by its path, or by its node id where the paths are alike",
            )
    if problems:
        raise _together({role: problems[role] for role in texts if role in problems})
    return {role: found[0].node for role, found in everything.items()}


async def find_all(session: Session, text: str) -> list[FoundNode]:
    """Return every node that a text names, at least one; raises as `find` does, but not for several."""
    everything, problems = await _find(session, {text: text})
    if problems:
        raise problems[text]
    return everything[text]


async def _find(session: Session, texts: Mapping[str, str]) -> _Findings:
    """Return the nodes of each text, and the errors of those that name none."""
    tags = {role: _node_of(parse(text)) for role, text in texts.items()}
    ids, wrong_ids = await _find_ids(session, {role: tag for role, tag in tags.items() if isinstance(tag, Address)})
    paths, wrong_paths = await _find_paths(session, {role: tag for role, tag in tags.items() if isinstance(tag, Path)})
    wrong = wrong_ids | wrong_paths
    for role, tag in tags.items():
        if isinstance(tag, Alias):
            wrong[role] = NodeMissing(f"{tag.text!r} comes by a collector's messages: no server has it as a node")
    found = ids | paths
    return {role: found[role] for role in texts if role in found}, wrong


def _node_of(tag: Tag) -> Address | Path | Alias:
    """Return what is searched on the server: for an element of an array, the array's node."""
    return tag.of if isinstance(tag, Element) else tag


async def _find_ids(session: Session, tags: Mapping[str, Address]) -> _Findings:
    found: dict[str, list[FoundNode]] = {}
    wrong: dict[str, NodeMissing] = {}
    nodes: dict[str, ua.NodeId] = {}
    for role, tag in tags.items():
        try:
            nodes[role] = resolve(tag, session.namespaces)
        except NodeMissing as error:
            wrong[role] = error
    absent = await _absent(session, list(nodes.values()))
    for role, node in nodes.items():
        text = tags[role].text
        if node in absent:
            wrong[role] = NodeMissing(f"node {text!r} is not on the server", remedy=await _like(session, text, node))
        else:
            found[role] = [FoundNode(node, describe(node, session.namespaces))]
    return found, wrong


async def _find_paths(session: Session, tags: Mapping[str, Path]) -> _Findings:
    found: dict[str, list[FoundNode]] = {}
    wrong: dict[str, NodeMissing] = {}
    walks = {role: Walk(tag.names) for role, tag in tags.items()}
    browser = Browser(session)
    try:
        await _walk(browser, walks)
    except BrowseTooLarge as error:
        unfinished = [role for role, walk in walks.items() if walk.open_nodes()]
        wrong = {role: BrowseTooLarge(f"{tags[role].text!r}: {error.what}", remedy=error.remedy) for role in unfinished}
    for role, walk in walks.items():
        if walk.found and role not in wrong:
            found[role] = [FoundNode(node, describe(node, session.namespaces), way) for node, way in walk.found.items()]
        elif role not in wrong:
            wrong[role] = walk.missing(tags[role].text, browser)
    return found, wrong


async def _walk(browser: Browser, walks: Mapping[str, Walk]) -> None:
    for _level in range(MAX_DEPTH):
        if not (open_nodes := [node for walk in walks.values() for node in walk.open_nodes()]):
            return
        await browser.visit(open_nodes)
        for walk in walks.values():
            walk.step(browser)
    # Anything deeper is a chain of references that leads to ever new nodes; no tag is there.


async def _absent(session: Session, nodes: Sequence[ua.NodeId]) -> set[ua.NodeId]:
    values = await session.read([(node, AttributeIds.NodeClass) for node in nodes])
    return {
        node
        for node, value in zip(nodes, values, strict=True)
        if value.StatusCode is not None and value.StatusCode.value in _ABSENT
    }


async def _like(session: Session, text: str, missing: ua.NodeId) -> str:
    """Return the remedy for a missing node id, with similar ids found below Objects."""
    remedy = "`lineside opcua browse` shows what there is"
    if not isinstance(missing.Identifier, str):
        return remedy
    hints = _hints.setdefault(session, {})
    if text not in hints:
        ids = await _ids_beside(session, missing)
        close = [repr(ids[identifier]) for identifier in nearest(missing.Identifier, ids)]
        hints[text] = f"did you mean {' or '.join(close)}?" if close else remedy
    return hints[text]


async def _ids_beside(session: Session, missing: ua.NodeId) -> dict[str, str]:
    """Return the texts of node ids in the same namespace by their identifier; objects are browsed before variables."""
    browser = Browser(session, limit=_BROWSED_FOR_HINT)
    ids: dict[str, str] = {}
    level = [ua.NodeId(ua.Int32(ObjectIds.ObjectsFolder))]
    for _level in range(MAX_DEPTH):
        level = level[: browser.room]
        try:
            await browser.visit(level)
        except (BrowseTooLarge, CallFailed):  # a hint must not cause a failure of its own
            break
        children = [child for node in level for child in browser.children(node) if not browser.has(child.node)]
        ids |= {
            child.node.Identifier: child.text
            for child in children
            if child.node.NamespaceIndex == missing.NamespaceIndex and isinstance(child.node.Identifier, str)
        }
        level = [child.node for child in sorted(children, key=lambda child: child.kind is not ua.NodeClass.Object)]
    return ids


def _together(problems: Mapping[str, NodeMissing]) -> NodeMissing:
    """Return one error that names what is wrong with each role."""
    ((role, first), *others) = problems.items()
    kind = NodeAmbiguous if all(isinstance(each, NodeAmbiguous) for each in problems.values()) else NodeMissing
    if not others:
        return kind(f"{role}: {first.what}", remedy=first.remedy)
    told = [f"{role}: {problem}" for role, problem in list(problems.items())[:_SHOWN]]
    more = [f"{len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    return kind("; ".join(told + more), remedy="correct the settings, or add the nodes to the PLC")
