"""Basic (RFC 7617) and Digest (RFC 7616) authentication towards a camera.

Nothing is sent until the camera asks for it. A password is never part of a message, a log line or a state.
"""

import hashlib
import os
from base64 import b64encode
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal
from urllib.request import parse_http_list, parse_keqv_list

from lineside import secret_files
from lineside.errors import SettingsError

Scheme = Literal["auto", "basic", "digest"]
_HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


def read_password(path: Path, setting: str) -> str:
    """Return the first line of a password file; raises SettingsError where it cannot be read or is empty."""
    try:
        return secret_files.read_password(path)
    except secret_files.SecretFileError as error:
        raise SettingsError([f"{setting}: {error.what}; {error.remedy}"]) from None


class Credentials:
    """User and password, and the last challenge of the one peer that they are for."""

    def __init__(
        self,
        username: str,
        password: str,
        *,
        scheme: Scheme = "auto",
        nonce: Callable[[], str] = lambda: os.urandom(8).hex(),
    ) -> None:
        self.username = username
        self.password = password
        self._scheme = scheme
        self._nonce = nonce
        self._challenge: dict[str, str] | None = None
        self._is_basic = False
        self._count = 0

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, ...)"

    def challenged(self, headers: Iterable[tuple[str, str]]) -> bool:
        """Take the challenges of a 401; return whether one of them can be answered. Digest goes before Basic."""
        self._challenge, self._is_basic, self._count = None, False, 0
        offered = [value for name, value in headers if name == "www-authenticate"]
        if self._scheme != "basic":
            for value in offered:
                kind, _, rest = value.partition(" ")
                if kind.lower() == "digest" and _is_known(fields := parse_keqv_list(_pairs(rest))):
                    self._challenge = fields
                    return True
        self._is_basic = self._scheme != "digest" and any(value.lower().startswith("basic") for value in offered)
        return self._is_basic

    def header(self, method: str, target: str) -> str | None:
        """Return the Authorization header for the next request, or None before a challenge."""
        if self._is_basic:
            return "Basic " + b64encode(f"{self.username}:{self.password}".encode()).decode()
        if self._challenge is None:
            return None
        self._count += 1
        return self._digest(self._challenge, method, target)

    def _digest(self, challenge: dict[str, str], method: str, target: str) -> str:
        algorithm = challenge.get("algorithm", "MD5")
        name = algorithm.upper()
        realm, nonce = challenge["realm"], challenge["nonce"]
        count, own = f"{self._count:08x}", self._nonce()

        def hashed(text: str) -> str:
            return hashlib.new(_HASHES[name.removesuffix("-SESS")], text.encode(), usedforsecurity=False).hexdigest()

        first = hashed(f"{self.username}:{realm}:{self.password}")
        if name.endswith("-SESS"):
            first = hashed(f"{first}:{nonce}:{own}")
        second = hashed(f"{method}:{target}")
        given = {"username": self.username, "realm": realm, "nonce": nonce, "uri": target}
        plain = {"algorithm": algorithm} if "algorithm" in challenge else {}
        if "qop" in challenge:
            given["response"] = hashed(f"{first}:{nonce}:{count}:{own}:auth:{second}")
            given["cnonce"] = own
            plain |= {"qop": "auth", "nc": count}
        else:
            given["response"] = hashed(f"{first}:{nonce}:{second}")
        if "opaque" in challenge:
            given["opaque"] = challenge["opaque"]
        quoted = [f'{key}="{_escaped(value)}"' for key, value in given.items()]
        return "Digest " + ", ".join(quoted + [f"{key}={value}" for key, value in plain.items()])


def _pairs(text: str) -> list[str]:
    return [pair for pair in parse_http_list(text) if "=" in pair]


def _is_known(fields: dict[str, str]) -> bool:
    name = fields.get("algorithm", "MD5").upper().removesuffix("-SESS")
    offers = {word.strip() for word in fields.get("qop", "auth").split(",")}
    return name in _HASHES and "auth" in offers and {"realm", "nonce"} <= fields.keys()


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
