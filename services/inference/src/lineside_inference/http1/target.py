"""An http or https address, taken apart once: what is checked is what is connected to."""

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from lineside.secrecy import hidden

_OK_CHARACTERS = "/?:@!$&'()*+,;=-._~%[]"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Target:
    """Scheme, host in lower case, port, and path with query."""

    tls: bool
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> "Target":
        """Take an address apart; raises ValueError that says what is wrong, without the address itself."""
        if any(ord(character) <= ord(" ") or character in '\\"<>^`{|}\x7f' for character in url):
            raise ValueError("it has a space or a character that no address has")
        try:
            parts = urlsplit(url)
        except ValueError:  # its words hold a part of the address
            raise ValueError("its host is no name and no address") from None
        scheme = parts.scheme.lower()
        if scheme not in _PORTS:
            raise ValueError(f"its scheme is {scheme!r:.20}; http and https are allowed")
        if "@" in parts.netloc:
            raise ValueError("it has a user name or password in it")
        host = (parts.hostname or "").removesuffix(".")
        if not host or not host.isascii() or "%" in host:
            raise ValueError("its host is empty or not plain ASCII")
        path = quote(parts.path or "/", safe=_OK_CHARACTERS) + (
            "?" + quote(parts.query, safe=_OK_CHARACTERS) if parts.query else ""
        )
        try:
            port = parts.port or _PORTS[scheme]
        except ValueError:
            raise ValueError("its port is no number from 1 to 65535") from None
        return cls(scheme == "https", host.lower(), port, path)

    @property
    def authority(self) -> str:
        """The Host header: the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"

    def __str__(self) -> str:
        """Return it as shown to people."""
        return hidden(f"{'https' if self.tls else 'http'}://{self.authority}{self.path}")
