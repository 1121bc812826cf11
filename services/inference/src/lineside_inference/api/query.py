"""No query parameter is ignored without a word: one that a route does not take is refused, with those that it takes."""

from collections.abc import Collection
from difflib import get_close_matches

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from lineside_inference.api.problems import Problem

_LIKE = 0.5


def check(request: Request, known: Collection[str]) -> None:
    """Raise Problem 422 where a request has a query parameter that is not `known`."""
    unknown = [name for name in request.query_params if name not in known]
    if not unknown:
        return
    name = unknown[0]
    near = get_close_matches(name, known, n=1, cutoff=_LIKE)
    takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
    meant = f"; did you mean {near[0]!r}?" if near else ""
    detail = f"query parameter {name!r:.80} is not known to {request.url.path[:100]}: {takes}{meant}"
    raise Problem(422, "parameter-unknown", detail)


def check_route(request: Request) -> None:
    """Check the parameters of a route by its own declaration; the page's files take any."""
    route = request.scope.get("route")
    if request.scope["query_string"] and isinstance(route, APIRoute) and route.include_in_schema:
        check(request, _taken(route.dependant))


def _taken(dependant: Dependant) -> set[str]:
    """Return the query parameters that a route takes itself and by what it depends on."""
    own = {field.alias for field in dependant.query_params}
    return own.union(*map(_taken, dependant.dependencies))
