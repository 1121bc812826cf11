"""The page at `/`: its files, read once at the start, so that a request for them touches no disk."""

import base64
import hashlib
import re
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request, Response

from lineside_inference.api.access import CONTENT_POLICY
from lineside_inference.api.problems import Problem

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def router() -> APIRouter:
    """Return the routes of the page and its files."""
    routes = APIRouter(include_in_schema=False)
    pages = dict(_read(files("lineside_inference") / "page"))
    index_policy = content_policy(pages["index.html"][0])
    tags = {name: f'"{hashlib.sha256(body).hexdigest()[:16]}"' for name, (body, _kind) in pages.items()}

    @routes.get("/")
    async def index(request: Request) -> Response:
        response = answer(request, "index.html")
        response.headers["content-security-policy"] = index_policy
        return response

    @routes.get("/page/{path:path}")
    async def file(request: Request, path: str) -> Response:
        return answer(request, path)

    def answer(request: Request, path: str) -> Response:
        if path not in pages:
            raise Problem(404, "path-unknown", f"The page has no file {path!r:.200}")
        body, kind = pages[path]
        headers = {"ETag": tags[path], "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tags[path]:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=kind, headers=headers)

    return routes


def content_policy(html: bytes) -> str:
    """Return the policy of a page whose own script, which runs though none of its files came, is allowed by hash."""
    (script,) = re.findall(rb"<script>(.*?)</script>", html, re.DOTALL)
    return f"{CONTENT_POLICY}; script-src 'self' 'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


def _read(folder: Traversable, prefix: str = "") -> list[tuple[str, tuple[bytes, str]]]:
    found: list[tuple[str, tuple[bytes, str]]] = []
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            found += _read(entry, f"{name}/")
        else:
            kind = _TYPES.get(name[name.rfind(".") :])
            if kind is not None:
                found.append((name, (entry.read_bytes(), kind)))
    return found
