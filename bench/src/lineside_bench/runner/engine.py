"""The inference service's description of its engine, from `GET /v1/engine`."""

from typing import Any

import httpx


async def engine_of(client: httpx.AsyncClient, inference: str) -> dict[str, Any]:
    """Return the description; empty where the service at the URL `inference` does not answer with one."""
    try:
        answer = await client.get(f"{inference}/v1/engine")
        answer.raise_for_status()
        found = answer.json()
    except (httpx.HTTPError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
