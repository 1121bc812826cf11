"""Which HTTP methods a route takes."""

from lineside_inference.api.problems import Problem


def allow(method: str, *methods: str) -> None:
    """Raise Problem 405 where the method is none of these; without any, GET and HEAD."""
    allowed = methods or ("GET", "HEAD")
    if method not in allowed:
        words = ", ".join(allowed)
        raise Problem(405, "method-not-allowed", f"{method} is not allowed here; use {words}", headers={"Allow": words})
