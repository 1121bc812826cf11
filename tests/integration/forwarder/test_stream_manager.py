"""Evidence by way of Stream Manager, against a server that speaks its protocol."""

import asyncio
import json
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from lineside_forwarder.destination import BatchUpload
from lineside_forwarder.errors import BatchRefused, DestinationAway, NotAllowed, Throttled
from lineside_forwarder.settings import StreamManagerSettings
from lineside_forwarder.stream_manager import StreamManagerDestination, exports
from lineside_forwarder.stream_manager.destination import PORT_VARIABLE, TOKEN_VARIABLE
from lineside_forwarder.stream_manager.session import Session
from lineside_forwarder.stream_manager.tasks import Status, StatusMessage
from tests.support.paths import SUPPORT
from tests.support.s3_uploads import MemoryBlobs, upload_of
from tests.support.stream_manager_server import (
    CANCELED,
    FAILURE,
    IN_PROGRESS,
    WARNING,
    Stream,
    StreamManagerServer,
)
from tests.support.waiting import HANG_S, until

BUCKET = "amzn-s3-demo-bucket"
FOLDER = "sme-capture/line/spindle/2026/11/22/02"
STREAM = "lineside-evidence"
APPEND, READ, CREATE, UPDATE = 4, 5, 2, 15


class Free:
    """No cap; counts."""

    def __init__(self) -> None:
        self.spent = 0

    async def spend(self, amount: int) -> None:
        self.spent += amount


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[StreamManagerServer]:
    async with StreamManagerServer(tmp_path / "stream-manager") as server:
        yield server


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    monkeypatch.delenv(PORT_VARIABLE, raising=False)


@asynccontextmanager
async def destination_at(
    port: int, path: Path, *, max_silence_s: float = 60.0, max_bytes: int = 1024 * 1024
) -> AsyncIterator[StreamManagerDestination]:
    settings = StreamManagerSettings(
        name="greengrass", kind="stream-manager", bucket=BUCKET, path=path, port=port, max_bytes=max_bytes
    )
    await asyncio.to_thread(path.mkdir, exist_ok=True)
    destination = StreamManagerDestination(settings, max_silence_s=max_silence_s)
    await destination.start()
    try:
        yield destination
    finally:
        await destination.close()


def local_files(path: Path) -> list[Path]:
    """Return what waits below `path` to be exported."""
    return [found for found in path.rglob("*") if found.is_file() and not found.name.endswith("lock")]


def bytes_of(files: list[Path]) -> int:
    """Return the sizes of the files together; one that goes meanwhile, as they do once exported, counts nothing."""
    total = 0
    for file in files:
        with suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def check_arrived(bucket: Path, upload: BatchUpload, blobs: MemoryBlobs) -> None:
    """Everything of a batch is in the bucket, and every reference leads to the right bytes."""
    lines = (bucket / BUCKET / upload.path).read_bytes().splitlines()
    assert len(lines) == len(upload.records)
    for line, record in zip(lines, upload.records, strict=True):
        told = json.loads(line)
        assert told["eventMetadata"]["eventId"] == record.key
        references = [item["data-ref"] for item in told["deviceFleetInputs"] if "data-ref" in item]
        assert len(references) == len(record.blobs)
        for reference, blob in zip(references, record.blobs, strict=True):
            assert reference.startswith(f"s3://{BUCKET}/")
            assert (bucket / reference.removeprefix("s3://")).read_bytes() == blobs.data[blob.digest]


async def deliver_at_last(destination: StreamManagerDestination, upload: BatchUpload, blobs: MemoryBlobs) -> None:
    """Deliver as the supervisor does, again and again."""
    async with asyncio.timeout(HANG_S):
        while True:
            with suppress(DestinationAway):
                await destination.deliver(upload, blobs, Free())
                return


async def test_a_batch_arrives_objects_first(server: StreamManagerServer, tmp_path: Path) -> None:
    blobs, limiter = MemoryBlobs(), Free()
    upload = upload_of(blobs, b"a" * 200_000, b"small", b"b" * 101)
    async with destination_at(server.port, tmp_path / "files") as destination:
        await destination.deliver(upload, blobs, limiter)
        assert not local_files(tmp_path / "files")
    check_arrived(server.bucket, upload, blobs)
    assert server.puts[-1] == upload.path
    assert sorted(server.puts[:-1]) == sorted(path for path, _blob in upload.objects())
    assert limiter.spent == 200_101 + (server.bucket / BUCKET / upload.path).stat().st_size
    assert server.requests.count(CREATE) == 2
    definition = server.streams[STREAM].definition
    assert definition["persistence"] == 0
    assert definition["flushOnWrite"] is True
    assert definition["exportDefinition"]["s3TaskExecutor"][0]["statusConfig"]["statusStreamName"] == f"{STREAM}-status"


async def test_the_lines_wait_until_every_object_has_arrived(server: StreamManagerServer, tmp_path: Path) -> None:
    """The order of tasks in the stream is not enough: behind a task that fails the next one runs."""
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500, b"b" * 500)
    first, _second = (path for path, _blob in upload.objects())
    server.outcome = lambda task: [(FAILURE, "InternalError")] if task["key"] == first else None
    async with destination_at(server.port, tmp_path / "files") as destination:
        with pytest.raises(DestinationAway, match=r"InternalError"):
            await destination.deliver(upload, blobs, Free())
        await until(lambda: not local_files(tmp_path / "files"))
        assert not (server.bucket / BUCKET / upload.path).exists()
        server.outcome = lambda _task: None
        await destination.deliver(upload, blobs, Free())
    check_arrived(server.bucket, upload, blobs)
    assert sorted(server.puts) == sorted([*(path for path, _blob in upload.objects()), upload.path])


async def test_a_repetition_changes_nothing(server: StreamManagerServer, tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    found = []
    for _attempt in range(2):
        async with destination_at(server.port, tmp_path / "files") as destination:
            await destination.deliver(upload, blobs, Free())
        root = server.bucket
        found.append({str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()})
    assert found[0] == found[1]
    assert len(found[0]) == 2


async def test_a_damaged_object_is_said_in_its_line(server: StreamManagerServer, tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500, b"b" * 500)
    blobs.data = dict(list(blobs.data.items())[1:])
    async with destination_at(server.port, tmp_path / "files") as destination:
        await destination.deliver(upload, blobs, Free())
    lines = (server.bucket / BUCKET / upload.path).read_bytes().splitlines()
    assert [b"data-error" in line for line in lines] == [True, False]


async def test_many_streams_and_files_at_once_stay_within_bounds(server: StreamManagerServer, tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    size = 300_000
    uploads = [
        upload_of(blobs, *(bytes([model, number]) * (size // 2) for number in range(12)), model=f"model-{model}")
        for model in range(4)
    ]
    path = tmp_path / "files"
    highest = 0

    def look(_task: dict[str, str]) -> None:
        nonlocal highest
        highest = max(highest, bytes_of(local_files(path)))

    server.outcome = look
    async with destination_at(server.port, path, max_bytes=4 * size) as destination:
        await asyncio.gather(*(destination.deliver(upload, blobs, Free()) for upload in uploads))
    for upload in uploads:
        check_arrived(server.bucket, upload, blobs)
    assert len(server.puts) == len(set(server.puts)) == 4 * 13
    assert size <= highest <= 4 * size
    assert [found.name for found in path.iterdir()] == ["greengrass.lock"]


async def test_a_file_larger_than_the_bound_goes_alone(server: StreamManagerServer, tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 3_000_000, b"b" * 500)
    async with destination_at(server.port, tmp_path / "files") as destination:
        await destination.deliver(upload, blobs, Free())
    check_arrived(server.bucket, upload, blobs)


async def test_files_are_for_the_group_of_the_folder(server: StreamManagerServer, tmp_path: Path) -> None:
    path = tmp_path / "files"
    path.mkdir()
    path.chmod(0o2750)
    (server.folder / "hold").touch()
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    async with destination_at(server.port, path) as destination:
        delivery = asyncio.create_task(destination.deliver(upload, blobs, Free()))
        await until(lambda: len(server.streams.get(STREAM, _Nothing).messages) == 1)
        (file,) = local_files(path)
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o2750
        delivery.cancel()
        with suppress(asyncio.CancelledError):
            await delivery
    assert not local_files(path)


class _Nothing:
    messages = ()


async def test_away_at_the_start_then_there(server: StreamManagerServer, tmp_path: Path) -> None:
    port = server.port
    await server.stop()
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    async with destination_at(port, tmp_path / "files") as destination:
        with pytest.raises(DestinationAway, match=r"no connection to 127\.0\.0\.1"):
            await destination.deliver(upload, blobs, Free())
        await server.start(port)
        await destination.deliver(upload, blobs, Free())
    check_arrived(server.bucket, upload, blobs)


async def test_restarted_while_exports_wait(server: StreamManagerServer, tmp_path: Path) -> None:
    """The tasks of before are still in the stream; their files are gone, and what they say counts for nobody."""
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    (server.folder / "hold").touch()
    async with destination_at(server.port, tmp_path / "files") as destination:
        delivery = asyncio.create_task(destination.deliver(upload, blobs, Free()))
        await until(lambda: len(server.streams.get(STREAM, _Nothing).messages) == 1)
        port = server.port
        await server.stop()
        with pytest.raises(DestinationAway):
            await delivery
        await server.start(port)
        (server.folder / "hold").unlink()
        await destination.deliver(upload, blobs, Free())
        assert len(server.streams[STREAM].messages) == 3
    check_arrived(server.bucket, upload, blobs)
    assert len(server.puts) == len(set(server.puts)) == 2


async def test_killed_between_append_and_status(tmp_path: Path) -> None:
    folder = tmp_path / "stream-manager"
    folder.mkdir()
    (folder / "hold").touch()
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    process, port = await asyncio.to_thread(_process, folder, 0)
    try:
        async with destination_at(port, tmp_path / "files") as destination:
            delivery = asyncio.create_task(destination.deliver(upload, blobs, Free()))
            await until(lambda: _on_disk(folder, STREAM) == 1)
            process.send_signal(signal.SIGKILL)
            process.wait(HANG_S)
            with pytest.raises(DestinationAway):
                await delivery
            (folder / "hold").unlink()
            process.stdout.close()
            process, _port = await asyncio.to_thread(_process, folder, port)
            await destination.deliver(upload, blobs, Free())
    finally:
        process.kill()
        process.wait(HANG_S)
        process.stdout.close()
    check_arrived(folder / "s3", upload, blobs)
    puts = (folder / "puts.log").read_text().splitlines()
    assert len(puts) == len(set(puts)) == 2


async def test_control_a_destination_that_trusts_an_append_loses(
    server: StreamManagerServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same outage shows the loss where an append counts as an arrival."""
    append = Session.append

    async def trusting(
        session: Session, url: str, message: bytes, hear: Callable[[StatusMessage], None]
    ) -> tuple[int, asyncio.Future[StatusMessage]]:
        sequence, last = await append(session, url, message, hear)
        last.set_result(StatusMessage(url, Status.SUCCESS, ""))
        return sequence, last

    monkeypatch.setattr(Session, "append", trusting)
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    (server.folder / "hold").touch()
    async with destination_at(server.port, tmp_path / "files") as destination:
        await destination.deliver(upload, blobs, Free())
        port = server.port
        await server.stop()
        await server.start(port)
        (server.folder / "hold").unlink()
        await until(lambda: server.streams[STREAM].exported == 1)
    with pytest.raises(FileNotFoundError):
        check_arrived(server.bucket, upload, blobs)


def _process(folder: Path, port: int) -> tuple[subprocess.Popen[str], int]:
    program = SUPPORT / "stream_manager_server.py"
    process = subprocess.Popen(
        [sys.executable, str(program), str(folder), str(port)], stdout=subprocess.PIPE, text=True
    )
    return process, int(process.stdout.readline())


def _on_disk(folder: Path, stream: str) -> int:
    path = folder / f"{stream}.stream"
    return len(Stream.load(path).messages) if path.exists() else 0


async def test_a_forwarder_that_was_killed_leaves_nothing(server: StreamManagerServer, tmp_path: Path) -> None:
    """What a process that is gone left below the folder is swept; what one that lives has there stays."""
    path = tmp_path / "files"
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    path.mkdir()
    left = path / "greengrass.0123456789abcdef"
    left.mkdir()
    (left / "1-image.jpg").write_bytes(b"x" * 1000)
    (left / ".lock").touch()
    other = path / "another"
    other.mkdir()
    (server.folder / "hold").touch()
    async with destination_at(server.port, path) as first, destination_at(server.port, path) as second:
        waits = asyncio.create_task(first.deliver(upload, blobs, Free()))
        await until(lambda: len(server.streams.get(STREAM, _Nothing).messages) == 1)
        also = asyncio.create_task(second.deliver(upload_of(blobs, b"b" * 500, model="other"), blobs, Free()))
        await until(lambda: len(server.streams[STREAM].messages) == 2)
        assert not left.exists()
        assert other.exists()
        (server.folder / "hold").unlink()
        await asyncio.gather(waits, also)
    check_arrived(server.bucket, upload, blobs)


async def test_a_word_of_an_earlier_attempt_counts_for_nobody(server: StreamManagerServer, tmp_path: Path) -> None:
    """Negative control of the reading: a Success for the same key, of a file that is not ours, ends nothing."""
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    (server.folder / "hold").touch()
    async with destination_at(server.port, tmp_path / "files", max_silence_s=0.2) as destination:
        delivery = asyncio.create_task(destination.deliver(upload, blobs, Free()))
        await until(lambda: len(server.streams.get(STREAM, _Nothing).messages) == 1)
        stream = server.streams[STREAM]
        task = json.loads(stream.messages[0][2])
        export = stream.definition["exportDefinition"]["s3TaskExecutor"][0]
        server._say(stream, export, 0, {**task, "inputUrl": "file:///elsewhere/1-image.jpg"}, 0, "exported")
        with pytest.raises(DestinationAway, match="has not exported"):
            await delivery
        server._say(stream, export, 0, task, 0, "exported")
        (server.folder / "hold").unlink()
        await deliver_at_last(destination, upload, blobs)


async def test_patience_ends_but_the_export_goes_on(server: StreamManagerServer, tmp_path: Path) -> None:
    """A box without network: shown as away, with what Stream Manager said; nothing is appended twice."""
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    is_connected = False
    server.outcome = lambda _task: None if is_connected else [(WARNING, "Unable to execute HTTP request")]
    export_loop_pauses = 0.05
    async with destination_at(server.port, tmp_path / "files", max_silence_s=export_loop_pauses) as destination:
        (server.folder / "hold").touch()
        for _attempt in range(3):
            with pytest.raises(DestinationAway, match="has not exported"):
                await destination.deliver(upload, blobs, Free())
        assert len(server.streams[STREAM].messages) == 1
        is_connected = True
        (server.folder / "hold").unlink()
        await until(lambda: len(server.puts) == 1)
        await deliver_at_last(destination, upload, blobs)
    check_arrived(server.bucket, upload, blobs)
    assert len(server.puts) == len(server.streams[STREAM].messages) == 2


async def test_a_task_that_vanished_is_appended_again(server: StreamManagerServer, tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    (server.folder / "hold").touch()
    async with destination_at(server.port, tmp_path / "files", max_silence_s=0.1) as destination:
        delivery = asyncio.create_task(destination.deliver(upload, blobs, Free()))
        await until(lambda: len(server.streams.get(STREAM, _Nothing).messages) == 1)
        stream = server.streams[STREAM]
        stream.messages.clear()
        with pytest.raises(DestinationAway):
            await delivery
        (server.folder / "hold").unlink()
        await deliver_at_last(destination, upload, blobs)
    check_arrived(server.bucket, upload, blobs)


async def test_a_task_that_is_passed_without_a_word_is_appended_again(
    server: StreamManagerServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before an hour is over: until then it may be on its way."""
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    with monkeypatch.context() as silence:
        silence.setattr(server, "_say", lambda *_arguments: None)
        async with destination_at(server.port, tmp_path / "files", max_silence_s=0.05) as destination:
            for _attempt in range(3):
                with pytest.raises(DestinationAway, match="has not exported"):
                    await destination.deliver(upload, blobs, Free())
            assert len(server.streams[STREAM].messages) == len(server.puts) == 1
            monkeypatch.setattr(exports, "_SURELY_LOST_S", 0.0)
            with pytest.raises(DestinationAway, match="has not exported"):
                await destination.deliver(upload, blobs, Free())
            silence.undo()
            await deliver_at_last(destination, upload, blobs)
    check_arrived(server.bucket, upload, blobs)


async def test_words_that_were_overwritten_are_noticed(server: StreamManagerServer, tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    lost = 0

    def lose(operation: int, _body: dict[str, object]) -> None:
        nonlocal lost
        if operation == READ and not lost and (words := server.streams[f"{STREAM}-status"].messages):
            lost = len(words)
            words.clear()
            server.streams[f"{STREAM}-status"].append(b"{}")

    server.answer = lose
    async with destination_at(server.port, tmp_path / "files") as destination:
        with pytest.raises(DestinationAway, match="overwritten before they were read"):
            await destination.deliver(upload, blobs, Free())
        await destination.deliver(upload, blobs, Free())
    assert lost
    check_arrived(server.bucket, upload, blobs)


@pytest.mark.parametrize(
    ("status", "message", "error", "reason"),
    [
        (FAILURE, "The specified bucket does not exist (Service: S3, Status Code: 404)", NotAllowed, "no-bucket"),
        (FAILURE, "Access Denied (Service: S3, Status Code: 403)", NotAllowed, "permission"),
        (FAILURE, "java.nio.file.NoSuchFileException: /x", NotAllowed, "folder"),
        (FAILURE, "java.nio.file.AccessDeniedException: /x", NotAllowed, "folder"),
        (FAILURE, "EntityTooLarge", BatchRefused, None),
        (FAILURE, "something new", DestinationAway, None),
        (CANCELED, "the stream was deleted", DestinationAway, None),
    ],
)
async def test_failure_then_success(
    server: StreamManagerServer,
    tmp_path: Path,
    status: int,
    message: str,
    error: type[Exception],
    reason: str | None,
) -> None:
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    server.outcome = lambda _task: [(IN_PROGRESS, ""), (WARNING, "slow"), (status, message)]
    async with destination_at(server.port, tmp_path / "files") as destination:
        with pytest.raises(error) as caught:
            await destination.deliver(upload, blobs, Free())
        assert type(caught.value) is error
        assert message in str(caught.value)
        assert getattr(caught.value, "reason", None) == reason
        assert not local_files(tmp_path / "files")
        server.outcome = lambda _task: None
        await destination.deliver(upload, blobs, Free())
    check_arrived(server.bucket, upload, blobs)


async def test_a_token_is_shown_and_a_wrong_one_named(
    server: StreamManagerServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG")
    server.token = "right-and-secret"  # noqa: S105
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    async with destination_at(server.port, tmp_path / "files") as destination:
        for given in (None, "wrong-and-secret"):
            if given:
                monkeypatch.setenv(TOKEN_VARIABLE, given)
            with pytest.raises(NotAllowed, match=TOKEN_VARIABLE) as caught:
                await destination.deliver(upload, blobs, Free())
            assert caught.value.reason == "credentials"
            assert "secret" not in str(caught.value)
        monkeypatch.setenv(TOKEN_VARIABLE, "right-and-secret")
        await destination.deliver(upload, blobs, Free())
    check_arrived(server.bucket, upload, blobs)
    assert "secret" not in caplog.text + "".join(capsys.readouterr())


async def test_the_port_is_that_of_the_environment(
    server: StreamManagerServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PORT_VARIABLE, str(server.port))
    settings = StreamManagerSettings(name="greengrass", kind="stream-manager", bucket=BUCKET, path=tmp_path)
    destination = StreamManagerDestination(settings)
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    try:
        assert f"127.0.0.1:{server.port}" in destination.target
        await destination.deliver(upload, blobs, Free())
    finally:
        await destination.close()
    check_arrived(server.bucket, upload, blobs)


@pytest.mark.parametrize(
    ("operation", "code", "error"),
    [
        (APPEND, 15, Throttled),
        (APPEND, 6, Throttled),
        (APPEND, 1, DestinationAway),
        (APPEND, 5, DestinationAway),
        (APPEND, 99, DestinationAway),
        (APPEND, 4, BatchRefused),
        (APPEND, 18, NotAllowed),
        (READ, 14, Throttled),
        (CREATE, 3, DestinationAway),
    ],
)
async def test_an_answer_that_is_an_error(
    server: StreamManagerServer, tmp_path: Path, operation: int, code: int, error: type[Exception]
) -> None:
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    answers = {APPEND: 9, READ: 10, CREATE: 7}

    def refuse(asked: int, body: dict[str, object]) -> tuple[int, dict[str, object]] | None:
        if asked != operation:
            return None
        answered = 17 if code == 18 else answers[asked]
        return answered, {"requestId": body["requestId"], "status": code, "errorMessage": "as scripted"}

    server.answer = refuse
    async with destination_at(server.port, tmp_path / "files") as destination:
        with pytest.raises(error, match="as scripted") as caught:
            await destination.deliver(upload, blobs, Free())
        assert type(caught.value) is error
        server.answer = lambda _operation, _body: None
        await destination.deliver(upload, blobs, Free())
    check_arrived(server.bucket, upload, blobs)


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\x00\x00\x00\x09",
        b"\x7f\xff\xff\xff\x09",
        b"\xff\xff\xff\xff\x09",
        b"\x00\x00\x00\x05\x09\xff\xff\xff\xff",
        b"\x00\x00\x00\x02\x09\x01",
        b"",
    ],
)
async def test_garbage_ends_the_connection_and_the_next_works(
    server: StreamManagerServer, tmp_path: Path, garbage: bytes
) -> None:
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)

    def spoil(operation: int, _body: dict[str, object]) -> bytes | None:
        if operation != APPEND:
            return None
        if not garbage:
            for writer in server._writers:
                writer.transport.abort()
        return garbage

    server.answer = spoil
    async with destination_at(server.port, tmp_path / "files") as destination:
        with pytest.raises(DestinationAway):
            await destination.deliver(upload, blobs, Free())
        await until(lambda: not local_files(tmp_path / "files"))
        server.answer = lambda _operation, _body: None
        await destination.deliver(upload, blobs, Free())
    check_arrived(server.bucket, upload, blobs)


@pytest.mark.parametrize(
    "greeting", [b"", b"\x02", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x01\x00\x00\x00\x02\x06\xa0"]
)
async def test_what_listens_there_is_something_else(tmp_path: Path, greeting: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(greeting)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        async with destination_at(port, tmp_path / "files") as destination:
            blobs = MemoryBlobs()
            with pytest.raises((DestinationAway, NotAllowed)):
                await destination.deliver(upload_of(blobs, b"a"), blobs, Free())


async def test_a_stream_of_somebody_else_is_left_alone(server: StreamManagerServer, tmp_path: Path) -> None:
    theirs = {
        "name": STREAM,
        "strategyOnFull": 0,
        "exportDefinition": {"kinesis": [{"identifier": "theirs", "kinesisStreamName": "plant"}]},
    }
    server._create({"definition": theirs})
    blobs = MemoryBlobs()
    async with destination_at(server.port, tmp_path / "files") as destination:
        with pytest.raises(NotAllowed, match="exports for somebody else") as caught:
            await destination.deliver(upload_of(blobs, b"a"), blobs, Free())
    assert caught.value.reason == "stream"
    assert server.streams[STREAM].definition == theirs
    assert UPDATE not in server.requests


async def test_a_stream_with_another_definition_is_mended_where_that_can_be(
    server: StreamManagerServer, tmp_path: Path
) -> None:
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 500)
    server._create({"definition": {"name": STREAM, "strategyOnFull": 0, "persistence": 0}})
    async with destination_at(server.port, tmp_path / "files") as destination:
        await destination.deliver(upload, blobs, Free())
    check_arrived(server.bucket, upload, blobs)
    assert server.streams[STREAM].definition["strategyOnFull"] == 1
    server._delete({"name": STREAM})
    server._create({"definition": {"name": STREAM, "strategyOnFull": 0, "persistence": 1}})
    async with destination_at(server.port, tmp_path / "files") as destination:
        with pytest.raises(NotAllowed, match="cannot be changed"):
            await destination.deliver(upload, blobs, Free())


async def test_a_long_life_does_not_fill_the_stream(server: StreamManagerServer, tmp_path: Path) -> None:
    """With its bound at a few tasks: what is exported makes room. RejectNewData would not, as the control shows."""
    blobs = MemoryBlobs()
    async with destination_at(server.port, tmp_path / "files") as destination:
        await destination.deliver(upload_of(blobs, b"a" * 500), blobs, Free())
        definition = server.streams[STREAM].definition
        definition["maxSize"] = 1024
        for number in range(2, 12):
            await destination.deliver(upload_of(blobs, b"a" * 500, first=number), blobs, Free())
        assert len(server.puts) == 22
        definition["strategyOnFull"] = 0
        with pytest.raises(Throttled):
            await destination.deliver(upload_of(blobs, b"a" * 500, first=12), blobs, Free())


async def test_a_key_that_stream_manager_would_not_take(server: StreamManagerServer, tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a")
    upload = BatchUpload(upload.batch, upload.records, "box", "a folder")
    async with destination_at(server.port, tmp_path / "files") as destination:
        with pytest.raises(BatchRefused, match="is no key for Stream Manager"):
            await destination.deliver(upload, blobs, Free())
    assert APPEND not in server.requests


async def test_the_folder_is_missing(server: StreamManagerServer, tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    async with destination_at(server.port, tmp_path / "files") as destination:
        (tmp_path / "files").rmdir()
        with pytest.raises(NotAllowed, match="cannot be used") as caught:
            await destination.deliver(upload_of(blobs, b"a"), blobs, Free())
        assert caught.value.reason == "folder"
        (tmp_path / "files").mkdir()
        upload = upload_of(blobs, b"a" * 500)
        await destination.deliver(upload, blobs, Free())
    check_arrived(server.bucket, upload, blobs)


async def test_cancelled_anywhere_then_delivered(server: StreamManagerServer, tmp_path: Path) -> None:
    """A delivery that is cancelled after each of its steps leaves nothing behind that hinders the next."""
    blobs = MemoryBlobs()
    upload = upload_of(blobs, b"a" * 200_000, b"b" * 500)
    async with destination_at(server.port, tmp_path / "files") as destination:
        for steps in range(0, 60, 3):
            delivery = asyncio.create_task(destination.deliver(upload, blobs, Free()))
            for _step in range(steps):
                await asyncio.sleep(0)
            delivery.cancel()
            with suppress(asyncio.CancelledError):
                await delivery
        await destination.deliver(upload, blobs, Free())
    check_arrived(server.bucket, upload, blobs)
    assert not local_files(tmp_path / "files")
