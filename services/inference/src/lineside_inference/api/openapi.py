"""The OpenAPI document: what the routes declare, completed by what they read raw, by the problems and by the token.

Bodies are read raw for speed, so that their schemas are put in here, from the very models that read them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from lineside.contract import Result
from lineside_inference.api.documents import ANSWERS
from lineside_inference.api.problems import MEDIA_TYPE

_REF = "#/components/schemas/{model}"
_EVERYWHERE = {
    401: "A bearer token is needed, or is not known.",
    403: "This Host or Origin may not ask this.",
    422: "A parameter is wrong, or not one of this route's.",
}
_METHODS = frozenset({"get", "put", "post", "delete", "patch"})


class ProblemDocument(BaseModel):
    """What was wrong, after RFC 9457."""

    type: str
    """`urn:lineside:problem:<code>`."""
    title: str
    """What the status means, in words."""
    status: int
    """The HTTP status."""
    code: str
    """Stable name of the cause; the reference page of errors lists them all."""
    detail: str
    """What was wrong here, for people."""
    request_id: str | None = None
    """The request's own id, where it could be read."""
    errors: list[str] | None = None
    """Every fault of a policy, each in a sentence."""


def refusals(texts: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route for problems, a sentence each status."""
    schema = {"schema": {"$ref": _REF.format(model=ProblemDocument.__name__)}}
    return {status: {"description": text, "content": {MEDIA_TYPE: schema}} for status, text in texts.items()}


def body_of(model: type[BaseModel], media_type: str = "application/json") -> dict[str, Any]:
    """Return the `openapi_extra` of a route that reads this model raw; give the model to `install` too."""
    schema = {"schema": {"$ref": _REF.format(model=model.__name__)}}
    return {"requestBody": {"required": True, "content": {media_type: schema}}}


def raw_body(media_types: Iterable[str]) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that takes bytes."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in sorted(media_types)}
    return {"requestBody": {"required": True, "content": content}}


def install(app: FastAPI, *bodies: type[BaseModel]) -> None:
    """Make the application's document complete; `bodies` are the models that routes read raw."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, bodies)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way to replace it


def _document(app: FastAPI, bodies: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary="Verdicts on parts: a picture or a window of numbers in, pass, fail or unknown out.",
        routes=app.routes,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    # In the direction in which each is read or written, so that a default is no obligation.
    _, definitions = models_json_schema([(model, "validation") for model in bodies], ref_template=_REF)
    given: list[type[BaseModel]] = [ProblemDocument, Result, *ANSWERS.values()]
    once = [model for model in dict.fromkeys(given) if model not in bodies]
    _, written = models_json_schema([(model, "serialization") for model in once], ref_template=_REF)
    components = document.setdefault("components", {})
    schemas = {**components.get("schemas", {}), **written.get("$defs", {}), **definitions.get("$defs", {})}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["schemas"] = dict(sorted(schemas.items()))
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "One of the lines of inference.http.token_file."}
    }
    document["security"] = [{}, {"token": []}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method in _METHODS:
                _complete(method, path, operation)
    return document


def _complete(method: str, path: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    model = ANSWERS.get((method, path))
    if model is not None:
        answers = responses["200"].setdefault("content", {})
        answers["application/json"] = {"schema": {"$ref": _REF.format(model=model.__name__)}}
    for answer in responses.values():
        for kind, content in answer.get("content", {}).items():
            if kind == MEDIA_TYPE:
                content["schema"] = {"$ref": _REF.format(model=ProblemDocument.__name__)}
            elif kind.startswith("image/"):
                content["schema"] = {"type": "string", "format": "binary"}
    if "HTTPValidationError" in str(responses.get("422")):  # FastAPI's own form, which no answer of ours has
        del responses["422"]
    texts = _EVERYWHERE
    if method == "get" and "{" in path:
        texts = {**texts, 404: "There is none of this name."}
    for status, answer in refusals(texts).items():
        responses.setdefault(str(status), answer)
    operation["responses"] = dict(sorted(responses.items()))
