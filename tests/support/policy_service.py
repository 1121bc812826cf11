"""An inference service over HTTP of which only the policy is there."""

import asyncio
import hashlib

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lineside.contract import Policy, to_json
from tests.support.ports import free_port
from tests.support.waiting import until


class PolicyService:
    """Takes policies, as `status` says, on a port of its own; `says_defaults`: and answers with all their fields."""

    def __init__(self, *, says_defaults: bool = False) -> None:
        self._says_defaults = says_defaults
        self.puts: list[bytes] = []
        self.gets = 0
        self.policy = b'{"enabled":true}'
        self.status = 200
        self.errors: list[str] = []
        """What is wrong with the next policies."""
        self.broken: list[str] = []
        """Connections that do not work."""
        self.port = free_port()
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        routes = [
            Route("/v1/policy", self._put, methods=["PUT"]),
            Route("/v1/policy", self._get, methods=["GET"]),
            Route("/livez", lambda _request: JSONResponse({"alive": True})),
            Route("/readyz", self._readyz),
            Route("/v1/version", lambda _request: JSONResponse({"service": "inference", "version": "0.1.0"})),
        ]
        config = uvicorn.Config(Starlette(routes=routes), port=self.port, log_config=None, lifespan="off")
        server = self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(server._serve())
        await until(lambda: server.started)

    async def stop(self) -> None:
        if self._server and self._serving:
            self._server.should_exit = self._server.force_exit = True
            await asyncio.wait((self._serving,))

    async def _put(self, request: Request) -> Response:
        body = await request.body()
        self.puts.append(body)
        if self.errors or self.status != 200:
            problem = {"code": "policy-invalid", "detail": "wrong", "errors": self.errors or ["a", "b"]}
            return JSONResponse(problem, 422 if self.errors else self.status)
        self.policy = body
        return self._answer()

    async def _readyz(self, _request: Request) -> Response:
        links = [{"name": name, "state": "BACKOFF", "required": True} for name in self.broken]
        return JSONResponse({"ready": not links, "connections": links}, 503 if links else 200)

    async def _get(self, _request: Request) -> Response:
        self.gets += 1
        return self._answer()

    def _answer(self) -> Response:
        tag = hashlib.sha256(self.policy).hexdigest()[:8]
        body = to_json(Policy.model_validate_json(self.policy)) if self._says_defaults else self.policy
        return Response(body, media_type="application/json", headers={"ETag": f'"{tag}"'})

    async def looked(self) -> None:
        """Wait until it was asked about its policy after now."""
        asked = self.gets
        await until(lambda: self.gets > asked + 1)
