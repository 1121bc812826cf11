"""`health [--live]`: ask the service of this machine whether it is ready, or alive; for a container's health check.

It runs every few seconds beside the service, so it imports next to nothing: no settings model and no HTTP client. Where
to ask is read as the settings read it: environment, then file, then default.
"""

import json
import os
import socket
import sys
from collections.abc import Sequence

PORTS = {
    "inference": 8080,
    "topic_bridge": 8081,
    "opcua_bridge": 8082,
    "forwarder": 8083,
    "exporter": 9109,
    "deployer": 8084,
    "camera_sim": 8090,
    "plc_sim": 8091,
}
"""The default port of each service and simulator, by its section of the settings."""

ANSWER_S = 4.0
"""Longest wait for the answer, in seconds; a container's health check must allow more."""

MAX_BYTES = 1 << 20
ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
"""Where every address is listened on, this machine's own is asked."""

_OK = 200


class Unhealthy(Exception):
    """Why the service is not as it should be, on one line."""


def main(arguments: Sequence[str], *, port: int | None = None, section: str = "") -> int:
    """Print `ready` or `alive` and return 0, or the reason and return 1; return 2 for a wrong argument.

    `section` names the section of the settings that may say another host and port; a program without one gives `port`.
    """
    if any(argument != "--live" for argument in arguments):
        sys.stderr.write(f"health: got {' '.join(arguments)!r}, takes nothing or --live\n")
        return 2
    is_live = bool(arguments)
    try:
        host, number = _where(section, port if port is not None else PORTS[section])
        ask(host, number, "/livez" if is_live else "/readyz")
    except Unhealthy as reason:
        sys.stdout.write(f"{reason}\n")
        return 1
    sys.stdout.write("alive\n" if is_live else "ready\n")
    return 0


def ask(host: str, port: int, path: str) -> None:
    """Raise Unhealthy unless a service at this port answers 200."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        with socket.create_connection((host, port), ANSWER_S) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode("ascii"))
            answer = b""
            while len(answer) < MAX_BYTES and (more := connection.recv(65536)):
                answer += more
    except OSError as error:
        what = f"no answer within {ANSWER_S:g} s" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise Unhealthy(f"http://{address}{path}: {what}") from None
    head, _, body = answer.partition(b"\r\n\r\n")
    parts = head.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():  # noqa: PLR2004 - version, status
        raise Unhealthy(f"http://{address}{path}: what answers is not a service of Lineside")
    if int(parts[1]) != _OK:
        raise Unhealthy(f"http://{address}{path}: {int(parts[1])}: {_reason(body)}")


def _where(section: str, port: int) -> tuple[str, int]:
    """Return the host and port to ask."""
    if not section:
        return "127.0.0.1", port
    environment = {name.upper(): value for name, value in os.environ.items()}
    groups = [_from_environment(environment, section), _from_file(environment.get("LINESIDE_CONFIG", ""), section)]
    host = next((str(group["host"]) for group in groups if "host" in group), "")
    number = next((group["port"] for group in groups if "port" in group), port)
    try:
        return ANY_ADDRESS.get(host, host), int(str(number))
    except ValueError:
        raise Unhealthy(f"{section}.http.port: {number!r} is not a number") from None


def _from_environment(environment: dict[str, str], section: str) -> dict[str, object]:
    """Return `http` of the section as the environment gives it: a name for a setting, or JSON for a group."""
    prefix = f"LINESIDE_{section.upper()}"
    found: dict[str, object] = {}
    try:
        for name, steps in ((prefix, ("http",)), (f"{prefix}__HTTP", ())):
            if name in environment:
                found |= _below(json.loads(environment[name]), steps)
    except ValueError:
        raise Unhealthy(f"environment {name}: not JSON") from None
    for field in ("host", "port"):
        if f"{prefix}__HTTP__{field.upper()}" in environment:
            found[field] = environment[f"{prefix}__HTTP__{field.upper()}"]
    return found


def _from_file(path: str, section: str) -> dict[str, object]:
    """Return `http` of the section as the settings file gives it."""
    if not path:
        return {}
    import yaml  # noqa: PLC0415 - costs more than all the rest, and not everybody has a file

    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs a third of the imports
            return _below(yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader)), (section, "http"))  # noqa: S506 - both are safe
    except OSError as error:
        raise Unhealthy(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise Unhealthy(f"{path}: not YAML") from None


def _below(document: object, steps: tuple[str, ...]) -> dict[str, object]:
    for step in steps:
        document = document.get(step) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _reason(body: bytes) -> str:
    """Return why, from the answer of /readyz or /livez: the state, and the connections that are not online."""
    try:
        told = json.loads(body)
        away = [
            f"{link['name']} {link['state']}{': ' + link['detail'] if link.get('detail') else ''}"
            for link in told.get("connections", ())
            if link["state"] != "ONLINE" and link.get("required", True)
        ]
        words = [str(told[name]) for name in ("reason", "state") if told.get(name)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return "says no reason"
    return " ".join("; ".join([*words[:1], *away]).split()) or "says no reason"
