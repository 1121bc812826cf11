"""Listings in pages, as AWS cuts them."""

from collections.abc import Mapping, Sequence
from typing import Any

from lineside_bench.cloud.wire import Refused


def page(name: str, rows: Sequence[Any], asked: Mapping[str, Any], *, usual: int = 50) -> dict[str, Any]:
    """Return the rows of the asked page, with the token of the next one where there is one."""
    token, size = asked.get("nextToken"), int(asked.get("maxResults") or usual)
    if token is not None and not str(token).isdigit():
        raise Refused("ValidationException", "nextToken is none of this listing")
    begin = int(token or 0)
    end = begin + size
    return {name: list(rows[begin:end]), "nextToken": str(end) if end < len(rows) else None}
