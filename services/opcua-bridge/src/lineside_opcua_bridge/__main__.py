"""The opcua-bridge as a process."""

import sys

from starlette.types import ASGIApp

import lineside.service
from lineside.bus.opening import open_bus
from lineside.service import Service
from lineside.settings import HttpSettings
from lineside_opcua_bridge.bridge import Bridge
from lineside_opcua_bridge.settings import Settings


def build(settings: Settings, service: Service) -> tuple[ASGIApp, HttpSettings]:
    """Return the service's application, whose lifespan is the bridge's life, and where it listens."""
    link = service.connection("bus", settings.bus.url)
    bus = open_bus(settings.bus, client="opcua-bridge", connection=link, registry=service.registry, failed=service.fail)
    bridge = Bridge(settings, service, bus)
    return service.app(bridge.life), settings.opcua_bridge.http


def main() -> None:
    """Run until SIGTERM; exit status 2 is a wrong configuration."""
    sys.exit(lineside.service.main(Settings, "opcua_bridge", build))


if __name__ == "__main__":
    main()
