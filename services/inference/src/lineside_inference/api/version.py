"""GET /v1/version: which version of the service runs, as which component, and by which settings."""

import os
from typing import Any

from fastapi import APIRouter

from lineside import __version__
from lineside.service import Service
from lineside.settings import COMPONENT_VARIABLE


def router(service: Service) -> APIRouter:
    """Return the route."""
    routes = APIRouter()

    @routes.get("/v1/version")
    async def read_version() -> dict[str, Any]:
        """Say which version of this service runs, and by which settings."""
        return {
            "service": service.name,
            "version": __version__,
            "component": os.environ.get(COMPONENT_VARIABLE),
            "settings_hash": service.settings_hash,
        }

    return routes
