"""The PLC program on asyncua; see :mod:`lineside_bench.plcs`."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from asyncua.common.node import Node
from asyncua.server.server import Server
from asyncua.ua.attribute_ids import AttributeIds

from lineside_bench.plcs.program import PlcConfig, run


class AsyncuaPlc:
    """The nodes on asyncua."""

    def __init__(self) -> None:
        self._server = Server()
        self._nodes: dict[str, tuple[Node, ua.VariantType]] = {}

    async def open(self, config: PlcConfig, written: Callable[[str, Any, Mapping[str, Any]], None]) -> None:
        """Serve the nodes."""
        server = self._server
        await server.init()
        server.set_endpoint(f"opc.tcp://{config.host}:{config.port}/")
        server.set_server_name("Lineside bench PLC")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        server.set_identity_tokens([ua.AnonymousIdentityToken])
        server.allow_remote_admin(False)  # noqa: FBT003 - asyncua takes it by position only
        index = await server.register_namespace(config.namespace)
        folders = {
            name: await server.nodes.objects.add_object(_node_id(name, index), f"{index}:{name}")
            for name in config.folders
        }
        for tag, (kind, value) in config.tags.items():
            folder, _, name = tag.partition(".")
            variant = ua.VariantType[kind]
            node = await folders[folder].add_variable(_node_id(tag, index), f"{index}:{name}", value, variant)
            self._nodes[tag] = node, variant
        for tag in config.writable:
            await self._nodes[tag][0].set_writable()
        for tag, beside in config.watched.items():
            self._watch(tag, list(beside), written)
        await server.start()

    async def write(self, tag: str, value: Any, *, at: datetime | None = None) -> None:
        """Write with a time, now as a rule, as source timestamp."""
        node, kind = self._nodes[tag]
        moment = ua.DateTime.fromtimestamp((at or datetime.now(UTC)).timestamp(), UTC)
        await node.write_value(ua.DataValue(ua.Variant(value, kind), SourceTimestamp=moment, ServerTimestamp=moment))

    async def read(self, tag: str) -> Any:
        """Return a tag's value."""
        return await self._nodes[tag][0].read_value()

    async def close(self) -> None:
        """Serve no more."""
        await self._server.stop()

    def _watch(self, tag: str, beside: list[str], written: Callable[[str, Any, Mapping[str, Any]], None]) -> None:
        async def take(_handle: int, data: ua.DataValue) -> None:
            value = data.Value.Value if data.Value else None
            written(tag, value, {other: await self.read(other) for other in beside})

        node, _ = self._nodes[tag]
        self._server.iserver.aspace.add_datachange_callback(node.nodeid, AttributeIds.Value, take)


def _node_id(identifier: str, index: int) -> ua.NodeId:
    return ua.NodeId(ua.String(identifier), ua.Int16(index))


if __name__ == "__main__":
    run(AsyncuaPlc())
