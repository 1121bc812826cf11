"""The server: its socket, what its sessions share, faults on demand, and a thread that runs it beside a test.

Everything public may be called from any thread; it runs on the server's own event loop.
"""

import asyncio
import base64
import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from lineside_bench.greengrass.ipc_server import operations
from lineside_bench.greengrass.ipc_server.session import Session
from lineside_bench.greengrass.ipc_server.state import Component, Core, Document, Key
from lineside_bench.greengrass.ipc_server.topics import Topics

SOCKET_VARIABLE = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"
TOKEN_VARIABLE = "SVCUID"  # noqa: S105 - a variable's name
_START_S = 60.0

Result = TypeVar("Result")


class IpcServer:
    """The IPC server of one core device, on a Unix socket.

    Faults: `refuse_tokens` refuses every CONNECT, `drop` cuts connections, `end_streams` ends what was subscribed,
    `stall` leaves everything that comes unanswered until `resume`.
    """

    def __init__(self, path: Path, core: Core, *, keeps_messages: bool = True) -> None:
        """Make it; without `keeps_messages` it may serve a line for days."""
        self.path = path
        self.core = core
        self._keeps_messages = keeps_messages
        self.local = Topics()
        self.cloud = Topics()
        self.validators: dict[str, list[operations.Stream]] = {}
        self.updates: dict[str, list[operations.Stream]] = {}
        self.messages: list[tuple[str | None, str, bytes]] = []
        """Local messages so far: component, topic, payload."""
        self.sent_to_cloud: list[tuple[str, str, bytes]] = []
        """Messages for AWS IoT Core so far: component, topic, payload."""
        self.on_cloud: list[Callable[[str, bytes], None]] = []
        """Told the topic and payload of each message for AWS IoT Core, on the server's loop."""
        self.reports: list[tuple[str, Document]] = []
        """Judgements of configurations so far: component and report."""
        self.deferrals: list[tuple[str, Document]] = []
        """Updates put off so far: component and request."""
        self.connects = 0
        """Connections accepted so far."""
        self.refuse_tokens = False
        self._watchers: list[tuple[str, Callable[[Key], None]]] = []
        self._sessions: set[Session] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flows = asyncio.Event()
        self._stopping = asyncio.Event()
        core.on_change.append(self._configuration_changed)

    def environment(self, component: str) -> dict[str, str]:
        """Return what the nucleus gives a component's process."""
        return {
            TOKEN_VARIABLE: self.core.components[component].token,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self.core.components[component].token,
            SOCKET_VARIABLE: str(self.path),
            "AWS_IOT_THING_NAME": self.core.thing,
        }

    @property
    def connected(self) -> list[str]:
        """Names of the components that are connected, one for each connection."""
        return sorted(each.component.name for each in list(self._sessions) if each.component)

    def drop(self, component: str | None = None) -> None:
        """Cut the connections of a component, or all."""

        def cut() -> None:
            for session in list(self._sessions):
                if component is None or (session.component and session.component.name == component):
                    session.close()

        self._on_loop(cut)

    def end_streams(self) -> None:
        """End every stream of events, and leave the connections."""

        def end() -> None:
            for session in list(self._sessions):
                session.end_streams()

        self._on_loop(end)

    def stall(self) -> None:
        """Leave unanswered what comes from now on; connections stay."""
        self._on_loop(self._flows.clear)

    def resume(self) -> None:
        """Answer again, also what came meanwhile."""
        self._on_loop(self._flows.set)

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish a local message as a component that is not ours would."""
        message = {"binaryMessage": {"message": base64.b64encode(payload).decode()}}
        self._on_loop(functools.partial(operations.deliver, self, None, topic, message))

    def from_cloud(self, topic: str, payload: bytes) -> None:
        """Deliver a message of AWS IoT Core."""
        content = {"message": {"topicName": topic, "payload": base64.b64encode(payload).decode()}}

        def deliver() -> None:
            for listener in self.cloud.of(topic, None):
                listener.send("IoTCoreMessage", dict(content))

        self._on_loop(deliver)

    def update_shadow(self, name: str, payload: bytes, *, thing: str | None = None) -> Document:
        """Update a shadow as the cloud's side does; raises Refusal."""
        owner = thing or self.core.thing
        topic = f"$aws/things/{owner}/shadow{'/name/' + name if name else ''}"
        return self._on_loop(functools.partial(operations.update_shadow, self, owner, name, topic, payload))

    def ask_validity(self, component: str, configuration: Document, deployment: str) -> int:
        """Offer a configuration to a component; return how many listen. What they say is added to `reports`."""
        event = {"validateConfigurationUpdateEvent": {"configuration": configuration, "deploymentId": deployment}}
        return self._tell(self.validators, component, "ValidateConfigurationUpdateEvents", event)

    def announce_update(self, component: str, deployment: str) -> int:
        """Tell a component that it is going to be updated; return how many listen."""
        event = {"preUpdateEvent": {"deploymentId": deployment, "isGgcRestarting": False}}
        return self._tell(self.updates, component, "ComponentUpdatePolicyEvents", event)

    @property
    def subscriptions(self) -> int:
        """How many streams of events are open."""
        others = sum(map(len, (*self.validators.values(), *self.updates.values())))
        return len(self.local) + len(self.cloud) + len(self._watchers) + others

    def changed(self, component: str, tell: Callable[[Key], None]) -> Callable[[], None]:
        """Have changes of a component's configuration told; return what ends it."""
        entry = (component, tell)
        self._watchers.append(entry)
        return lambda: self._watchers.remove(entry) if entry in self._watchers else None

    def published(self, component: str | None, topic: str, payload: bytes) -> None:
        """Take note of a local message."""
        if self._keeps_messages:
            self.messages.append((component, topic, payload))

    def to_cloud(self, component: str, topic: str, payload: bytes) -> None:
        """Take note of a message for AWS IoT Core."""
        if self._keeps_messages:
            self.sent_to_cloud.append((component, topic, payload))
        for tell in self.on_cloud:
            tell(topic, payload)

    def validity(self, component: str, report: Document) -> None:
        """Take a component's judgement of a configuration."""
        self.reports.append((component, report))

    def deferred(self, component: str, request: Document) -> None:
        """Take a component's wish to be updated later."""
        self.deferrals.append((component, request))

    async def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop`; the socket's file is made anew, and removed at the end."""
        self._loop = asyncio.get_running_loop()
        self._flows.set()
        self.path.unlink(missing_ok=True)
        listening = await asyncio.start_unix_server(self._accept, self.path)
        self.path.chmod(0o666)
        async with listening:
            ready()
            await self._stopping.wait()
            listening.close()
            for session in list(self._sessions):
                session.close()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    def stop(self) -> None:
        """End the server with all connections."""
        self._on_loop(self._flows.set)
        self._on_loop(self._stopping.set)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        most = self.core.manner.max_clients
        if most is not None and len(self._sessions) >= most:
            writer.close()
            return
        session = Session(self, reader, writer, admits=self._admits, flows=self._flows)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)

    def _admits(self, component: Component | None) -> bool:
        if self.refuse_tokens or component is None:
            return False
        self.connects += 1
        return True

    def _configuration_changed(self, component: str, key: Key) -> None:
        def tell() -> None:
            for name, each in list(self._watchers):
                if name == component:
                    each(key)

        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(tell)

    def _tell(self, listeners: dict[str, list[operations.Stream]], component: str, shape: str, event: Document) -> int:
        def tell() -> int:
            streams = list(listeners.get(component, ()))
            for stream in streams:
                stream.event(shape, event)
            return len(streams)

        return self._on_loop(tell)

    def _on_loop(self, act: Callable[[], Result]) -> Result:
        """Run something on the server's loop, from whichever thread, and return what it returns."""
        loop = self._loop
        if loop is None or loop.is_closed():
            raise RuntimeError("the server does not run")
        try:
            if asyncio.get_running_loop() is loop:
                return act()
        except RuntimeError:
            pass

        async def run() -> Result:
            return act()

        return asyncio.run_coroutine_threadsafe(run(), loop).result(_START_S)


@contextlib.contextmanager
def running(path: Path, core: Core) -> Iterator[IpcServer]:
    """Run a server in a thread of its own.

    Raises ValueError where the path is too long for a Unix socket (107 bytes), OSError where it cannot be made.
    """
    if len(bytes(path)) > 107:  # noqa: PLR2004 - sun_path
        raise ValueError(f"{path} has {len(bytes(path))} bytes; a Unix socket's path has at most 107")
    server = IpcServer(path, core)
    is_ready = threading.Event()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(server.serve(is_ready.set))
        except BaseException as error:  # noqa: BLE001 - it is raised below
            failure.append(error)
        finally:
            is_ready.set()

    thread = threading.Thread(target=run, name="greengrass ipc", daemon=True)
    thread.start()
    if not is_ready.wait(_START_S) or failure:
        raise failure[0] if failure else TimeoutError(f"the server on {path} did not start within {_START_S:g} s")
    try:
        yield server
    finally:
        with contextlib.suppress(RuntimeError):
            server.stop()
        thread.join(_START_S)
