"""The head of an HTTP/1 response as cameras send it.

What RFC 9112 lets a client repair is repaired: lines that end in a bare LF, folded lines, a length beside chunks
(section 6.3: the chunks count), the same length several times. A line without a name is left out. Two different lengths
are an error: nobody knows where the body ends.
"""

import re
from dataclasses import dataclass

_LINE = re.compile(rb"\r?\n")
_STATUS = re.compile(rb"HTTP/(1\.[01])[ \t]+([1-5][0-9][0-9])(?:[ \t]+(.*))?\Z", re.DOTALL)
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CONTINUE = 200  # a status below it is followed by another head
_WITHOUT_BODY = frozenset({204, 304})
END = re.compile(rb"\r?\n\r?\n")
"""What ends a head."""


@dataclass(frozen=True)
class ResponseHead:
    """Status, reason, headers with names in lower case, and how long the body is.

    `length` is None where the body is in chunks, or lasts until the connection is closed.
    """

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    is_chunked: bool
    length: int | None
    can_keep: bool
    """Whether the connection may be used again."""

    @property
    def is_final(self) -> bool:
        """Whether this is the response's own head, and not one of 100 Continue or the like."""
        return self.status >= _CONTINUE


def read_head(head: bytes) -> ResponseHead:
    """Read a head, which is given without its end; raises ValueError that says what is wrong."""
    first, *lines = _LINE.split(head)
    found = _STATUS.match(first)
    if found is None:
        raise ValueError(f"it begins with {first[:40]!r}")
    version, status = found[1], int(found[2])
    fields = _fields(lines)
    codings = ",".join(value.lower() for name, value in fields if name == "transfer-encoding")
    is_chunked = "chunked" in codings
    lengths = {one.strip() for name, value in fields if name == "content-length" for one in value.split(",")}
    if not is_chunked and (len(lengths) > 1 or not all(_is_number(one) for one in lengths)):
        raise ValueError(f"its Content-Length is {' and '.join(sorted(lengths))!r:.80}")
    length = int(lengths.pop()) if lengths and not is_chunked else None
    if status < _CONTINUE or status in _WITHOUT_BODY:
        is_chunked, length = False, 0
    options = ",".join(value.lower() for name, value in fields if name == "connection")
    is_kept = "close" not in options if version == b"1.1" else "keep-alive" in options
    return ResponseHead(
        status,
        _CONTROL.sub(b" ", found[3] or b"").decode("latin-1")[:100].strip(),
        tuple(fields),
        is_chunked,
        length,
        can_keep=is_kept and not (is_chunked and lengths) and (is_chunked or length is not None),
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16  # noqa: PLR2004 - digits: more than any disk has


def _fields(lines: list[bytes]) -> list[tuple[str, str]]:
    """Return names in lower case and values; a folded line belongs to the one before, one without a name to none."""
    fields: list[tuple[str, str]] = []
    for line in lines:
        text = _CONTROL.sub(b" ", line).decode("latin-1")
        if line[:1] in {b" ", b"\t"}:
            if fields:
                name, value = fields[-1]
                fields[-1] = name, f"{value} {text.strip()}".strip()
            continue
        name, colon, value = text.partition(":")
        if colon and _NAME.match(name.strip().encode("latin-1")):
            fields.append((name.strip().lower(), value.strip()))
    return fields
