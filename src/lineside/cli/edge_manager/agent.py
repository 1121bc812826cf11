"""The agent's calls over its socket, and what a failed one means for who asked."""

import queue
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import grpc
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types
from grpc import ChannelConnectivity, StatusCode
from grpc_health.v1 import health_pb2 as health

from lineside.cli.edge_manager import location
from lineside.cli.edge_manager.errors import BadInput, NotReached, Refused, TimedOut
from lineside.edge_manager.protocol import SERVICE
from lineside.edge_manager.protocol import agent_pb2 as pb

_CHECK = "Check"
_CALLS: Mapping[str, tuple[str, Any, Any]] = {
    method.name: (
        f"/{SERVICE}/{method.name}",
        getattr(pb, method.input_type.name),
        getattr(pb, method.output_type.name),
    )
    for method in pb.DESCRIPTOR.services_by_name["Agent"].methods
} | {_CHECK: (f"/grpc.health.v1.Health/{_CHECK}", health.HealthCheckRequest, health.HealthCheckResponse)}
"""By a call's name its path, request and answer."""

_MODELS = "`lineside edge-manager list` shows the models"
_LOG = "The log of the inference service says why"
_NEXT: Mapping[tuple[str, StatusCode], str] = {
    ("Predict", StatusCode.NOT_FOUND): _MODELS,
    ("DescribeModel", StatusCode.NOT_FOUND): _MODELS,
    ("UnLoadModel", StatusCode.NOT_FOUND): _MODELS,
    ("LoadModel", StatusCode.ALREADY_EXISTS): "`lineside edge-manager unload NAME` makes room for another of the name",
    ("CaptureData", StatusCode.ALREADY_EXISTS): "Give another --id",
    (_CHECK, StatusCode.UNIMPLEMENTED): "It tells no health; `lineside edge-manager list` shows whether it serves",
}
"""By call and status what to do, beside what the agent says itself."""
_ELSE: Mapping[StatusCode, str] = {
    StatusCode.UNAVAILABLE: "Ask again in a moment; /readyz of the inference service says how it stands",
    StatusCode.RESOURCE_EXHAUSTED: "Ask again when there is less to do, or for less",
    StatusCode.INTERNAL: _LOG,
    StatusCode.UNKNOWN: _LOG,
    StatusCode.UNIMPLEMENTED: "What serves there is no Edge Manager agent: is this its socket?",
}


class Agent:
    """A connection, as a context; each call may take `timeout_s`. Raises what `location.check` raises."""

    def __init__(self, place: location.Place, timeout_s: float) -> None:
        self.place = place
        self._timeout_s = timeout_s
        # The path of an address is percent-decoded. An attempt to connect ends when nobody waits for it any more.
        self._channel = grpc.insecure_channel(
            f"unix:{quote(bytes(place.socket))}",
            options=(
                ("grpc.enable_http_proxy", 0),
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.min_reconnect_backoff_ms", round(timeout_s * 1000) + 1000),
            ),
        )

    def __enter__(self) -> Self:
        try:
            self._connect()
        except BaseException:
            self._channel.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._channel.close()

    def _connect(self) -> None:
        socket = self.place.socket
        location.check(socket, self._timeout_s)
        states: queue.SimpleQueue[ChannelConnectivity] = queue.SimpleQueue()
        end = time.monotonic() + self._timeout_s
        self._channel.subscribe(states.put, try_to_connect=True)
        while True:
            try:
                state = states.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise TimedOut(
                    f"whoever serves at {socket} took the connection and said nothing for {self._timeout_s:g} s",
                    remedy="It hangs, or is no agent: see the log of its service",
                ) from None
            if state is ChannelConnectivity.READY:
                return
            if state in {ChannelConnectivity.TRANSIENT_FAILURE, ChannelConnectivity.SHUTDOWN}:
                location.check(socket, self._timeout_s)  # it may have gone meanwhile
                raise NotReached(
                    f"what serves at {socket} does not speak gRPC",
                    remedy="It is no Edge Manager agent: name the agent's socket by --socket",
                )

    def ask(self, call: str, **fields: Any) -> Any:
        """Return a call's answer; raises Refused, TimedOut, or BadInput where a field cannot be sent."""
        path, request, answer = _CALLS[call]
        try:
            message = request(**fields)
        except ValueError as error:
            raise BadInput(f"{call} cannot be asked for this: {error}", remedy="Names and paths are UTF-8") from None
        method = self._channel.unary_unary(path)  # bytes: what is no answer is told by us, not logged by gRPC
        try:
            return answer.FromString(method(message.SerializeToString(), timeout=self._timeout_s))
        except grpc.RpcError as error:
            raise _failure(call, error.code(), error.details() or "", self._timeout_s) from None
        except DecodeError as error:
            raise Refused(f"the agent's answer is not a {answer.DESCRIPTOR.name}: {error}", remedy=_LOG) from None

    def health(self) -> str:
        """Return the health service's word for the agent, such as SERVING."""
        answer = self.ask(_CHECK, service=SERVICE)
        return word(health.HealthCheckResponse.ServingStatus, answer.status)


def named(name: str) -> dict[str, str]:
    """Return the fields by which agents of both versions know a model."""
    return {"handle": name, "name": name}


def word(enum: Any, number: int) -> str:
    """Return the protocol's word for a number, the number itself where it has none."""
    return str(enum.Name(number)) if number in enum.values() else str(number)


def _failure(call: str, code: StatusCode, words: str, timeout_s: float) -> Refused | TimedOut:
    said = f"{code.name}: {words.rstrip('.')}" if words else code.name
    if code is StatusCode.DEADLINE_EXCEEDED:
        return TimedOut(f"{said} ({call}, within {timeout_s:g} s)", remedy="Give it longer by --timeout")
    return Refused(said, remedy=_NEXT.get((call, code)) or _ELSE.get(code, ""))
