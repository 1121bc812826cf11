"""Names that resolve late, never, to nothing or to several addresses; what they stand for is a real server."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from lineside_exporter.sources.dns_transport import DnsTransport, addresses
from lineside_exporter.sources.http_source import fetch
from tests.support.exporter_rig import GOOD, answers, peer
from tests.support.ports import free_port
from tests.support.waiting import HANG_S


class Names:
    """What resolves, and one name that does not answer until it may."""

    def __init__(self) -> None:
        self.known = {"box": ["127.0.0.1"], "two": ["127.0.0.2", "127.0.0.1"], "none": []}
        self.asked: list[str] = []
        self.go_on = threading.Event()

    def resolve(self, host: str) -> list[str]:
        self.asked.append(host)
        if host == "hung":
            self.go_on.wait(HANG_S)
            return ["127.0.0.1"]
        if host not in self.known:
            raise OSError(-2, "Name or service not known")
        return self.known[host]


@pytest.fixture
def names() -> Iterator[Names]:
    found = Names()
    yield found
    found.go_on.set()


@pytest.fixture
async def client(names: Names) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=DnsTransport(names.resolve), trust_env=False, timeout=HANG_S) as made:
        yield made


async def body(client: httpx.AsyncClient, url: str) -> str:
    return (await fetch(client, f"{url}/metrics", max_bytes=10_000)).decode()


async def test_the_header_has_the_name_and_every_address_is_tried(client: httpx.AsyncClient) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        await answers(GOOD)(reader, writer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await body(client, f"http://two:{port}") == GOOD
    assert f"host: two:{port}".encode() in heads[0].lower()


@pytest.mark.parametrize(
    ("host", "says"), [("unknown", "Name or service not known"), ("none", "the name 'none' has no address")]
)
async def test_a_name_that_is_nobodys_is_a_failed_connection(client: httpx.AsyncClient, host: str, says: str) -> None:
    with pytest.raises(httpx.ConnectError, match=says):
        await body(client, f"http://{host}:1")


async def test_an_address_at_which_nobody_listens_is_a_failed_connection(client: httpx.AsyncClient) -> None:
    port = free_port()
    with pytest.raises(httpx.ConnectError):
        await body(client, f"http://two:{port}")


async def test_a_name_that_hangs_is_asked_once_and_holds_up_no_other(client: httpx.AsyncClient, names: Names) -> None:
    async with peer(answers(GOOD)) as url:
        port = url.rpartition(":")[2]
        hung = [asyncio.create_task(body(client, f"http://hung:{port}")) for _ in range(50)]
        assert await body(client, f"http://box:{port}") == GOOD
        assert await body(client, f"http://127.0.0.1:{port}") == GOOD
        hung[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await hung[0]
        assert not any(each.done() for each in hung[1:])
        assert names.asked.count("hung") == 1
        assert "127.0.0.1" not in names.asked, "an address is no name"
        names.go_on.set()
        assert set(await asyncio.gather(*hung[1:])) == {GOOD}


def test_this_machines_own_name_has_addresses() -> None:
    assert set(addresses("localhost")) & {"127.0.0.1", "::1"}
