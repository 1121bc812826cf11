"""A request's body, bounded in size, in time, and in what it takes of all bodies' memory."""

import asyncio

from starlette.requests import Request

from lineside_inference.api.problems import Problem
from lineside_inference.dataplane.admission import Body

RAW, JSON = 2, 3
"""Bytes of memory for each byte of a body until it is answered: its pieces and the whole, or what is read from it."""


async def read_body(request: Request, body: Body, *, max_bytes: int, within_s: float) -> bytes:
    """Return the body, which counts in `body`.

    Raises Problem 408, 413 or 415, Refused where there is no memory for it, and starlette's ClientDisconnect.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise Problem(415, "encoding-unsupported", f"Content-Encoding {encoding!r:.60} is not supported; send it plain")
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(int(declared), max_bytes)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(within_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise _too_large(size, max_bytes)
                body.grow(len(chunk))
                chunks.append(chunk)
    except TimeoutError:
        raise Problem(
            408,
            "body-timeout",
            f"{size} bytes of the body came within {within_s:g} s, and not its end.",
            headers={"Connection": "close"},
        ) from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def read_json(request: Request, body: Body, *, max_bytes: int, max_values: int, within_s: float) -> bytes:
    """Return a body of JSON of at most so many values, none of which was made yet; raises as `read_body` does."""
    payload = await read_body(request, body, max_bytes=max_bytes, within_s=within_s)
    check_values(payload, max_values)
    return payload


def check_values(payload: bytes | bytearray, max_values: int) -> None:
    """Raise Problem 413 where JSON may have more than so many values: each but the first has a comma before it."""
    if (values := payload.count(b",") + 1) > max_values:
        detail = (
            f"The JSON has {values} values or so; at most {max_values} are read (inference.limits.json_body_values)"
        )
        raise Problem(413, "body-too-large", f"{detail}. Tensors go in binary by /v2.")


def media_type(request: Request) -> str | None:
    """Return the content type without its parameters, or None where none is named."""
    value = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return value or None


def _too_large(size: int, max_bytes: int) -> Problem:
    return Problem(
        413,
        "body-too-large",
        f"The body has {size} bytes or more; at most {max_bytes} are allowed (inference.limits).",
        headers={"Connection": "close"},
    )
