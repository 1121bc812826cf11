"""`lineside opcua browse`: prints a part of the server's tree."""

from dataclasses import dataclass
from typing import Any

from asyncua import ua

from lineside_opcua_bridge.cli.tables import show, show_json, table
from lineside_opcua_bridge.cli.variables import Variable, content, described, jsonable, shown_value, variables
from lineside_opcua_bridge.finding.browsing import Browser
from lineside_opcua_bridge.finding.find import FoundNode, find_all
from lineside_opcua_bridge.link.session import Session
from lineside_opcua_bridge.tags import Path, escape, parse


@dataclass(frozen=True)
class _Row:
    path: str
    node: ua.NodeId
    text: str


async def browse(session: Session, start: str, *, depth: int | None, values: bool, as_json: bool) -> None:
    """Print the nodes that `start` names and those below, `depth` levels deep; raises LinesideError."""
    tag = parse(start)
    if depth is None:
        depth = 0 if isinstance(tag, Path) and tag.is_glob else 1
    rows = await _below(session, await find_all(session, start), depth)
    known = await variables(session, [row.node for row in rows], values=values)
    if as_json:
        show_json([_browsed(row, each, session, values=values) for row, each in zip(rows, known, strict=True)])
        return
    heads = ["PATH", "NODE", "CLASS", "TYPE", "ACCESS", *(["VALUE"] if values else [])]
    cells = [
        [row.path, row.text, each.kind, each.type, each.access, *([shown_value(each, session)] if values else [])]
        for row, each in zip(rows, known, strict=True)
    ]
    show(table(heads, cells))


async def _below(session: Session, starts: list[FoundNode], depth: int) -> list[_Row]:
    """Return the nodes and those below, each parent before its children; a cycle of references ends at its second."""
    browser = Browser(session)
    level = [each.node for each in starts]
    for _level in range(depth):
        await browser.visit(level)
        level = [child.node for node in level for child in browser.children(node) if not browser.has(child.node)]
    rows: list[_Row] = []

    def add(row: _Row, left: int, above: frozenset[ua.NodeId]) -> None:
        rows.append(row)
        if left and row.node not in above:
            for child in browser.children(row.node):
                below = _Row(f"{row.path}/{escape(child.name)}", child.node, child.text)
                add(below, left - 1, above | {row.node})

    for each in starts:
        add(_Row(each.path or each.text, each.node, each.text), depth, frozenset())
    return rows


def _browsed(row: _Row, variable: Variable, session: Session, *, values: bool) -> dict[str, Any]:
    said = {"path": row.path, "node": row.text} | described(variable)
    return said | {"value": jsonable(content(variable.value), session.namespaces)} if values else said
