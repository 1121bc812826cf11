"""A query parameter that a route does not take is refused, on every route, and those that it takes are taken."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient

from lineside.service import Service
from lineside_inference.__main__ import build
from lineside_inference.settings import Settings
from tests.support.paths import ROOT

DOCUMENT = json.loads((ROOT / "docs" / "reference" / "openapi.json").read_text())


def routes() -> Iterator[tuple[str, str]]:
    for path, methods in DOCUMENT["paths"].items():
        yield from ((method.upper(), path) for method in methods if path != "/v1/events")


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    section = {"model_repository": ROOT / "models", "triton": {"shared_memory": "off"}, "state_dir": tmp_path}
    app, _http = build(Settings.model_validate({"inference": section}), Service("inference"))
    async with AsyncClient(transport=ASGITransport(app), base_url="http://127.0.0.1:8080") as client:
        yield client


async def test_no_route_ignores_a_parameter_without_a_word(client: AsyncClient) -> None:
    asked = list(routes())
    assert ("POST", "/v1/infer") in asked
    for method, path in asked:
        place = path.format(name="x", model="surface-defect", version="1", capture_id="x", request_id="x")
        answer = await client.request(method, place, params={"strayed": "1"})
        assert (answer.status_code, answer.json()["code"]) == (422, "parameter-unknown"), f"{method} {path}"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v1/parts?partid=P-1", "it takes before, limit, part_id, station, verdict; did you mean 'part_id'?"),
        ("/v1/models?verbose=1", "it takes none"),
        ("/v1/counts?sinc=2026-01-01T00:00:00Z", "did you mean 'since'?"),
    ],
)
async def test_the_answer_says_what_the_route_takes(client: AsyncClient, path: str, says: str) -> None:
    assert says in (await client.get(path)).json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/parts?part_id=P-1&station=s&limit=5&verdict=pass&before=9",
        "/v1/counts?since=2026-01-01T00:00:00Z",
        "/v1/models",
        "/?from=a-bookmark",
        "/page/js/main.js?v=2",
    ],
)
async def test_what_a_route_takes_is_taken(client: AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 200


async def test_a_line_of_the_log_names_part_and_station(client: AsyncClient, capsys: Any) -> None:
    context = {"station": "press-7", "part_id": "P-42"}
    body = {"schema": "lineside/request/1", "id": "r-1", "model": "none", "source": {"kind": "camera", "camera": "c"}}
    answer = await client.post("/v1/infer", json=body | {"context": context})
    assert answer.json()["status"] == "rejected"
    said = capsys.readouterr()
    (line,) = [line for line in (said.out + said.err).splitlines() if "not judged" in line]
    assert "press-7" in line
    assert "P-42" in line
    assert "r-1" in line
