"""A request's body, bounded in size and in time."""

import asyncio

from starlette.requests import Request

from lineside_inference.api.problems import Problem


async def read_body(request: Request, *, most_bytes: int, within_s: float) -> bytes:
    """Return the body; raises Problem 408, 413 or 415, and starlette's ClientDisconnect."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise Problem(415, "encoding-unsupported", f"Content-Encoding {encoding!r:.60} is not supported; send it plain")
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > most_bytes:
        raise _too_large(int(declared), most_bytes)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(within_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most_bytes:
                    raise _too_large(size, most_bytes)
                chunks.append(chunk)
    except TimeoutError:
        raise Problem(
            408,
            "body-timeout",
            f"{size} bytes of the body came within {within_s:g} s, and not its end.",
            headers={"Connection": "close"},
        ) from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def media_type(request: Request) -> str | None:
    """Return the content type without its parameters, or None where none is named."""
    value = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return value or None


def _too_large(size: int, most_bytes: int) -> Problem:
    return Problem(
        413,
        "body-too-large",
        f"The body has {size} bytes or more; at most {most_bytes} are allowed (inference.limits).",
        headers={"Connection": "close"},
    )
