"""GET /v1/evidence: what waits on this box, what has left it, what was dropped, and what of it needs a person."""

from typing import Any

from fastapi import APIRouter

from lineside_inference.capture.evidence_status import EvidenceStatus


def router(status: EvidenceStatus) -> APIRouter:
    """Return the route."""
    routes = APIRouter()

    @routes.get("/v1/evidence")
    async def evidence() -> dict[str, Any]:
        """Answer what waits on this box, what has left it by destination, what was dropped, and what needs a person."""
        return await status.document()

    return routes
