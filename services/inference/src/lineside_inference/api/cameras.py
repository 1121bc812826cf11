"""GET /v1/cameras: how each camera does, and what of it needs a person."""

from typing import Any

from fastapi import APIRouter

from lineside_inference.sources.cameras.health import CameraHealth


def router(health: CameraHealth) -> APIRouter:
    """Return the route."""
    routes = APIRouter()

    @routes.get("/v1/cameras")
    async def describe_cameras() -> dict[str, Any]:
        """Say of each camera how it is connected, what came of it in the last minute, and what needs a person."""
        return health.document()

    return routes
