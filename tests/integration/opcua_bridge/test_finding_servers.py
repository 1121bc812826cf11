"""Nodes are found on servers in processes of their own, asyncua's and one that is not asyncua."""

import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from asyncua import ua

from lineside_opcua_bridge.finding.browsing import Browser
from lineside_opcua_bridge.finding.find import find, find_all
from lineside_opcua_bridge.link.session import CallFailed, Session
from lineside_opcua_bridge.nodes import NodeAmbiguous, NodeMissing
from lineside_opcua_bridge.settings import OpcuaBridgeSettings
from tests.support.paths import SUPPORT
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, until

TREE = "nsu=urn:lineside:tree"
NODE = "nsu=urn:lineside:node"


@asynccontextmanager
async def session_at(port: int) -> AsyncIterator[Session]:
    """A session, once the server listens."""
    settings = OpcuaBridgeSettings.model_validate(
        {"endpoint": f"opc.tcp://127.0.0.1:{port}", "security": {"policy": "none"}, "request_timeout_ms": 20_000}
    )

    async def opened() -> Session | None:
        session = Session(settings, "test")
        try:
            await session.open()
        except CallFailed:
            await session.close()
            return None
        return session

    session = await until(opened)
    try:
        yield session
    finally:
        await session.close()


@contextlib.contextmanager
def tree_server(*more: str) -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([sys.executable, str(SUPPORT / "tree_process.py"), str(port), *more])
    try:
        yield port
    finally:
        process.kill()
        process.wait(HANG_S)


@pytest.fixture(scope="module")
def tree() -> Iterator[int]:
    with tree_server() as port:
        yield port


@pytest.fixture(scope="module")
def other(node_opcua: Path) -> Iterator[int]:
    port = free_port()
    options = json.dumps({"port": port, "nodes": 3000, "maxReferences": 100, "namespaces": ["urn:before"]})
    process = subprocess.Popen(
        ["node", "server.mjs", options], cwd=node_opcua, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        yield port
    finally:
        process.kill()
        process.communicate()


async def test_ids_paths_and_globs_are_found_together(tree: int) -> None:
    async with session_at(tree) as session:
        found = await find(
            session,
            {
                "trigger": f"{TREE};s=Station1.PartPresent",
                "sample.part_id": "/Objects/Press/Station1/PartId",
                "sample.speed": "/Objects/Press/*1/Spee?",
                "sample.odd": "/Objects/Press/Station1/A&/B&[1]",
                "only_if.0": "i=2258",
            },
        )
        names = {role: node.Identifier for role, node in found.items()}
        assert names == {
            "trigger": "Station1.PartPresent",
            "sample.part_id": "Station1.PartId",
            "sample.speed": "Station1.Speed",
            "sample.odd": "Station1.A/B[1]",
            "only_if.0": 2258,
        }


async def test_a_tree_with_a_cycle_is_searched_to_its_end(tree: int) -> None:
    async with session_at(tree) as session:
        paths = {each.path for each in await find_all(session, "/Objects/Press/**/PartPresent")}
        assert paths == {"/Objects/Press/Station1/PartPresent", "/Objects/Press/Station2/PartPresent"}
        with pytest.raises(NodeMissing, match=r"have no 'PartPresen'\. did you mean 'PartPresent'"):
            await find_all(session, "/Objects/Press/**/PartPresen")


async def test_the_same_name_in_two_namespaces_is_named_with_both_ids(tree: int) -> None:
    async with session_at(tree) as session:
        with pytest.raises(NodeAmbiguous) as error:
            await find(session, {"sample.x": "/Objects/Press/Station2"})
        assert f"{TREE};s=Station2" in str(error.value)
        assert f"{TREE};s=Theirs" in str(error.value)
        # What is below one of them only is found all the same.
        await find(session, {"sample.x": "/Objects/Press/Station2/Speed"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{TREE};s=Station1.PartIdd", f"did you mean '{TREE};s=Station1.PartId'"),
        ("nsu=urn:lineside:tre;s=Station1", "did you mean 'urn:lineside:tree'"),
        ("/Objects/Press/Station1/Partpresent", "/Objects/Press/Station1 has no 'Partpresent'. did you mean 'PartP"),
        ("/Objects/Press/Tags/T30000", "/Objects/Press/Tags has no 'T30000'. did you mean 'T"),
    ],
)
async def test_the_nearest_names_are_those_of_the_server(tree: int, text: str, says: str) -> None:
    async with session_at(tree) as session:
        with pytest.raises(NodeMissing) as error:
            await find(session, {"trigger": text})
        assert says in str(error.value)


async def test_the_namespace_of_a_node_may_move(tree: int) -> None:
    texts = {"id": f"{TREE};s=Station1.Speed", "path": "/Objects/Press/Station1/Speed"}
    with tree_server("3") as moved:
        async with session_at(tree) as session, session_at(moved) as later:
            first, second = await find(session, texts), await find(later, texts)
    assert first["id"] == first["path"] != second["id"] == second["path"]
    assert second["id"].NamespaceIndex == first["id"].NamespaceIndex + 3


async def test_many_nodes_are_found_by_ids_and_by_paths(tree: int) -> None:
    async with session_at(tree) as session:
        ids = await find(session, {f"t{n}": f"{TREE};s=T{n}" for n in range(3000)})
        paths = await find(session, {f"t{n}": f"/Objects/Press/Tags/T{n}" for n in range(3000)})
        assert ids == paths
        assert len(await find_all(session, "/Objects/Press/Tags/*")) == 3000


async def test_a_server_that_gives_its_nodes_in_pieces_is_browsed_whole(other: int) -> None:
    async with session_at(other) as session:
        (tags,) = await find_all(session, "/Objects/Line/Counters")
        pieces = 0
        call = session.call

        async def counting(doing, service):
            nonlocal pieces
            pieces += doing == "browsing"
            return await call(doing, service)

        session.call = counting
        browser = Browser(session)
        await browser.visit([tags.node])
        names = [child.name for child in browser.children(tags.node)]
        assert sorted(names) == sorted(f"C{number}" for number in range(3000))
        assert pieces > 5, "the server gave all at once: continuation points were not tried"


async def test_a_server_that_is_not_asyncua_is_searched_alike(other: int) -> None:
    async with session_at(other) as session:
        found = await find(
            session,
            {
                "trigger": "/Objects/Line/Station1/PartPresent",
                "sample.part_id": f"{NODE};s=Station1.PartId",
                "sample.c": "/Objects/Line/**/C2999",
            },
        )
        assert [node.Identifier for node in found.values()] == ["Station1.PartPresent", "Station1.PartId", "C2999"]
        assert {node.NamespaceIndex for node in found.values()} == {session.namespaces.index("urn:lineside:node")}
        with pytest.raises(NodeMissing, match="did you mean 'PartPresent'"):
            await find(session, {"trigger": "/Objects/Line/Station1/PartPresentt"})
        with pytest.raises(NodeMissing, match=f"did you mean '{NODE};s=Station1.Done'"):
            await find(session, {"write_back.done": f"{NODE};s=Station1.Donne"})


async def test_a_long_list_may_be_left_in_the_middle(other: int) -> None:
    async with session_at(other) as session:
        counters = ua.NodeId("Counters", session.namespaces.index("urn:lineside:node"))
        call, calls = session.call, 0

        async def failing(doing, service):
            nonlocal calls
            calls += doing == "browsing"
            if doing == "browsing" and calls == 2:  # after one piece; the third gives the point back
                raise CallFailed("cut", reason="BadTimeout")
            return await call(doing, service)

        for _turn in range(110):  # more often than the server has continuation points for one session
            session.call, calls = failing, 0
            with pytest.raises(CallFailed, match="cut"):
                await Browser(session).visit([counters])
            session.call = call
        assert len(await find_all(session, "/Objects/Line/Counters/C*")) == 3000
