"""Browses the children of nodes, level by level, within the limits of the server and bounds of our own.

Hierarchical references are followed forward. A server returns a long list in parts, each with a continuation point for
the next one (OPC 10000-4, 5.9.3); points that are not used to the end are released, for a server has few.
"""

import contextlib
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from lineside_opcua_bridge.link.session import CallFailed, Session
from lineside_opcua_bridge.nodes import NodeMissing, describe

MAX_NODES = 20_000
"""Of so many nodes at most one browser reads the children."""
MAX_CHILDREN = 200_000
"""So many children at most one browser keeps, so that its memory is bounded."""
MAX_DEPTH = 32
"""So many levels at most below the Root folder."""

_BATCH = 50
_PIECE = 500
_NO_POINTS = StatusCodes.BadNoContinuationPoints
_MAX_NEAREST = 3
_LIKE_ENOUGH = 0.6
"""difflib's cutoff: how alike two names must be, 0 to 1."""
_COMPARED = 2000
"""Names that are compared at most: comparing is slow, and the bridge has parts to judge meanwhile."""
_TOO_MUCH = frozenset({"BadTooManyOperations", "BadResponseTooLarge", "BadEncodingLimitsExceeded"})


class BrowseTooLarge(NodeMissing):
    """The server has more nodes than are browsed at once: a node that may exist was not found."""

    code = "browse-too-large"


@dataclass(frozen=True, slots=True)
class Child:
    """A node as described by a reference to it."""

    node: ua.NodeId
    text: str
    """The node id as it goes into the settings."""
    name: str
    """Browse name, without its namespace."""
    namespace: str
    """Namespace of the browse name, as URI."""
    display: str
    kind: ua.NodeClass
    type_definition: ua.NodeId | None


class Browser:
    """Browses with one session and keeps the results; `limit` bounds the nodes whose children it reads."""

    def __init__(self, session: Session, *, limit: int = MAX_NODES) -> None:
        self._session = session
        self._limit = limit
        self._batch = 0
        self._taken = 0
        self._known: dict[ua.NodeId, tuple[Child, ...]] = {}
        self._by_name: dict[ua.NodeId, dict[str, list[Child]]] = {}

    async def visit(self, nodes: Iterable[ua.NodeId]) -> None:
        """Read the children of nodes; raises BrowseTooLarge or CallFailed."""
        new = [node for node in dict.fromkeys(nodes) if node not in self._known]
        if len(new) > self.room:
            raise BrowseTooLarge(
                f"more than {self._limit} nodes would have to be browsed", remedy="name more of the path"
            )
        if new and not self._batch:
            self._batch = await self._largest_batch()
        while new:
            batch, new = new[: self._batch], new[self._batch :]
            try:
                new += await self._browse(batch)
            except CallFailed as error:
                if error.reason not in _TOO_MUCH or len(batch) == 1:
                    raise
                self._batch = len(batch) // 2
                new += batch

    @property
    def room(self) -> int:
        """How many more nodes may be visited."""
        return self._limit - len(self._known)

    def has(self, node: ua.NodeId) -> bool:
        """Whether a node was visited."""
        return node in self._known

    def children(self, node: ua.NodeId) -> tuple[Child, ...]:
        """Return the children of a node that was visited; none for one that was not."""
        return self._known.get(node, ())

    def named(self, node: ua.NodeId, name: str) -> list[Child]:
        """Return the children with this browse name; several should differ in its namespace."""
        if node not in self._by_name:
            by_name = self._by_name[node] = {}
            for child in self.children(node):
                by_name.setdefault(child.name, []).append(child)
        return self._by_name[node].get(name, [])

    async def _largest_batch(self) -> int:
        limit = ua.NodeId(ua.Int32(ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse))
        (value,) = await self._session.read([(limit, AttributeIds.Value)])
        most = value.Value.Value if value.Value is not None else None
        return min(most, _BATCH) if isinstance(most, int) and most > 0 else _BATCH

    async def _browse(self, nodes: Sequence[ua.NodeId]) -> list[ua.NodeId]:
        """Read the children of nodes; return those for which the server had no continuation point left."""
        parameters = ua.BrowseParameters(
            RequestedMaxReferencesPerNode=ua.UInt32(_PIECE),
            NodesToBrowse=[
                ua.BrowseDescription(
                    NodeId=node,
                    BrowseDirection=ua.BrowseDirection.Forward,
                    ReferenceTypeId=ua.NodeId(ua.Int32(ObjectIds.HierarchicalReferences)),
                    IncludeSubtypes=True,
                    ResultMask=ua.UInt32(ua.BrowseResultMask.All),
                )
                for node in nodes
            ],
        )
        results = await self._session.call("browsing", lambda session: session.browse(parameters))
        if len(results) != len(nodes):
            raise CallFailed(f"browsing {len(nodes)} nodes gave {len(results)} answers", reason="mismatch")
        unread = [
            node
            for node, result in zip(nodes, results, strict=True)
            if result.StatusCode.value == _NO_POINTS and len(nodes) > 1
        ]
        answers = {node: result for node, result in zip(nodes, results, strict=True) if node not in unread}
        for node, children in (await self._whole(answers)).items():
            self._known[node] = tuple({child.node: child for child in children}.values())
        if unread:  # the points of the others are free now; fewer nodes at once need fewer
            self._batch = max(1, len(nodes) // 2)
        return unread

    async def _whole(self, answers: dict[ua.NodeId, ua.BrowseResult]) -> dict[ua.NodeId, list[Child]]:
        """Return all children, from the first responses and by continuation points."""
        whole: dict[ua.NodeId, list[Child]] = {node: [] for node in answers}
        points: dict[ua.NodeId, bytes] = {}
        try:
            while answers:
                points = {node: each.ContinuationPoint for node, each in answers.items() if each.ContinuationPoint}
                for node, answer in answers.items():
                    whole[node] += self._take(node, answer)
                results = await self._next(list(points.values())) if points else []
                answers = dict(zip(points, results, strict=True))
        except BaseException:
            if points:
                with contextlib.suppress(CallFailed):  # the server releases them with the session anyway
                    await self._next(list(points.values()), release=True)
            raise
        return whole

    async def _next(self, points: Sequence[bytes], *, release: bool = False) -> list[ua.BrowseResult]:
        parameters = ua.BrowseNextParameters(
            ReleaseContinuationPoints=release,
            ContinuationPoints=[ua.ByteString(point) for point in points],
        )
        results = await self._session.call("browsing", lambda session: session.browse_next(parameters))
        if not release and len(results) != len(points):
            raise CallFailed(f"browsing on at {len(points)} nodes gave {len(results)} answers", reason="mismatch")
        return results

    def _take(self, node: ua.NodeId, result: ua.BrowseResult) -> list[Child]:
        """Return the children in one response; none for a node that is gone or may not be browsed."""
        status = result.StatusCode
        if not status.is_good():
            if status.value in {_NO_POINTS, StatusCodes.BadContinuationPointInvalid}:
                raise CallFailed(f"browsing {self._text(node)}: {status.name}", reason=status.name)
            return []
        self._taken += len(result.References)
        if self._taken > MAX_CHILDREN:
            raise BrowseTooLarge(
                f"more than {MAX_CHILDREN} nodes would have to be looked at", remedy="name more of the path"
            )
        return [child for reference in result.References if (child := self._child(reference)) is not None]

    def _child(self, reference: ua.ReferenceDescription) -> Child | None:
        node = self._local(reference.NodeId)
        if node is None:
            return None
        definition = reference.TypeDefinition
        namespaces = self._session.namespaces
        place = reference.BrowseName.NamespaceIndex
        return Child(
            node=node,
            text=self._text(node),
            name=reference.BrowseName.Name or "",
            namespace=namespaces[place] if place < len(namespaces) else "",
            display=reference.DisplayName.Text or "",
            kind=ua.NodeClass(reference.NodeClass),
            type_definition=None if definition is None or definition.is_null() else self._local(definition),
        )

    def _local(self, node: ua.NodeId) -> ua.NodeId | None:
        """Return a node of this server by its index; None for one of another server."""
        if not isinstance(node, ua.ExpandedNodeId):  # asyncua's, where neither a URI nor a server came with it
            return node
        if node.ServerIndex:
            return None
        index = node.NamespaceIndex
        if node.NamespaceUri:
            if node.NamespaceUri not in self._session.namespaces:
                return None
            index = ua.Int16(self._session.namespaces.index(node.NamespaceUri))
        return ua.NodeId(node.Identifier, index, node.NodeIdType)

    def _text(self, node: ua.NodeId) -> str:
        return describe(node, self._session.namespaces)


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three known names that are similar to `name`, the most similar first, ignoring case."""
    by_folded: dict[str, str] = {}
    for each in known:
        by_folded.setdefault(each.casefold(), each)
    wanted = name.casefold()
    # Only names of about the same length can be alike: those are compared first.
    candidates = sorted(by_folded, key=lambda each: abs(len(each) - len(wanted)))[:_COMPARED]
    return [
        by_folded[each] for each in difflib.get_close_matches(wanted, candidates, n=_MAX_NEAREST, cutoff=_LIKE_ENOUGH)
    ]
