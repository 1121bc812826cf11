"""The secure channel to the PLC, and who logs in over it."""

from asyncua.client.client import Client

from lineside_opcua_bridge.settings import OpcuaBridgeSettings


async def client_for(settings: OpcuaBridgeSettings, *, thing: str) -> Client:
    """Return a client for the PLC, not connected yet, with what `security` and `user` ask for set on it."""
    client = Client(
        settings.endpoint,
        timeout=settings.request_timeout_ms / 1000,
        watchdog_intervall=settings.keepalive_ms / 1000,
    )
    client.name = client.description = "Lineside opcua-bridge"
    client.application_uri = settings.security.application_uri or f"urn:lineside:{thing}:opcua-bridge"
    return client
