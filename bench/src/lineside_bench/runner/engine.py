"""What the inference service says of the engine that it runs the models on."""

from typing import Any

import httpx


async def engine_of(client: httpx.AsyncClient, inference: str) -> dict[str, Any]:
    """Return what it says at its address; nothing where it does not answer."""
    try:
        answer = await client.get(f"{inference}/v1/engine")
        answer.raise_for_status()
        found = answer.json()
    except (httpx.HTTPError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
