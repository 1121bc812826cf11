"""GET /v1/engine: what runs the models."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from lineside_inference.engine.triton import Engine


def router(engine: Engine) -> APIRouter:
    """Return the route."""
    routes = APIRouter()

    @routes.get("/v1/engine")
    async def describe_engine() -> dict[str, Any]:
        """Say what runs the models, and how tensors reach it."""
        return asdict(engine.info())

    return routes
