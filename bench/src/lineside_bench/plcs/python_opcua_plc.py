"""The PLC program on python-opcua (`opcua` of PyPI), asyncua's ancestor; see :mod:`lineside_bench.plcs`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opcua import Server, ua

from lineside_bench.plcs.program import PlcConfig, run


class PythonOpcuaPlc:
    """The nodes on python-opcua, whose server runs in threads of its own."""

    def __init__(self) -> None:
        self._server = Server()
        self._nodes: dict[str, tuple[Any, Any]] = {}

    async def open(self, config: PlcConfig, written: Callable[[str, Any, Mapping[str, Any]], None]) -> None:
        """Serve the nodes."""
        server = self._server
        server.set_endpoint(f"opc.tcp://{config.host}:{config.port}/")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        server.set_security_IDs(["Anonymous"])
        server.allow_remote_admin(False)  # noqa: FBT003 - python-opcua takes it by position only
        index = server.register_namespace(config.namespace)
        objects = server.get_objects_node()
        folders = {name: objects.add_object(ua.NodeId(name, index), f"{index}:{name}") for name in config.folders}
        for tag, (kind, value) in config.tags.items():
            folder, _, name = tag.partition(".")
            variant = ua.VariantType[kind]
            node = folders[folder].add_variable(ua.NodeId(tag, index), f"{index}:{name}", value, variant)
            self._nodes[tag] = node, variant
        for tag in config.writable:
            self._nodes[tag][0].set_writable()
        self._watch(config.watched, written)
        server.start()

    async def write(self, tag: str, value: Any) -> None:
        """Write the value; the stack stamps it."""
        node, kind = self._nodes[tag]
        node.set_value(value, kind)

    async def read(self, tag: str) -> Any:
        """Return a tag's value."""
        return self._nodes[tag][0].get_value()

    async def close(self) -> None:
        """Serve no more."""
        self._server.stop()

    def _watch(
        self, watched: Mapping[str, Sequence[str]], written: Callable[[str, Any, Mapping[str, Any]], None]
    ) -> None:
        """Tell of each write; the server's own callbacks hear of no write of an equal value."""
        space = self._server.iserver.aspace
        write = space.set_attribute_value
        tags = {self._nodes[tag][0].nodeid: tag for tag in watched}

        def take(node: Any, attribute: Any, data: Any) -> Any:
            status = write(node, attribute, data)
            if node in tags and attribute == ua.AttributeIds.Value:
                tag = tags[node]
                written(tag, data.Value.Value, {other: self._nodes[other][0].get_value() for other in watched[tag]})
            return status

        space.set_attribute_value = take


if __name__ == "__main__":
    run(PythonOpcuaPlc())
