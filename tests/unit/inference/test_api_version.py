"""GET /v1/version."""

import re

import httpx
import pytest
from fastapi import FastAPI

from lineside import __version__
from lineside.service import Service
from lineside.settings import COMPONENT_VARIABLE
from lineside_inference.api import version


@pytest.mark.parametrize("component", ["com.lineside.Inference", None])
async def test_a_service_says_which_it_is_and_how_it_was_configured(
    monkeypatch: pytest.MonkeyPatch, component: str | None
) -> None:
    if component:
        monkeypatch.setenv(COMPONENT_VARIABLE, component)
    service = Service("inference")
    service.settings_hash = "0f" * 16
    app = FastAPI()
    app.include_router(version.router(service))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inference") as client:
        said = (await client.get("/v1/version")).json()
    assert said == {
        "service": "inference",
        "version": __version__,
        "component": component,
        "settings_hash": "0f" * 16,
    }
    assert re.fullmatch(r"[a-zA-Z0-9 _.]{1,64}", __version__)  # what a heartbeat of Edge Manager took
