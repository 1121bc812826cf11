"""The Greengrass core of a line of processes: its IPC server in a process of its own.

Each of our components has the line's settings as its configuration, and may do what its recipe allows it. The core only
carries messages and hands out configurations: who starts the processes is the bench.
"""

import asyncio
import gc
import json
import secrets
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lineside.contract import REQUEST_TOPIC, RESULT_TOPIC
from lineside.greengrass.component import SOCKET_VARIABLE, TOKEN_VARIABLE, Component
from lineside.greengrass.services import PUBSUB
from lineside.settings import COMPONENT_VARIABLE
from lineside_bench.greengrass.core.nucleus import check_socket
from lineside_bench.greengrass.core.reading import read_file
from lineside_bench.greengrass.core.recipe import read_recipe
from lineside_bench.greengrass.ipc_server import CLASSIC, Core, IpcServer

PREFIX = "com.lineside"
OBSERVER = f"{PREFIX}.bench.Observer"
MANNER = replace(CLASSIC, interpolates_resources=True)
"""The classic nucleus with `interpolateComponentConfiguration`, which the recipes' policies need."""
_ACCESS = "accessControl"
_NAMES: Mapping[str, str] = {
    "inference": f"{PREFIX}.Inference",
    "topic_bridge": f"{PREFIX}.TopicBridge",
    "opcua_bridge": f"{PREFIX}.OpcUaBridge",
    "forwarder": f"{PREFIX}.Forwarder",
    "exporter": f"{PREFIX}.Exporter",
}
"""The component of each service."""


@dataclass(frozen=True)
class LineCore:
    """How to start the core's process, its socket, and what it gives each service's process."""

    argv: tuple[str, ...]
    socket: Path
    environments: Mapping[str, Mapping[str, str]]
    observer: Component
    """Who watches the line's topics."""


def prepare(settings: Mapping[str, Any], *, recipes: Path, folder: Path) -> LineCore:
    """Write what the core needs into `folder` and return how to start it; raises BenchError.

    `settings` are those of all services, `recipes` is the folder that says what each component may do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    socket, file = folder / "ipc.socket", folder / "core.json"
    check_socket(socket, "Name a folder with a shorter path by TMPDIR")
    configurations = {
        name: {**_of(service, settings), _ACCESS: _allowed(recipes / f"{name}.yaml")}
        for service, name in _NAMES.items()
    }
    configurations[OBSERVER] = {_ACCESS: _may_watch()}
    tokens = {name: secrets.token_hex(16) for name in configurations}
    thing = settings["thing"]
    document = {"thing": thing, "socket": str(socket), "tokens": tokens, "configurations": configurations}
    file.touch(mode=0o600)
    file.write_text(json.dumps(document), encoding="utf-8")
    return LineCore(
        argv=(sys.executable, "-m", __name__, str(file)),
        socket=socket,
        environments={
            service: {TOKEN_VARIABLE: tokens[name], SOCKET_VARIABLE: str(socket), COMPONENT_VARIABLE: name}
            for service, name in _NAMES.items()
        },
        observer=Component(OBSERVER, tokens[OBSERVER], socket, thing),
    )


def _of(service: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the settings a service reads."""
    return {name: value for name, value in settings.items() if name == service or name not in _NAMES}


def _allowed(recipe: Path) -> Any:
    return read_recipe(read_file(recipe)).default.get(_ACCESS, {})


def _may_watch() -> dict[str, Any]:
    topics = [REQUEST_TOPIC, RESULT_TOPIC, f"{RESULT_TOPIC}/error"]
    return {PUBSUB: {f"{OBSERVER}:pubsub:1": {"operations": ["aws.greengrass#SubscribeToTopic"], "resources": topics}}}


async def answers(socket: Path) -> str | None:
    """Return None when the core accepts connections, else what is wrong."""
    try:
        _reader, writer = await asyncio.open_unix_connection(socket)
    except OSError as error:
        return f"{socket}: {error}"
    writer.close()
    return None


async def serve(file: Path) -> None:
    """Serve until SIGTERM or SIGINT."""
    document = json.loads(file.read_text(encoding="utf-8"))  # noqa: ASYNC240 - one small file before anything is served
    core = Core(document["thing"], MANNER)
    for name, configuration in document["configurations"].items():
        core.add(name, configuration).token = document["tokens"][name]
    server = IpcServer(Path(document["socket"]), core, keeps_messages=False)
    loop = asyncio.get_running_loop()

    def ready() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        gc.collect()
        gc.freeze()

    await server.serve(ready)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
