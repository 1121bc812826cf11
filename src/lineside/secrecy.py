"""Keeps secrets out of logs, states and error texts, and finds secret files that every user can read.

Addresses hold secrets in three places: a user and password before the host, a query (a token, a signature), and, with
many cameras, parameters in the path (`/user=admin&password=...`).
"""

import re
import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

_USER = re.compile(r"""(?<=://)(?:[^\s'"/?\#@:]*:[^\s'"]*|[^\s'"/?\#@]*)@""")
"""Up to the last @: a password may hold any character, a slash too."""
_BARE_USER = re.compile(r"""(?<![\w./:@-])[\w.+-]+:[^\s'"@/;,]+@(?=[\w\[])""")
"""A user and password before a host without a scheme, as in `user:password@broker:1883`."""
_ASKED = re.compile(r"""(://[^\s'"?\#]*[?\#])[^\s'"]+""")
_PARAMETER = re.compile(
    r"""(?i)(?<![a-z])((?:pass|passwd|password|pwd|pw|token|secret|sig|signature|key|api[_-]?key|auth|user|usr)=)"""
    r"""[^&;/?\s'"]+"""
)
_ADDRESS = re.compile(r"""[a-z][a-z0-9+.-]*://[^\s'"]*""", re.IGNORECASE)

_EXCERPT = 256
_LOOKED_AT_BYTES = 4096
"""Of which an excerpt is made: a secret that is cut off would not be seen as one."""

SECRET_FILES = frozenset({"token_file", "password_file", "key_file", "private_key_file", "inference_token_file"})
"""Settings that name a file which holds a secret."""


def hidden(text: str) -> str:
    """Return a text as it may be shown: of every address in it, what may be a secret is `...`."""
    text = _USER.sub("...@", text)
    text = _BARE_USER.sub("...@", text)
    text = _ASKED.sub(r"\1...", text)
    return _ADDRESS.sub(lambda found: _PARAMETER.sub(r"\1...", found[0]), text)


def excerpt(message: bytes) -> str:
    """Return the beginning of a message as it may be shown, undecodable bytes as backslash escapes."""
    return hidden(message[:_LOOKED_AT_BYTES].decode("utf-8", "backslashreplace"))[:_EXCERPT]


def files(group: BaseModel, names: frozenset[str] = SECRET_FILES, path: str = "") -> Iterator[tuple[str, Path]]:
    """Yield the settings of these names that are a file, by their path: through groups, lists and maps of groups."""
    for name in type(group).model_fields:
        value, where = getattr(group, name), f"{path}.{name}".lstrip(".")
        if isinstance(value, Path) and name in names:
            yield where, value
            continue
        inner = {"": value} if isinstance(value, BaseModel) else value if isinstance(value, dict) else {}
        if isinstance(value, list | tuple):
            inner = {str(place): each for place, each in enumerate(value)}
        for key, each in inner.items():
            if isinstance(each, BaseModel):
                yield from files(each, names, f"{where}.{key}".rstrip("."))


def exposed(group: BaseModel) -> Iterator[tuple[str, Path, int]]:
    """Yield the secret files of these settings that every user of this machine can read, with their mode."""
    for where, path in files(group):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            reached = all(each.stat().st_mode & stat.S_IXOTH for each in path.resolve().parents)
        except OSError:
            continue  # reported where it is read
        if mode & (stat.S_IROTH | stat.S_IWOTH) and reached:
            yield where, path, mode
