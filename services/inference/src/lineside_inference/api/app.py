"""The application of /v1 and the page: its routes, how it answers errors, and its OpenAPI document."""

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, Depends, FastAPI

from lineside import contract
from lineside.service import Service
from lineside_inference.api import openapi, problems, query
from lineside_inference.capture.capture_request import CaptureRequest
from lineside_inference.usecases.metrics import Metrics


def make_app(
    service: Service,
    metrics: Metrics,
    body: Callable[[], AbstractAsyncContextManager[None]],
    routers: Iterable[APIRouter],
) -> FastAPI:
    """Return the application of these routes, those that are asked most first; it lives as `body` does."""
    app = FastAPI(
        title="Lineside inference",
        dependencies=[Depends(query.check_route)],
        version="1",
        docs_url=None,  # the page loads its scripts from the internet
        redoc_url=None,
        lifespan=lambda _app: service.life(body()),
    )
    problems.install(app, metrics)
    for router in routers:
        app.include_router(router)
    app.router.routes.extend(service.routes())
    openapi.install(app, contract.Request, contract.Policy, CaptureRequest, contract.Outcome, contract.ServiceStatus)
    return app
