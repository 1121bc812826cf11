"""A Stream Manager for tests: the real protocol, streams that outlive it, and an "S3" that is a folder.

Written from what the official client sends and takes, and held against that client by test_stream_manager_official.py.
What the real server does where the client does not show it (codes of refusals) is a guess, and said where it is made.
Run as a program it prints its port: `stream_manager_server.py FOLDER [PORT]`. A file `hold` in the folder keeps exports
from running.
"""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import cbor2

SUCCESS, FAILURE, IN_PROGRESS, WARNING, CANCELED = range(5)
_NAME = re.compile(r"[\w ,.\-_]{1,255}")
_FIXED = ("persistence",)


class Stream:
    """One stream; with persistence File, each message is on the disk before its append is answered."""

    def __init__(self, definition: dict[str, Any], path: Path) -> None:
        self.definition = definition
        self.messages: list[tuple[int, int, bytes]] = []
        self.next = 0
        self.exported = -1
        self.path = path

    @property
    def size(self) -> int:
        return sum(len(payload) for _sequence, _time, payload in self.messages)

    def append(self, payload: bytes) -> int | None:
        limit = self.definition.get("maxSize", 256 * 1024 * 1024)
        if self.size + len(payload) > limit and self.definition["strategyOnFull"] == 0:
            return None
        while self.messages and self.size + len(payload) > limit:
            self.messages.pop(0)
        self.messages.append((self.next, int(time.time() * 1000), payload))
        self.next += 1
        self.save()
        return self.next - 1

    def save(self) -> None:
        if self.definition.get("persistence", 0) == 1:
            return
        state = {"d": self.definition, "m": self.messages, "n": self.next, "e": self.exported}
        temporary = self.path.with_suffix(".tmp")
        temporary.write_bytes(cbor2.dumps(state))
        temporary.replace(self.path)

    @classmethod
    def load(cls, path: Path) -> "Stream":
        state = cbor2.loads(path.read_bytes())
        stream = cls(state["d"], path)
        stream.messages = [tuple(message) for message in state["m"]]
        stream.next, stream.exported = state["n"], state["e"]
        return stream


class StreamManagerServer:
    """`outcome` is asked before each export for the words to say, the last of them final; None: as the file is."""

    def __init__(self, folder: Path, token: str | None = None) -> None:
        self.folder = folder
        self.token = token
        self.streams: dict[str, Stream] = {}
        self.outcome: Callable[[dict[str, Any]], list[tuple[int, str]] | None] = lambda _task: None
        self.answer: Callable[[int, dict[str, Any]], tuple[int, dict[str, Any]] | bytes | None] = lambda _op, _body: (
            None
        )
        """May answer a request instead: a frame, raw bytes, or None for the usual."""
        self.puts: list[str] = []
        self.requests: list[int] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._exporter: asyncio.Task[None] | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def bucket(self) -> Path:
        return self.folder / "s3"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob("*.stream"):
            stream = Stream.load(path)
            self.streams[stream.definition["name"]] = stream
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._exporter = asyncio.create_task(self._export())
        self._exporter.add_done_callback(lambda _ended: self._hang_up())

    async def stop(self) -> None:
        """End as when it is restarted: connections break, what is in memory is gone. Raises what ended the exports."""
        if self._server is None:
            return
        self._server.close()
        self._hang_up()
        self._exporter.cancel()
        (ended,) = await asyncio.gather(self._exporter, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None
        self.streams.clear()
        if not isinstance(ended, asyncio.CancelledError):
            raise ended

    def _hang_up(self) -> None:
        """Break all connections: a server whose exports have ended is not silent about it."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            assert await reader.readexactly(1) == b"\x01"
            operation, body = await self._frame(reader)
            status, says = 0, ""
            if operation != 1:
                status, says = 9, "expected a connect"
            elif body["protocolVersion"] != "1.1.0" and "1.0.0" not in body.get("otherSupportedProtocolVersions", []):
                status, says = 10, "unsupported"
            elif self.token is not None and body.get("authToken") != self.token:
                status, says = 2, "the token is not valid"
            answer = {
                "requestId": body.get("requestId"),
                "status": status,
                "errorMessage": says,
                "protocolVersion": "1.1.0",
                "supportedProtocolVersions": ["1.0.0", "1.1.0"],
                "serverVersion": "2.1.0",
                "clientIdentifier": "test",
            }
            writer.write(b"\x01" + self._encode(6, answer))
            if status:
                return
            while True:
                operation, body = await self._frame(reader)
                self.requests.append(operation)
                replaced = self.answer(operation, body)
                if isinstance(replaced, bytes):
                    writer.write(replaced)
                    continue
                writer.write(self._encode(*(replaced or await self._answer_in_time(operation, body))))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    @staticmethod
    async def _frame(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
        length = int.from_bytes(await reader.readexactly(4), "big", signed=True)
        operation = (await reader.readexactly(1))[0]
        return operation, cbor2.loads(await reader.readexactly(length - 1))

    @staticmethod
    def _encode(operation: int, body: dict[str, Any]) -> bytes:
        payload = cbor2.dumps(body)
        return (len(payload) + 1).to_bytes(4, "big", signed=True) + bytes([operation]) + payload

    async def _answer_in_time(self, operation: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer; a read that may wait for messages does."""
        until = time.monotonic() + (body.get("readMessagesOptions") or {}).get("readTimeoutMillis", 0) / 1000
        while (answer := self._answer(operation, body))[1]["status"] == 13 and time.monotonic() < until:
            await asyncio.sleep(0.005)
        return answer

    def _answer(self, operation: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        handlers = {
            2: (7, self._create),
            3: (8, self._delete),
            4: (9, self._append),
            5: (10, self._read),
            11: (12, self._list),
            13: (14, self._describe),
            15: (16, self._update),
        }
        if operation not in handlers:
            return 17, {"requestId": body["requestId"], "status": 18, "errorMessage": f"operation {operation}"}
        code, handle = handlers[operation]
        return code, {"requestId": body["requestId"], **handle(body)}

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        definition = body["definition"]
        name = definition["name"]
        if not _NAME.fullmatch(name) or definition.get("maxSize", 1024) < 1024 or "strategyOnFull" not in definition:
            return {"status": 3, "errorMessage": "the definition is not valid"}
        if name in self.streams:
            return {"status": 3, "errorMessage": f"a stream {name} is there already"}
        self.streams[name] = Stream(definition, self.folder / f"{name}.stream")
        self.streams[name].save()
        return {"status": 0}

    def _update(self, body: dict[str, Any]) -> dict[str, Any]:
        definition = body["definition"]
        stream = self.streams.get(definition["name"])
        if stream is None:
            return _missing(definition["name"])
        if any(stream.definition.get(name, 0) != definition.get(name, 0) for name in _FIXED):
            return {"status": 17, "errorMessage": "persistence cannot be changed"}
        stream.definition = definition
        stream.save()
        return {"status": 0}

    def _delete(self, body: dict[str, Any]) -> dict[str, Any]:
        stream = self.streams.pop(body["name"], None)
        if stream is None:
            return _missing(body["name"])
        stream.path.unlink(missing_ok=True)
        return {"status": 0}

    def _append(self, body: dict[str, Any]) -> dict[str, Any]:
        stream = self.streams.get(body["name"])
        if stream is None:
            return _missing(body["name"])
        sequence = stream.append(body["payload"])
        if sequence is None:
            return {"status": 15, "errorMessage": "the stream is full"}  # A guess: no code is named for it.
        return {"status": 0, "sequenceNumber": sequence}

    def _read(self, body: dict[str, Any]) -> dict[str, Any]:
        stream = self.streams.get(body["streamName"])
        if stream is None:
            return _missing(body["streamName"])
        options = body.get("readMessagesOptions") or {}
        start = options.get("desiredStartSequenceNumber", 0)
        found = [message for message in stream.messages if message[0] >= start][: options.get("maxMessageCount", 1)]
        if len(found) < options.get("minMessageCount", 1):
            return {"status": 13, "errorMessage": "not enough messages"}
        return {
            "status": 0,
            "messages": [
                {"streamName": body["streamName"], "sequenceNumber": number, "ingestTime": when, "payload": payload}
                for number, when, payload in found
            ],
        }

    def _list(self, _body: dict[str, Any]) -> dict[str, Any]:
        return {"status": 0, "streams": sorted(self.streams)}

    def _describe(self, body: dict[str, Any]) -> dict[str, Any]:
        stream = self.streams.get(body["name"])
        if stream is None:
            return _missing(body["name"])
        exports = (stream.definition.get("exportDefinition") or {}).get("s3TaskExecutor") or []
        info = {
            "definition": stream.definition,
            "storageStatus": {
                "oldestSequenceNumber": stream.messages[0][0] if stream.messages else stream.next,
                "newestSequenceNumber": stream.next - 1,
                "totalBytes": stream.size,
            },
            "exportStatuses": [
                {
                    "exportConfigIdentifier": one["identifier"],
                    "lastExportedSequenceNumber": stream.exported,
                    "lastExportTime": 0,
                    "exportedBytesFromStream": 0,
                    "exportedMessagesCount": stream.exported + 1,
                }
                for one in exports
            ],
        }
        return {"status": 0, "messageStreamInfo": info}

    async def _export(self) -> None:
        while True:
            is_idle = True
            for stream in list(self.streams.values()):
                exports = (stream.definition.get("exportDefinition") or {}).get("s3TaskExecutor") or []
                waiting = [message for message in stream.messages if message[0] > stream.exported]
                if not exports or not waiting or (self.folder / "hold").exists():
                    continue
                is_idle = False
                number, _when, payload = waiting[0]
                task = json.loads(payload)
                words = self.outcome(task) or [(IN_PROGRESS, "started"), self._put(task)]
                for status, message in words:
                    self._say(stream, exports[0], number, task, status, message)
                    await asyncio.sleep(0)
                if words[-1][0] in {SUCCESS, FAILURE, CANCELED}:
                    stream.exported = number
                    stream.save()
                else:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.005 if is_idle else 0)

    def _put(self, task: dict[str, Any]) -> tuple[int, str]:
        source = Path(unquote(urlsplit(task["inputUrl"]).path))
        if not source.is_file():
            return FAILURE, f"java.nio.file.NoSuchFileException: {source}"
        target = self.bucket / task["bucket"] / task["key"]
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}")
        temporary.write_bytes(source.read_bytes())
        temporary.replace(target)
        self.puts.append(task["key"])
        with (self.folder / "puts.log").open("a", encoding="utf-8") as log:
            log.write(task["key"] + "\n")
        return SUCCESS, "exported"

    def _say(
        self, stream: Stream, export: dict[str, Any], number: int, task: dict[str, Any], status: int, message: str
    ) -> None:
        target = self.streams.get((export.get("statusConfig") or {}).get("statusStreamName", ""))
        if target is None:
            return
        said = {
            "eventType": 0,
            "statusLevel": 2,
            "status": status,
            "statusContext": {
                "s3ExportTaskDefinition": task,
                "exportIdentifier": export["identifier"],
                "streamName": stream.definition["name"],
                "sequenceNumber": number,
            },
            "message": message,
            "timestampEpochMs": int(time.time() * 1000),
        }
        target.append(json.dumps(said).encode())


def _missing(name: str) -> dict[str, Any]:
    return {"status": 5, "errorMessage": f"there is no stream {name}"}


async def _main() -> None:
    server = StreamManagerServer(Path(sys.argv[1]))
    await server.start(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    parent = os.getppid()
    while os.getppid() == parent:  # Ends by itself when whoever started it is gone.
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(_main())
