"""The bearer tokens of a file: one a line, read at the start and again when the file changes, never logged."""

import hmac
import re
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from lineside.errors import LinesideError

log = structlog.get_logger("lineside.inference.access")

LEAST_CHARACTERS = 16
_LOOK_EVERY_S = 1.0
_MAX_BYTES = 64 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*\Z")


class TokenFileError(LinesideError):
    """The token file cannot be used; the start stops."""

    code = "token-file"


class TokenFile:
    """What is in the file now, looked at once a second at most.

    A file that goes away or goes wrong while the service runs leaves the last good tokens in force, with a line in
    the log: a half-written file must not stop the line. To take all access away, write a new token.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._looked = clock()
        self._mark = self._look()
        self._tokens = read_tokens(path)

    def admits(self, authorization: str) -> bool:
        """Whether a header or metadata `authorization` bears one of the tokens."""
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and self.knows(token.strip())

    def knows(self, token: str) -> bool:
        """Whether this is one of the tokens, in a time that does not tell which characters were right."""
        self._refresh()
        given = token.encode()
        matches = [hmac.compare_digest(given, known) for known in self._tokens]
        return any(matches)

    def _refresh(self) -> None:
        now = self._clock()
        if now - self._looked < _LOOK_EVERY_S:
            return
        self._looked = now
        mark = self._look()
        if mark == self._mark:
            return
        self._mark = mark
        try:
            self._tokens = read_tokens(self._path)
        except TokenFileError as error:
            log.error("the token file cannot be read; the last good tokens stay in force", reason=error.what)  # noqa: TRY400 - its traceback says nothing more
        else:
            log.info("tokens read again", tokens=len(self._tokens))

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def read_tokens(path: Path) -> tuple[bytes, ...]:
    """Return the file's tokens, one a line, empty lines and lines that begin with # left out; raises TokenFileError."""
    remedy = "Write one token a line, for instance of `openssl rand -hex 32`, and let this service's user read it"
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        lines = [line.strip() for line in content.decode("ascii").splitlines()]
    except OSError as error:
        raise TokenFileError(f"token file {path} cannot be read: {error.strerror}", remedy=remedy) from None
    except UnicodeDecodeError:
        raise TokenFileError(f"token file {path} has characters that no token has", remedy=remedy) from None
    if len(content) > _MAX_BYTES:
        raise TokenFileError(f"token file {path} is above {_MAX_BYTES} bytes", remedy=remedy)
    tokens = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    for number, token in tokens:
        if len(token) < LEAST_CHARACTERS or not _TOKEN.match(token):
            raise TokenFileError(
                f"line {number} of token file {path} is no token: {LEAST_CHARACTERS} characters or more "
                "of A-Z a-z 0-9 . _ ~ + / - are needed",
                remedy=remedy,
            )
    if not tokens:
        raise TokenFileError(f"token file {path} has no token", remedy=remedy)
    return tuple(token.encode() for _, token in tokens)
