"""Makes the bus that the settings name."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from lineside.bus import Bus
from lineside.connections import Connection
from lineside.settings import BusSettings


def open_bus(
    settings: BusSettings,
    *,
    client: str,
    connection: Connection,
    registry: CollectorRegistry | None = None,
    keep: bool = True,
    failed: Callable[[str], None] = lambda _reason: None,
) -> Bus:
    """Return a bus, not entered yet, by `bus.transport`.

    `client` is the service's name; `keep`: the broker keeps messages for us while we are away, where the transport
    does so. `failed` is called with the reason where a transport that does not reconnect has lost its connection: end
    the process then, as `Service.fail` does.

    Raises NotAComponent and SdkMissing for `transport: ipc` where it cannot work in this process.
    """
    if settings.transport == "ipc":
        from lineside.bus.ipc import IpcBus  # noqa: PLC0415 - only where it is used
        from lineside.greengrass.client import shared  # noqa: PLC0415 - same

        ipc = shared("bus.transport: ipc")
        return IpcBus(settings, ipc=ipc, name=client, connection=connection, registry=registry, failed=failed)
    from lineside.bus.mqtt import MqttBus  # noqa: PLC0415 - only where it is used

    return MqttBus(settings, client=client, connection=connection, registry=registry, keep=keep)
