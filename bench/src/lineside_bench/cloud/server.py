"""The stand-in as an HTTP server on loopback: AWS' paths, and `/stand-in/...` by which a person or a test steers it.

    POST /stand-in/tick     {"minutes": 5}                                   time goes by
    POST /stand-in/faults   [{"kind": "throttled", "operation": "CreateDeployment", "skip": 2, "times": 1}]
    POST /stand-in/report   {"thing": "press-7", "deployment_id": "...", "status": "SUCCEEDED", "components": {}}
                            what a real core says, for a device that is marked as one
    GET  /stand-in/calls    how often each operation was called
    GET  /stand-in/world    what the account holds

Calls are taken one after the other, so that a run is the same each time.
"""

import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

from lineside_bench.cloud import greengrass, iot
from lineside_bench.cloud.devices import Report
from lineside_bench.cloud.faults import Fault, Faults, Kind, refusal
from lineside_bench.cloud.wire import Answer, Refused, Wire
from lineside_bench.cloud.world import World

LONGEST_BODY = 16 * 1024 * 1024
_PLAYED: Mapping[str, Mapping[str, Any]] = {"greengrassv2": greengrass.OPERATIONS, "iot": iot.OPERATIONS}


class Dropped(Exception):
    """The connection ends without an answer."""


@dataclass
class Cloud:
    """The account and what happens to calls; `release` lets hanging calls go."""

    world: World = field(default_factory=World)
    faults: Faults = field(default_factory=Faults)
    calls: Counter[str] = field(default_factory=Counter)
    lock: threading.RLock = field(default_factory=threading.RLock)
    release: threading.Event = field(default_factory=threading.Event)
    hanging: threading.Event = field(default_factory=threading.Event)
    wires: Mapping[str, Wire] = field(default_factory=lambda: {name: Wire(name) for name in _PLAYED})

    def answer(self, method: str, target: str, body: bytes) -> Answer:
        """Return the answer to a request; raises Dropped."""
        path, _, query = target.partition("?")
        if path.startswith("/stand-in/"):
            with self.lock:
                return self._steered(method, path.removeprefix("/stand-in/"), body)
        for service, wire in self.wires.items():
            found = wire.find(method, path)
            if found is None:
                continue
            operation, variables = found
            try:
                with self.lock:
                    answer, fault = self._called(service, operation, variables, dict(parse_qsl(query)), body)
            except Refused as refused:
                return wire.refuse(refused)
            if fault is not None and fault.kind is Kind.hangs:
                self.hanging.set()
                self.release.wait()
            if fault is not None and fault.kind in {Kind.hangs, Kind.half_done}:
                raise Dropped
            return answer
        unknown = Refused("UnknownOperationException", f"No operation has {method} {path}")
        return next(iter(self.wires.values())).refuse(unknown)

    def _called(
        self, service: str, operation: Any, variables: Mapping[str, str], query: Mapping[str, str], body: bytes
    ) -> tuple[Answer, Fault | None]:
        self.calls[operation.name] += 1
        fault = self.faults.next(operation.name)
        if fault is not None:
            if fault.kind is Kind.dropped:
                raise Dropped
            if (error := refusal(fault, operation.name, service)) is not None:
                raise error
        wire = self.wires[service]
        asked = wire.read(operation, variables, query, body)
        played = _PLAYED[service].get(operation.name)
        if played is None:
            raise Refused("UnknownOperationException", f"The stand-in does not play {service}:{operation.name}")
        return wire.write(operation, played(self.world, asked)), fault

    def _steered(self, method: str, what: str, body: bytes) -> Answer:
        try:
            given = json.loads(body) if body else {}
            match (method, what):
                case ("POST", "tick"):
                    self.world.tick(int(given.get("minutes", 1)))
                    said: Any = {"minute": self.world.now}
                case ("POST", "faults"):
                    self.faults.planned = [Fault(**{**each, "kind": Kind(each["kind"])}) for each in given]
                    said = {"faults": len(given)}
                case ("POST", "report"):
                    report = Report(**given)
                    self.world.report(report)
                    said = {"minute": self.world.now}
                case ("GET", "calls"):
                    said = dict(sorted(self.calls.items()))
                case ("GET", "world"):
                    said = self.world.snapshot()
                case _:
                    return Answer(404, {}, b'{"message": "the stand-in has tick, faults, report, calls and world"}')
        except Refused as refused:
            return Answer(409, {}, json.dumps({"message": str(refused)}).encode())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return Answer(400, {}, json.dumps({"message": f"not understood: {error!r}"}).encode())
        return Answer(200, {}, json.dumps(said).encode())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024
    cloud: Cloud

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > LONGEST_BODY:
            self.close_connection = True
            return
        body = self.rfile.read(length)
        try:
            answer = self.cloud.answer(self.command, self.path, body)
        except Dropped:
            self.close_connection = True
            return
        except Exception as error:  # noqa: BLE001 - the stand-in's own fault, which the caller's test must see
            answer = Answer(501, {}, json.dumps({"message": f"the stand-in failed: {error!r}"}).encode())
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815 - the base class looks for these names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away."""


class Server:
    """Serves a cloud on loopback while it is entered."""

    def __init__(self, cloud: Cloud | None = None, port: int = 0) -> None:
        self.cloud = cloud or Cloud()
        handler = type("Handler", (_Handler,), {"cloud": self.cloud})
        self._listener = _Listener(("127.0.0.1", port), handler)
        self._thread = threading.Thread(
            target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self._listener.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cloud.release.set()
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()
