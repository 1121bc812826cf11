"""A request as people read it: without its pixels, its numbers, and the secrets of its address."""

from typing import Any

from lineside.contract import InlineSource, Request, TensorsSource, UrlSource
from lineside.secrecy import hidden


def summarize(request: Request) -> dict[str, Any]:
    """Return a request for people to read: all of it but the pixels and numbers themselves, and its context.

    The result repeats the context.
    """
    source = request.source
    if isinstance(source, InlineSource):
        shown: dict[str, Any] = {"kind": "inline", "content_type": source.content_type, "bytes": len(source.data)}
    elif isinstance(source, TensorsSource):
        tensors = [{"name": one.name, "datatype": one.datatype, "shape": one.shape} for one in source.tensors]
        shown = {"kind": "tensors", "tensors": tensors}
    else:
        shown = source.model_dump(mode="json")
        if isinstance(source, UrlSource):
            shown["url"] = hidden(source.url)
    return {
        "id": request.id,
        "model": request.model,
        "model_version": request.model_version,
        "source": shown,
        "deadline_ms": request.deadline_ms,
        "time": request.time.model_dump(mode="json", exclude_none=True),
    }
