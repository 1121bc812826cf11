"""What a service is told to serve Edge Manager's clients."""

from pathlib import Path
from typing import Any


def agent_settings(socket: Path, **more: Any) -> dict[str, Any]:
    """Return section `edge_manager` with this socket, and with captures that stay on this box."""
    return {
        "serve": True,
        "UnixSocketName": str(socket),
        "DeviceFleetName": "test-fleet",
        "CaptureDataDestination": "Disk",
        "CaptureDataDiskPath": str(socket.parent / "captures"),
    } | more
