"""Passwords and tokens, each the first line of a file: so that no settings file holds a secret."""

from pathlib import Path

from lineside.errors import LinesideError

_MAX_BYTES = 64 * 1024


class SecretFileError(LinesideError):
    """A file holds no usable secret; `what` names the file and never what is in it."""

    code = "secret-file"


def read_password(path: Path) -> str:
    """Return the first line of a file, any text in UTF-8; raises SecretFileError."""
    password = _first_line(path, "utf-8").removesuffix("\r")
    if not password:
        raise SecretFileError(f"{path}: its first line is empty", remedy="write the password there")
    return password


def read_token(path: Path) -> str:
    """Return the first line of a file, as a header can carry it: visible ASCII without a blank; raises SecretFileError.

    Blanks at both ends are no part of it.
    """
    token = _first_line(path, "ascii").strip()
    if not token or not token.isprintable() or " " in token:
        raise SecretFileError(f"{path}: its first line is no token", remedy="write the token there")
    return token


def _first_line(path: Path, encoding: str) -> str:
    try:
        with path.open("rb") as file:
            line = file.read(_MAX_BYTES).partition(b"\n")[0]
    except OSError as error:
        why = f"{path}: cannot be read: {error.strerror}"
        raise SecretFileError(why, remedy="let this service's user read it") from None
    try:
        return line.decode(encoding)
    except UnicodeDecodeError:
        kind = "UTF-8" if encoding == "utf-8" else "ASCII"
        raise SecretFileError(f"{path}: its first line is not {kind}", remedy=f"write {kind} there") from None
