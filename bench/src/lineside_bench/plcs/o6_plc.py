"""The PLC program on o6, the Python wheel of open62541; see :mod:`lineside_bench.plcs`.

open62541 stamps a value when it is read, not when it was written. o6 would listen on every address; its listener is
created by the event loop, whose `create_server` is replaced so that it uses the configured host.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import o6

from lineside_bench.plcs.program import PlcConfig, run

INDEX = 1
"""open62541's own namespace, whose URI is that of the application."""


class O6Plc:
    """The nodes on o6. Values that clients may write are kept here, so that each write is seen, also of an equal value.

    Arrays are kept by open62541, which alone can write an element by its IndexRange.
    """

    def __init__(self) -> None:
        self._server: Any = None
        self._kinds: dict[str, Any] = {}
        self._held: dict[str, Any] = {}

    async def open(self, config: PlcConfig, written: Callable[[str, Any, Mapping[str, Any]], None]) -> None:
        """Serve the nodes."""
        _listen_on(config.host)
        server = self._server = o6.Server(port=config.port, applicationUri=config.namespace)
        folders = {
            name: await server.addObject(name, server.objectsNode, nodeId=_node_id(name), ns=INDEX)
            for name in config.folders
        }
        for tag, (kind, value) in config.tags.items():
            folder, _, name = tag.partition(".")
            self._kinds[tag] = getattr(o6, kind, str)
            node = await server.addVariable(
                name,
                _node_id(folder) if folder in folders else server.objectsNode,
                self._typed(tag, value),
                nodeId=_node_id(tag),
                ns=INDEX,
                writable=tag in config.writable,
            )
            if tag in config.writable and not isinstance(value, list):
                self._held[tag] = value
                self._hold(node, tag, config.watched.get(tag), written)
        server.start()
        await server.waitReady()

    async def write(self, tag: str, value: Any) -> None:
        """Write the value alone: open62541 stamps it."""
        status = await self._server.write(_node_id(tag), self._typed(tag, value))
        if status != o6.StatusCode.GOOD:
            raise ValueError(f"{tag} cannot be written: {status}")

    async def read(self, tag: str) -> Any:
        """Return a tag's value."""
        return self._held[tag] if tag in self._held else _plain(await self._server.read(_node_id(tag)))

    async def close(self) -> None:
        """Serve no more."""
        if stopping := self._server.stop():
            await stopping

    def _hold(self, node: Any, tag: str, beside: Any, written: Callable[[str, Any, Mapping[str, Any]], None]) -> None:
        def read(_node: Any, **_how: Any) -> tuple[Any, Any]:
            return o6.StatusCode.GOOD, self._typed(tag, self._held[tag])

        def write(_node: Any, value: Any, **_how: Any) -> tuple[Any]:
            self._held[tag] = _plain(value.value)
            if beside is not None:
                written(tag, self._held[tag], {other: self._held[other] for other in beside})
            return (o6.StatusCode.GOOD,)

        self._server.implement(node, read=read, write=write)

    def _typed(self, tag: str, value: Any) -> Any:
        kind = self._kinds[tag]
        return [kind(each) for each in value] if isinstance(value, list) else kind(value)


def _plain(value: Any) -> Any:
    """Return a value of JSON; numbers and arrays are numpy's here."""
    return value.tolist() if hasattr(value, "tolist") else value


def _node_id(identifier: str) -> str:
    return f"ns={INDEX};s={identifier}"


def _listen_on(host: str) -> None:
    loop = asyncio.get_running_loop()
    create = loop.create_server

    def create_server(protocol: Any, _host: Any, port: int, **options: Any) -> Any:
        return create(protocol, host, port, **options)

    loop.create_server = create_server  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    run(O6Plc())
