"""Stream Manager's protocol without sockets: frames, status messages, and what they mean."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import cbor2
import pytest

from lineside_forwarder.errors import BatchRefused, DestinationAway, NotAllowed, Throttled
from lineside_forwarder.stream_manager import tasks, wire
from lineside_forwarder.stream_manager.client import Client, Lost, Refused
from lineside_forwarder.stream_manager.folder import Folder
from lineside_forwarder.stream_manager.inflight_limit import InflightLimit
from lineside_forwarder.stream_manager.tasks import Status, StatusMessage
from lineside_forwarder.stream_manager.wire import Code, Operation
from tests.support.waiting import HANG_S, until


def reader_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


async def test_a_frame_comes_back() -> None:
    body = {"requestId": "a", "payload": bytes(range(256)), "n": {"x": [1, None, True]}}
    frame = wire.encode(Operation.APPEND, body)
    # Four bytes of length that count the operation, the operation, CBOR.
    assert frame[:5] == (len(frame) - 4).to_bytes(4, "big") + b"\x04"
    assert await wire.read_frame(reader_of(frame)) == (4, body)


async def test_a_frame_that_is_cut_at_any_byte_is_no_frame() -> None:
    frame = wire.encode(Operation.READ, {"requestId": "a", "streamName": "b"})
    for length in range(len(frame)):
        with pytest.raises(asyncio.IncompleteReadError):
            await wire.read_frame(reader_of(frame[:length]))


async def test_a_frame_that_comes_byte_by_byte_is_whole() -> None:
    """What the official client's reads get wrong: a length that comes in two pieces."""
    frame = wire.encode(Operation.READ, {"requestId": "a"})
    reader = asyncio.StreamReader()
    reading = asyncio.create_task(wire.read_frame(reader))
    for byte in frame:
        reader.feed_data(bytes([byte]))
        await asyncio.sleep(0)
    assert await reading == (5, {"requestId": "a"})


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (b"\x00\x00\x00\x00\x06", "0 bytes"),
        (b"\xff\xff\xff\xff\x06", "-1 bytes"),
        ((wire.MAX_FRAME + 1).to_bytes(4, "big") + b"\x06", "allowed are"),
        (b"\x00\x00\x00\x02\x06\xff", "no CBOR"),
        (b"\x00\x00\x00\x01\x06", "no CBOR"),
        (b"\x00\x00\x00\x06\x06" + b"\x9b\xff\xff\xff\xff", "no CBOR"),
        (b"\x00\x00\x00\x02\x06\x01", "holds int, not a map"),
    ],
)
async def test_a_frame_that_is_none_is_named(frame: bytes, says: str) -> None:
    with pytest.raises(wire.WireError, match=says):
        await wire.read_frame(reader_of(frame))


class _Pipe(asyncio.Transport):
    """The other end of a connection in memory: gets what is written, and answers by what it is told to."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__()
        self.reader = reader
        self.asked: list[dict[str, object]] = []
        self.buffer = b""
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 4 and len(self.buffer) >= 4 + (size := int.from_bytes(self.buffer[:4], "big")):
            self.asked.append(cbor2.loads(self.buffer[5 : 4 + size]))
            self.buffer = self.buffer[4 + size :]

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True
        if not self.reader.at_eof():
            self.reader.feed_eof()


def connected() -> tuple[Client, _Pipe, asyncio.StreamReader]:
    reader = asyncio.StreamReader()
    pipe = _Pipe(reader)
    protocol = asyncio.StreamReaderProtocol(reader)
    protocol.connection_made(pipe)
    client = Client(reader, asyncio.StreamWriter(pipe, protocol, reader, asyncio.get_running_loop()))
    client._listener = asyncio.create_task(client._listen())
    return client, pipe, reader


async def end(client: Client) -> None:
    client._end("closed here")
    client._listener.cancel()
    await asyncio.gather(client._listener, return_exceptions=True)


async def test_answers_find_their_requests_in_any_order() -> None:
    client, pipe, reader = connected()
    calls = [asyncio.create_task(client.append("s", bytes([n]))) for n in range(5)]
    while len(pipe.asked) < 5:
        await asyncio.sleep(0)
    reader.feed_data(wire.encode(Operation.APPENDED, {"requestId": "of nobody", "status": 0}))
    for asked in reversed(pipe.asked):
        body = {"requestId": asked["requestId"], "status": 0, "sequenceNumber": 10 + asked["payload"][0]}
        reader.feed_data(wire.encode(Operation.APPENDED, body))
    assert await asyncio.gather(*calls) == [10, 11, 12, 13, 14]
    await end(client)


@pytest.mark.parametrize(
    "last",
    [b"", b"\x00\x00", b"\x00\x00\x00\x00\x00", b"\x00\x00\x00\x02\x09\xff", "answer of another kind"],
)
async def test_the_end_of_the_connection_ends_all_that_wait(last: bytes | str) -> None:
    client, pipe, reader = connected()
    calls = [asyncio.create_task(client.append("s", b"x")), asyncio.create_task(client.describe("s"))]
    while len(pipe.asked) < 2:
        await asyncio.sleep(0)
    if isinstance(last, str):
        last = wire.encode(Operation.DESCRIBED, {"requestId": pipe.asked[0]["requestId"], "status": 0})
    reader.feed_data(last)
    if len(last) < 5:
        reader.feed_eof()
    for call in calls:
        with pytest.raises(Lost):
            await call
    assert client.is_lost
    with pytest.raises(Lost):
        await client.append("s", b"x")
    await end(client)


async def test_an_operation_that_is_not_known_there() -> None:
    client, pipe, reader = connected()
    call = asyncio.create_task(client.update({"name": "s"}))
    await until(lambda: pipe.asked)
    body = {"requestId": pipe.asked[0]["requestId"], "status": 18, "errorMessage": "old"}
    reader.feed_data(wire.encode(Operation.UNKNOWN_OPERATION, body))
    with pytest.raises(Refused, match="UNKNOWN_OPERATION: old"):
        await call
    assert not client.is_lost
    await end(client)


@pytest.mark.parametrize(
    "key", ["", "a b", "a{b", "!{timestamp:yyyy}", "a#b", "a?b", 'a"b', "a~b", "a\\b", "x" * 1025, "\u00e9" * 513]
)
def test_keys_that_stream_manager_would_not_take(key: str) -> None:
    with pytest.raises(BatchRefused, match="is no key"):
        tasks.task(Path("/a"), "bucket", key)


def test_a_task_is_json_with_the_file_and_the_key() -> None:
    found = json.loads(tasks.task(Path("/srv/a b/1-x.jpg"), "bucket", "sme-capture/line/x.jpg"))
    assert found == {"inputUrl": "file:///srv/a%20b/1-x.jpg", "bucket": "bucket", "key": "sme-capture/line/x.jpg"}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"{}",
        b"[]",
        b"1",
        b'{"status": 0}',
        b'{"status": 0, "statusContext": null}',
        b'{"status": 9, "statusContext": {"s3ExportTaskDefinition": {"inputUrl": "file:///a"}}}',
    ],
)
def test_words_that_say_nothing(payload: bytes) -> None:
    assert tasks.parse_status(payload) is None


def test_a_word() -> None:
    said = {"status": 1, "message": "m", "statusContext": {"s3ExportTaskDefinition": {"inputUrl": "file:///a"}}}
    assert tasks.parse_status(json.dumps(said).encode()) == StatusMessage("file:///a", Status.FAILURE, "m")


@pytest.mark.parametrize(
    ("found", "agrees"),
    [
        ({"name": "s", "x": [{"a": 1, "more": 2}], "off": False, "more": 3}, True),
        ({"name": "s", "x": [{"a": 1}]}, True),
        ({"name": "s", "x": [{"a": 2}], "off": False}, False),
        ({"name": "s", "x": [], "off": False}, False),
        ({"name": "s", "x": None}, False),
        ({"name": "s", "x": [{"a": 1}], "off": True}, False),
        (None, False),
    ],
)
def test_what_agrees_with_a_definition(found: object, agrees: bool) -> None:
    assert tasks.agrees(found, {"name": "s", "x": [{"a": 1}], "off": False}) is agrees


@pytest.mark.parametrize(
    ("info", "is_gone", "is_passed"),
    [
        ({}, False, False),
        ({"storageStatus": {"oldestSequenceNumber": 3, "newestSequenceNumber": 9}}, False, False),
        ({"storageStatus": {"oldestSequenceNumber": 6, "newestSequenceNumber": 9}}, True, False),
        ({"storageStatus": {"oldestSequenceNumber": 0, "newestSequenceNumber": 4}}, True, False),
        ({"exportStatuses": [{"exportConfigIdentifier": "x", "lastExportedSequenceNumber": 9}]}, False, False),
        ({"exportStatuses": [{"exportConfigIdentifier": tasks.EXPORT}]}, False, False),
        ({"exportStatuses": [{"exportConfigIdentifier": tasks.EXPORT, "lastExportedSequenceNumber": 5}]}, False, True),
    ],
)
def test_what_became_of_task_5(info: dict[str, object], is_gone: bool, is_passed: bool) -> None:
    assert tasks.is_gone(info, 5) is is_gone
    assert tasks.is_passed(info, 5) is is_passed


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Lost("gone"), DestinationAway),
        (Refused(Code.UNAUTHORIZED, ""), NotAllowed),
        (Refused(Code.UNSUPPORTED_PROTOCOL_VERSION, ""), NotAllowed),
        (Refused(Code.OUT_OF_MEMORY, ""), Throttled),
        (Refused(Code.REQUEST_TOO_LARGE, ""), BatchRefused),
        (Refused(Code.INVALID_REQUEST, ""), DestinationAway),
        (Refused(77, ""), DestinationAway),
    ],
)
def test_what_an_error_means(error: Exception, kind: type[Exception]) -> None:
    assert type(tasks.trouble(error, "there")) is kind


async def test_room_is_given_in_the_order_of_asking() -> None:
    room = InflightLimit(2, 100)
    order = []
    leave = {name: asyncio.Event() for name in "abcd"}

    async def visit(name: str, size: int) -> None:
        async with room.taken(size):
            order.append(name)
            await leave[name].wait()

    async def settle() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    visits = [asyncio.create_task(visit(name, size)) for name, size in zip("abcd", (60, 1000, 10, 10), strict=True)]
    await settle()
    assert order == ["a"]  # b is too large for what is left, and c and d came later
    leave["a"].set()
    await settle()
    assert order == ["a", "b"]
    visits[2].cancel()
    leave["b"].set()
    await settle()
    assert order == ["a", "b", "d"]
    leave["d"].set()
    await asyncio.gather(*visits, return_exceptions=True)
    assert (room.files, room.bytes) == (0, 0)


def test_a_folder_of_a_killed_process_is_swept_and_that_of_a_live_one_not(tmp_path: Path) -> None:
    """One that was killed by SIGKILL, one that lives: only a lock tells them apart."""
    program = (
        "import sys; from pathlib import Path; from lineside_forwarder.stream_manager.folder import Folder\n"
        "folder = Folder(Path(sys.argv[1]), 'g'); folder.begin(); file = folder.file('x'); file.make()\n"
        "file.write(b'evidence'); file.finish(); print(file.path, flush=True); sys.stdin.read()"
    )
    found = []
    processes = []
    try:
        for _ in range(2):
            process = subprocess.Popen(
                [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            processes.append(process)
            found.append(Path(process.stdout.readline().strip()))
        assert [path.read_bytes() for path in found] == [b"evidence"] * 2
        processes[0].kill()
        processes[0].wait(HANG_S)
        folder = Folder(tmp_path, "g")
        folder.begin()
        try:
            assert [path.exists() for path in found] == [False, True]
        finally:
            folder.close()
    finally:
        for process in processes:
            process.kill()
            process.communicate(timeout=HANG_S)
