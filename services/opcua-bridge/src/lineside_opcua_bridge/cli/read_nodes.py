"""`lineside opcua read`: prints the present values of nodes."""

from typing import Any

from lineside_opcua_bridge.cli.tables import show, show_json, table
from lineside_opcua_bridge.cli.variables import (
    Variable,
    content,
    described,
    jsonable,
    moment,
    shown_value,
    status,
    variables,
)
from lineside_opcua_bridge.finding.find import FoundNode, find_all
from lineside_opcua_bridge.link.session import Session


async def read(session: Session, texts: list[str], *, as_json: bool) -> None:
    """Print the present value of every node that the texts name; raises LinesideError."""
    found = [each for text in texts for each in await find_all(session, text)]
    known = await variables(session, [each.node for each in found], values=True)
    if as_json:
        show_json([_read(each, variable, session) for each, variable in zip(found, known, strict=True)])
        return
    heads = ["NODE", "VALUE", "TYPE", "STATUS", "SOURCE TIME", "SERVER TIME", "ACCESS"]
    cells = []
    for each, variable in zip(found, known, strict=True):
        value = variable.value
        shown = [
            shown_value(variable, session),
            variable.type or variable.kind,
            status(value) if value else "no value",
            (moment(value.SourceTimestamp) if value else None) or "",
            (moment(value.ServerTimestamp) if value else None) or "",
            variable.access,
        ]
        cells.append([each.path or each.text, *shown])
    show(table(heads, cells))


def _read(found: FoundNode, variable: Variable, session: Session) -> dict[str, Any]:
    value = variable.value
    return {
        "path": found.path,
        "node": found.text,
        "value": jsonable(content(value), session.namespaces),
        "status": status(value) if value else None,
        "source": moment(value.SourceTimestamp) if value else None,
        "server": moment(value.ServerTimestamp) if value else None,
    } | described(variable)
