"""The OpenAPI document is checked in: `pytest --update` rewrites it, its diff is the review."""

import json
from typing import Any

import pytest

from lineside.service import Service
from lineside_inference.__main__ import build
from lineside_inference.settings import Settings
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "reference" / "openapi.json"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The document of the whole application, put together as the process does."""
    section = {
        "model_repository": ROOT / "models",
        "triton": {"shared_memory": "off"},
        "state_dir": tmp_path_factory.mktemp("state"),
    }
    fields = Settings.model_fields["inference"].annotation.model_fields
    settings = Settings.model_validate({"inference": {k: v for k, v in section.items() if k in fields}})
    app, _http = build(settings, Service("inference"))
    while not hasattr(app, "openapi"):
        app = app._app
    return app.openapi()


def test_it_is_the_one_that_is_checked_in(document: Any, request: pytest.FixtureRequest) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if request.config.getoption("--update"):
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.is_file(), "run pytest with --update and read the diff"
    assert text == PAGE.read_text(encoding="utf-8"), "run pytest with --update and read the diff"


def test_every_route_says_what_it_takes_and_answers(document: Any) -> None:
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert ("post", "/v1/infer") in [(method, path) for method, path, _ in operations]
    for method, path, operation in operations:
        where = f"{method} {path}"
        assert operation.get("description"), f"{where} has no docstring"
        if method in {"post", "put"} and "requestBody" in operation:
            for kind, content in operation["requestBody"]["content"].items():
                assert content.get("schema"), f"{where} takes {kind} of no schema"
        done = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        assert done, where
        for answer in done:
            for kind, content in answer.get("content", {}).items():
                assert content.get("schema") or kind != "application/json", f"{where} answers {kind} of no schema"
        assert {"401", "403"} <= set(operation["responses"]), where
        for status, answer in operation["responses"].items():
            if status.startswith(("4", "5")):
                assert list(answer["content"]) == ["application/problem+json"], f"{where} {status}"


def test_every_reference_leads_somewhere(document: Any) -> None:
    def references(part: Any) -> Any:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for value in part.values():
                yield from references(value)
        elif isinstance(part, list):
            for value in part:
                yield from references(value)

    for reference in set(references(document)):
        assert reference.rpartition("/")[2] in document["components"]["schemas"], reference
