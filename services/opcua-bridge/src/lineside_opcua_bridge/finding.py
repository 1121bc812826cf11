"""From the texts in the settings to node ids on the server that is connected now."""

from collections.abc import Mapping

from asyncua import ua

from lineside_opcua_bridge.nodes import Address, NodeMissing, resolve
from lineside_opcua_bridge.session import Session
from lineside_opcua_bridge.tags import parse


async def find(session: Session, texts: Mapping[str, str]) -> dict[str, ua.NodeId]:
    """Return the node id of each text, by role; raises NodeMissing, which names the nearest, or CallFailed."""
    return {role: _find(session, text) for role, text in texts.items()}


def _find(session: Session, text: str) -> ua.NodeId:
    tag = parse(text)
    if not isinstance(tag, Address):
        raise NodeMissing(f"{text!r} is not a node id", remedy="name the node by nsu=")
    return resolve(tag, session.namespaces)
