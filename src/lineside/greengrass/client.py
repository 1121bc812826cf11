"""The one connection of this process to the Greengrass nucleus, on the AWS SDK's event stream.

One a process: connections leak in the SDK and in the nucleus (aws-iot-device-sdk-python-v2 issues 521 and 589), and a
token is good for one run of the nucleus, so that no second connection can follow a lost one. What is lost stays lost:
`when_ended` tells who needs it, and the process ends for the nucleus to start it again with a fresh token.

The SDK calls back on one thread of its own, in the order in which things came. Its other client, `clientv2`, hands the
events to a pool of threads, which mixes up their order. What is called back here is to be quick: it hands over.
"""

import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from typing import Any, NamedTuple, Protocol

from lineside.greengrass.component import Component, must_be_component
from lineside.greengrass.errors import ConnectionEnded, SdkMissing
from lineside.greengrass.refusals import named, why_not_connected

CONNECT_S = 10.0


class Listener(Protocol):
    """Who gets the events of one stream, on the SDK's thread: hand over at once, and raise nothing."""

    def event(self, event: Any) -> None:
        """Take one event, of the shape that the SDK has for it."""

    def unreadable(self, reason: str) -> None:
        """Know that one event came that could not be read; the stream goes on."""

    def closed(self) -> None:
        """Know that no more will come."""


class Client:
    """A connection to the nucleus; every method may be called from any thread."""

    def __init__(self, component: Component) -> None:
        self.component = component
        self._lock = threading.Lock()
        self._connecting = threading.Lock()
        self._sdk: _Sdk | None = None
        self._client: Any = None
        self._ended: str | None = None
        self._tell: list[Callable[[str], None]] = []
        self._open: set[_Call] = set()

    @property
    def ended(self) -> str | None:
        """Why the connection is gone for good; None while it may still be used."""
        return self._ended

    def connect(self, within_s: float = CONNECT_S) -> None:
        """Connect, unless that is done; blocks for `within_s` seconds at most.

        Raises SdkMissing, or ConnectionEnded where the nucleus is not there, refuses our token or closed before.
        """
        with self._connecting:
            if self._ended is not None:
                raise self._over()
            if self._client is not None:
                return
            self._sdk = sdk = sdk_modules()
            try:
                self._client = sdk.connect(
                    ipc_socket=str(self.component.socket),
                    authtoken=self.component.token,
                    lifecycle_handler=_lifecycle(sdk, self._end),
                    timeout=within_s,
                )
            except Exception as error:  # noqa: BLE001 - the SDK's errors have no common base
                self._end(why_not_connected(error, self.component, within_s))
                raise self._over() from None

    def shape(self, name: str, **fields: Any) -> Any:
        """Return one of the SDK's shapes for a field of a request, such as `BinaryMessage`; raises SdkMissing."""
        return getattr((self._sdk or sdk_modules()).model, name)(**fields)

    def ask(self, operation: str, **fields: Any) -> Future[Any]:
        """Send a request, such as `GetConfiguration`, with its fields as the SDK names them.

        What one thread asks is sent in its order. The future has the SDK's response, or a GreengrassError:
        Unauthorized names the operation and what to add to the recipe.
        """
        return self._begin(operation, None, fields)

    def listen(self, operation: str, listener: Listener, **fields: Any) -> Future[Callable[[], None]]:
        """Begin a stream of events, such as `SubscribeToTopic`; the future has what ends it, or a GreengrassError.

        The events come on the SDK's thread, in their order.
        """
        return self._begin(operation, listener, fields)

    def when_ended(self, tell: Callable[[str], None]) -> None:
        """Have the end of the connection told with its reason, at once where it has ended; on the SDK's thread."""
        with self._lock:
            reason = self._ended
            if reason is None:
                self._tell.append(tell)
        if reason is not None:
            tell(reason)

    def close(self) -> None:
        """End the connection; nobody is told."""
        with self._lock:
            self._tell.clear()
            self._ended = self._ended or "we closed it"
            client = self._client
        if client is not None:
            client.close()

    def _begin(self, operation: str, listener: Listener | None, fields: dict[str, Any]) -> Future[Any]:
        call = _Call(self.component.name, operation, fields, listener, self._open.discard)
        if self._client is None or self._sdk is None or self._ended is not None:
            call.answer.set_exception(self._over())
            return call.answer
        self._open.add(call)
        call.begin(self._client, self._sdk.model)
        return call.answer

    def _end(self, reason: str) -> None:
        with self._lock:
            if self._ended is not None:
                return
            self._ended = reason
            told, self._tell = self._tell, []
        for tell in told:
            tell(reason)

    def _over(self) -> ConnectionEnded:
        return ConnectionEnded(
            f"no connection to the Greengrass nucleus at {self.component.socket}: {self._ended or 'not connected yet'}",
            remedy="this process ends, and the nucleus starts it with a fresh token; see its log where it does not",
        )


class _Call:
    """One operation, from its request to its answer, or to the end of its events; the SDK holds it by its handler."""

    def __init__(
        self,
        component: str,
        operation: str,
        fields: dict[str, Any],
        listener: Listener | None,
        over: Callable[["_Call"], None],
    ) -> None:
        self.answer: Future[Any] = Future()
        self.answer.set_running_or_notify_cancel()  # what was sent cannot be taken back
        self._component = component
        self._operation = operation
        self._fields = fields
        self._listener = listener
        self._over = over
        self._made: Any = None

    def begin(self, client: Any, model: Any) -> None:
        """Send the request."""
        handlers = () if self._listener is None else (self,)
        try:
            request = getattr(model, f"{self._operation}Request")(**self._fields)
            self._made = getattr(client, f"new_{_snake(self._operation)}")(*handlers)
            sent = self._made.activate(request)
        except Exception as error:  # noqa: BLE001 - the SDK's errors have no common base
            self._fail(error)
            return
        self._made.get_response().add_done_callback(self._answered)
        sent.add_done_callback(self._sent)

    def _sent(self, done: Future[None]) -> None:
        if (error := done.exception()) is not None:
            self._fail(error)

    def _answered(self, response: Future[Any]) -> None:
        if (error := response.exception()) is not None:
            self._fail(error)
        elif self._listener is not None:
            self.answer.set_result(self._made.close)
        else:
            self._over(self)
            self._made.close()  # the lite nucleus ends no stream by itself, and the SDK keeps what is open
            self.answer.set_result(response.result())

    def _fail(self, error: BaseException) -> None:
        self._over(self)
        if not self.answer.done():
            self.answer.set_exception(named(error, self._component, self._operation, self._fields))

    def on_stream_event(self, event: Any) -> None:
        """Hand an event on; called by the SDK."""
        if self._listener is not None:
            self._listener.event(event)

    def on_stream_error(self, error: Exception) -> bool:
        """Say that the stream is to go on: one event was unreadable, those behind it are not; called by the SDK."""
        if self._listener is not None:
            self._listener.unreadable(f"{type(error).__name__}: {error}")
        return False

    def on_stream_closed(self) -> None:
        """Hand the end on; called by the SDK."""
        self._over(self)
        if self._listener is not None:
            self._listener.closed()


class _Sdk(NamedTuple):
    """What we use of the SDK, which is published without type information."""

    connect: Callable[..., Any]
    lifecycle: Any
    model: Any


_shared: list[Client] = []
_shared_lock = threading.Lock()


def shared(why: str) -> Client:
    """Return the process's one client, not connected yet where nobody did; `why` it is needed stands in the error.

    Raises NotAComponent, SdkMissing.
    """
    with _shared_lock:
        if not _shared:
            component = must_be_component(why)
            sdk_modules()
            _shared.append(Client(component))
        return _shared[0]


def sdk_modules() -> _Sdk:
    """Return what we use of the SDK, which is imported here and nowhere else; raises SdkMissing."""
    try:
        from awsiot import greengrasscoreipc  # noqa: PLC0415 - only where it is used
        from awsiot.greengrasscoreipc import model  # noqa: PLC0415 - same
    except ImportError as error:
        raise SdkMissing(
            f"the AWS IoT SDK cannot be imported: {error}",
            remedy="install the service with its extra `greengrass`, such as lineside-topic-bridge[greengrass]; "
            "the images have it",
        ) from None
    return _Sdk(greengrasscoreipc.connect, greengrasscoreipc.LifecycleHandler, model)


def _lifecycle(sdk: _Sdk, ended: Callable[[str], None]) -> Any:
    class Lifecycle(sdk.lifecycle):  # type: ignore[misc,name-defined]  # published without type information
        def on_disconnect(self, reason: Exception | None) -> None:
            ended(f"it was closed ({reason or 'without a reason'})")

        def on_error(self, error: Exception) -> bool:
            ended(f"the nucleus reports an error of the protocol: {error}")
            return True

    return Lifecycle()


@cache
def _snake(operation: str) -> str:
    """Return an operation's name as the SDK's methods have it."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation.replace("IoT", "Iot")).lower()
