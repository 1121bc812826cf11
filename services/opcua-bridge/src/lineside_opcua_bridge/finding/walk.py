"""Follows one browse path through the server's tree, one level a step, by the nodes that a browser has read. Pure.

A state is a node and the index of the name in the path that its children must match next. `**` keeps its index from
level to level, and matches no level too. Each state is entered once, so that a cycle of references ends.
"""

from collections.abc import Iterable, Sequence

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds

from lineside_opcua_bridge.finding.browsing import MAX_DEPTH, Browser, BrowseTooLarge, Child, nearest
from lineside_opcua_bridge.nodes import NodeMissing
from lineside_opcua_bridge.tags import escape, is_pattern, pattern, plain

_State = tuple[ua.NodeId, int]
_ANY_DEPTH = "**"
_SHOWN = 8


class Walk:
    """The states of one path; `names` as in `tags.Path`."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._paths: dict[_State, str] = {}
        self._open: list[_State] = []
        self.found: dict[ua.NodeId, str] = {}
        """The nodes at the path's end, each with the first path by which it was reached."""
        self._reach(ua.NodeId(ua.Int32(ObjectIds.RootFolder)), 0, "")

    def open_nodes(self) -> list[ua.NodeId]:
        """Return the nodes whose children must be known for the next step; none at the end."""
        return [node for node, _place in self._open]

    def step(self, browser: Browser) -> None:
        """Go one level down."""
        states, self._open = self._open, []
        for node, place in states:
            path, name = self._paths[node, place], self._names[place]
            for child in self._matching(browser, node, name):
                below = place if name == _ANY_DEPTH else place + 1
                self._reach(child.node, below, f"{path}/{escape(child.name)}")

    def missing(self, text: str, browser: Browser) -> NodeMissing:
        """Return the error of a path that found nothing: how far it came, and the nearest names there."""
        if self._open:
            return BrowseTooLarge(
                f"{text!r} leads deeper than {MAX_DEPTH} levels below the Root folder, and no deeper is looked",
                remedy="name the node by its id (nsu=...;s=...)",
            )
        furthest = max(place for _node, place in self._paths)
        ends = {node: path for (node, place), path in self._paths.items() if place == furthest}
        name = self._names[furthest]
        there = {child.name: None for node in ends for child in browser.children(node)}
        end, *others = ends.values()
        where = f"{end or 'the Root folder'} has" if not others else f"{end} and {len(others)} more have"
        what = f"nothing on the server is at {text!r}: {where} no {name!r}"
        close = [escape(each) for each in nearest(plain(name), there)]
        if close:
            return NodeMissing(what, remedy=f"did you mean {' or '.join(map(repr, close))}?")
        listed = ", ".join(repr(escape(each)) for each in list(there)[:_SHOWN])
        more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
        them = "them" if others else "it"
        return NodeMissing(what, remedy=f"below {them} are {listed}{more}" if there else f"nothing is below {them}")

    def _reach(self, node: ua.NodeId, place: int, path: str) -> None:
        if place == len(self._names):
            self.found.setdefault(node, path)
            return
        if (node, place) in self._paths:
            return
        self._paths[node, place] = path
        self._open.append((node, place))
        if self._names[place] == _ANY_DEPTH:
            self._reach(node, place + 1, path)

    @staticmethod
    def _matching(browser: Browser, node: ua.NodeId, name: str) -> Iterable[Child]:
        if name == _ANY_DEPTH:
            return browser.children(node)
        if not is_pattern(name):
            return browser.named(node, plain(name))
        matches = pattern(name).match
        return [child for child in browser.children(node) if matches(child.name)]
