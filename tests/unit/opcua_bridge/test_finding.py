"""Nodes are found on a server that is short of everything: nodes per call, continuation points, sense in its tree."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from lineside_opcua_bridge.finding.browsing import Browser, BrowseTooLarge, nearest
from lineside_opcua_bridge.finding.event_fields import find_fields
from lineside_opcua_bridge.finding.find import find, find_all
from lineside_opcua_bridge.link.session import CallFailed
from lineside_opcua_bridge.nodes import OPC_UA, NodeAmbiguous, NodeMissing

URI = "urn:line"
ROOT, OBJECTS = ua.NodeId(ObjectIds.RootFolder), ua.NodeId(ObjectIds.ObjectsFolder)


class SmallServer:
    """A session with a tree of its own; it counts continuation points, which are its scarcest thing."""

    def __init__(self, *, piece: int = 1000, points: int = 1000, per_call: int = 1000, says_limit: bool = True) -> None:
        self.namespaces = [OPC_UA, URI, "urn:other"]
        self.open_points: dict[bytes, list[ua.ReferenceDescription]] = {}
        self.browsed: list[ua.NodeId] = []
        self.fail_after = 10**9
        self._children: dict[ua.NodeId, list[ua.ReferenceDescription]] = {}
        self._piece, self._points, self._per_call, self._says_limit = piece, points, per_call, says_limit
        self.add(ROOT, "Objects", OBJECTS)

    def add(
        self,
        parent: ua.NodeId,
        name: str,
        node: ua.NodeId | None = None,
        *,
        space: int = 1,
        kind: ua.NodeClass = ua.NodeClass.Object,
    ) -> ua.NodeId:
        node = node or ua.NodeId(f"{parent.Identifier}.{name}" if parent is not OBJECTS else name, 1)
        reference = ua.ReferenceDescription(
            NodeId=node,
            BrowseName=ua.QualifiedName(name, space),
            DisplayName=ua.LocalizedText(name),
            NodeClass=kind,
        )
        self._children.setdefault(parent, []).append(reference)
        self._children.setdefault(node, [])
        return node

    async def call(self, doing: str, service: Callable[[Any], Any]) -> Any:
        try:
            return await service(self)
        except UaStatusCodeError as error:
            raise CallFailed(f"{doing}: {error}", reason=ua.StatusCode(error.code).name) from error

    async def read(self, what: Iterable[tuple[ua.NodeId, Any]]) -> list[ua.DataValue]:
        limit = ua.NodeId(ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse)
        return [
            ua.DataValue(self._per_call if self._says_limit else 0)
            if node == limit
            else ua.DataValue(ua.NodeClass.Object.value)
            if node in self._children
            else ua.DataValue(StatusCode=ua.StatusCode(StatusCodes.BadNodeIdUnknown))
            for node, _attribute in what
        ]

    async def browse(self, asked: ua.BrowseParameters) -> list[ua.BrowseResult]:
        if len(asked.NodesToBrowse) > self._per_call:
            raise UaStatusCodeError(StatusCodes.BadTooManyOperations)
        nodes = [each.NodeId for each in asked.NodesToBrowse]
        self.browsed += nodes
        return [self._answer(self._children.get(node, [])) for node in nodes]

    async def browse_next(self, asked: ua.BrowseNextParameters) -> list[ua.BrowseResult]:
        rest = [self.open_points.pop(point) for point in asked.ContinuationPoints]
        if asked.ReleaseContinuationPoints:
            return []
        self.fail_after -= 1
        return [
            ua.BrowseResult(ua.StatusCode(StatusCodes.BadContinuationPointInvalid))
            if self.fail_after <= 0 and place == 0
            else self._answer(references)
            for place, references in enumerate(rest)
        ]

    def _answer(self, references: list[ua.ReferenceDescription]) -> ua.BrowseResult:
        now, later = references[: self._piece], references[self._piece :]
        if not later:
            return ua.BrowseResult(References=now)
        if len(self.open_points) >= self._points:
            return ua.BrowseResult(ua.StatusCode(StatusCodes.BadNoContinuationPoints))
        point = f"{id(references)}-{len(later)}".encode()
        self.open_points[point] = later
        return ua.BrowseResult(ContinuationPoint=point, References=now)


def plant(server: Any, *, stations: int = 3, tags: int = 5) -> Any:
    line = server.add(OBJECTS, "Line")
    for number in range(stations):
        station = server.add(line, f"Station{number}")
        for tag in range(tags):
            server.add(station, f"Tag{tag}")
    return server


async def test_paths_and_ids_are_found_together() -> None:
    server = plant(SmallServer())
    assert await find(server, {"a": "/Objects/Line/Station1/Tag2", "b": f"nsu={URI};s=Line.Station2"}) == {
        "a": ua.NodeId("Line.Station1.Tag2", 1),
        "b": ua.NodeId("Line.Station2", 1),
    }


async def test_only_branches_that_match_are_browsed_and_each_once() -> None:
    server = plant(SmallServer())
    await find(server, {f"tag{tag}": f"/Objects/Line/Station1/Tag{tag}" for tag in range(5)})
    assert server.browsed == [ROOT, OBJECTS, ua.NodeId("Line", 1), ua.NodeId("Line.Station1", 1)]


@pytest.mark.parametrize("says_limit", [True, False])
async def test_no_more_nodes_are_browsed_at_once_than_the_server_takes(says_limit: bool) -> None:
    server = plant(SmallServer(per_call=3, says_limit=says_limit), stations=20)
    assert len(await find_all(server, "/Objects/Line/*/Tag*")) == 100


@pytest.mark.parametrize("points", [1, 2, 7])
async def test_a_server_with_few_continuation_points_is_browsed_whole(points: int) -> None:
    server = plant(SmallServer(piece=3, points=points), stations=20, tags=10)
    found = await find_all(server, "/Objects/Line/*/Tag*")
    assert len({each.node for each in found}) == len(found) == 200
    assert not server.open_points


async def test_points_are_given_back_when_browsing_is_given_up() -> None:
    server = plant(SmallServer(piece=3), stations=9, tags=10)
    server.fail_after = 4
    with pytest.raises(CallFailed, match="BadContinuationPointInvalid"):
        await find_all(server, "/Objects/Line/*/Tag*")
    assert not server.open_points


async def test_a_cycle_of_references_ends() -> None:
    server = plant(SmallServer())
    server.add(ua.NodeId("Line.Station1", 1), "Up", ua.NodeId("Line", 1))
    server.add(ua.NodeId("Line", 1), "Self", ua.NodeId("Line", 1))
    found = await find_all(server, "/Objects/**/Tag1")
    assert [each.path for each in found] == [f"/Objects/Line/Station{number}/Tag1" for number in range(3)]


async def test_a_tree_without_end_ends() -> None:
    class Endless(SmallServer):
        async def browse(self, asked: ua.BrowseParameters) -> list[ua.BrowseResult]:
            for each in asked.NodesToBrowse:
                self.add(each.NodeId, "Deeper")
            return await super().browse(asked)

    server = Endless()
    assert 25 < len(await find_all(server, "/Objects/**/Deeper")) < 35


async def test_browsing_is_bounded() -> None:
    server = plant(SmallServer(), stations=30)
    browser = Browser(server, limit=10)
    await browser.visit([OBJECTS])
    assert browser.room == 9
    with pytest.raises(BrowseTooLarge, match="more than 10 nodes"):
        await browser.visit([ua.NodeId(f"Line.Station{number}", 1) for number in range(30)])


async def test_a_glob_over_too_much_is_told_with_its_role_and_hides_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = plant(SmallServer(), stations=30)
    monkeypatch.setattr("lineside_opcua_bridge.finding.find.Browser", lambda session: Browser(session, limit=20))
    with pytest.raises(NodeMissing) as error:
        await find(server, {"a": "/Objects/**/Tag1", "b": "/Objects/Line", "c": "/Objects/Lime"})
    assert "a: '/Objects/**/Tag1': more than 20 nodes would have to be browsed" in str(error.value)
    assert "b:" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/Objects/Line/Station1/Tagg1", "/Objects/Line/Station1 has no 'Tagg1'. did you mean 'Tag1'"),
        ("/Objects/line/Station1/Tag1", "/Objects has no 'line'. did you mean 'Line'"),
        ("/Objects/Line/Station*/Speed", "Station0 and 2 more have no 'Speed'. below them are 'Tag0', 'Tag1'"),
        ("/Objects/Line/Station1/Tag1/x", "Tag1 has no 'x'. nothing is below it"),
        (f"nsu={URI};s=Line.Station1.Tagg1", "did you mean 'nsu=urn:line;s=Line.Station1.Tag1'"),
        (f"nsu={URI};i=7", "`lineside opcua browse` shows"),
        ("nsu=urn:lime;s=x", "did you mean 'urn:line'"),
        ("alias=x", "no server has it as a node"),
    ],
)
async def test_what_is_missing_is_named_with_the_nearest(text: str, says: str) -> None:
    server = plant(SmallServer())
    with pytest.raises(NodeMissing) as error:
        await find(server, {"sample.speed": text})
    assert says in str(error.value)
    assert str(error.value).startswith("sample.speed: ")


async def test_all_that_is_missing_is_named_at_once() -> None:
    server = plant(SmallServer())
    with pytest.raises(NodeMissing) as error:
        await find(server, {"a": "/Objects/Lin", "b": "/Objects/Line", "c": f"nsu={URI};s=Lin"})
    assert "a: nothing" in str(error.value)
    assert "c: node" in str(error.value)
    assert "b:" not in str(error.value)


async def test_one_name_in_two_namespaces_is_not_guessed_at() -> None:
    server = plant(SmallServer())
    line = ua.NodeId("Line", 1)
    server.add(line, "Station1", ua.NodeId("Theirs", 2), space=2)
    with pytest.raises(NodeAmbiguous) as error:
        await find(server, {"trigger": "/Objects/Line/Station1"})
    assert "nsu=urn:line;s=Line.Station1" in str(error.value)
    assert "nsu=urn:other;s=Theirs" in str(error.value)
    assert len(await find_all(server, "/Objects/Line/Station1")) == 2


async def test_one_node_on_two_ways_is_one_node() -> None:
    server = plant(SmallServer())
    server.add(OBJECTS, "Favourite", ua.NodeId("Line.Station1", 1))
    found = await find(server, {"a": "/Objects/F*/Tag1", "b": "/Objects/Line/Station1/Tag1"})
    assert found["a"] == found["b"] == ua.NodeId("Line.Station1.Tag1", 1)
    with pytest.raises(NodeAmbiguous, match="is 3 nodes"):
        await find(server, {"a": "/Objects/**/Tag1"})


async def test_a_name_with_signs_of_the_path_is_written_with_them_taken_as_they_are() -> None:
    server = plant(SmallServer())
    node = server.add(ua.NodeId("Line", 1), "A/B[1]*")
    assert await find(server, {"a": "/Objects/Line/A&/B&[1]&*"}) == {"a": node}
    (found,) = await find_all(server, "/Objects/Line/A*")
    assert found.path == "/Objects/Line/A&/B&[1]&*"


async def test_the_server_is_not_browsed_again_for_the_same_hint() -> None:
    server = plant(SmallServer())
    for _attempt in range(3):
        with pytest.raises(NodeMissing, match="did you mean"):
            await find(server, {"a": f"nsu={URI};s=Line.Station1.Tagg1"})
    assert server.browsed.count(OBJECTS) == 1


def test_the_nearest_come_first_whatever_their_case() -> None:
    assert nearest("PARTID", ["Speed", "PartId", "PartIdOld", "X"])[0] == "PartId"
    assert nearest("Zzz", ["Speed", "PartId"]) == []


BASE = ua.NodeId(ObjectIds.BaseEventType)
TYPE = ua.NodeClass.ObjectType


def server_with_events() -> tuple[Any, ua.NodeId]:
    """BaseEventType > Machine > Press > Stroke, the fields of ours in our namespace, and a sibling that is neither."""
    server = SmallServer(per_call=2)
    server.add(BASE, "Message", ua.NodeId("message"), space=0)
    machine = server.add(BASE, "MachineEvent", ua.NodeId("machine", 1), kind=TYPE)
    server.add(BASE, "OvenEvent", ua.NodeId("oven", 1), kind=TYPE)
    server.add(ua.NodeId("oven", 1), "Heat")
    part = server.add(machine, "Part")
    server.add(part, "Id", space=2)
    press = server.add(machine, "PressEvent", ua.NodeId("press", 1), kind=TYPE)
    server.add(press, "Force")
    server.add(server.add(press, "StrokeEvent", ua.NodeId("stroke", 1), kind=TYPE), "Length", space=2)
    return server, press


async def test_fields_of_an_event_are_found_where_they_are_declared() -> None:
    server, press = server_with_events()
    paths = {"text": "Message", "part_id": "Part/Id", "force": "Force", "length": "Length"}
    found = await find_fields(server, press, paths)
    assert list(found) == list(paths)
    shown = {
        name: (field.declared_by.Identifier, [str(each.to_string()) for each in field.path])
        for name, field in found.items()
    }
    assert shown == {
        "text": (ObjectIds.BaseEventType, ["0:Message"]),
        "part_id": ("machine", ["1:Part", "2:Id"]),
        "force": ("press", ["1:Force"]),
        "length": ("stroke", ["2:Length"]),
    }


@pytest.mark.parametrize(
    ("path", "remedy"),
    [("Froce", "did you mean 'Force'?"), ("Part/Ident", "they have 'Id'"), ("Heat", "they have 'Force', 'Part'")],
)
async def test_a_field_that_no_such_event_has_is_refused(path: str, remedy: str) -> None:
    server, press = server_with_events()
    with pytest.raises(NodeMissing, match=rf"when\.fields\.x: .* no field '{path}'") as caught:
        await find_fields(server, press, {"x": path, "ok": "Force"})
    assert caught.value.remedy.startswith(remedy)


async def test_a_server_that_shows_no_types_is_taken_at_its_word() -> None:
    server: Any = SmallServer()
    kind = ua.NodeId("kind", 1)
    for node in (BASE, kind):
        server.add(OBJECTS, "x", node)
    found = await find_fields(server, kind, {"x": "Part/Id"})
    assert found["x"].declared_by == kind
    assert [each.to_string() for each in found["x"].path] == ["1:Part", "1:Id"]


@pytest.mark.parametrize(("levels", "kind"), [(30, None), (40, BrowseTooLarge)])
async def test_a_path_deeper_than_is_looked_says_so(levels: int, kind: type[NodeMissing] | None) -> None:
    server = SmallServer()
    parent = OBJECTS
    for level in range(levels):
        parent = server.add(parent, "deep", ua.NodeId(f"deep{level}", 1))
    path = "/Objects" + "/deep" * levels
    if kind is None:
        assert (await find_all(server, path))[0].node == parent
        with pytest.raises(NodeMissing, match="has no 'other'"):
            await find_all(server, f"{path}/other")
        return
    with pytest.raises(kind, match=r"leads deeper than 32 levels below the Root folder.* by its id"):
        await find_all(server, path)
