"""What `lineside doctor` asks: checks of an installation, each with what was found and what to do about it.

Installed distributions contribute theirs by the entry-point group `lineside.checks`, under the name of their section:
a function (file, before) that yields Checks. They run side by side and are reported in the order of the sections;
`before` has what was found of the machine, the broker and the services, by name, so that a check which needs something
that failed is skipped and says so.
"""

import asyncio
import http.client
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from lineside.connections import describe
from lineside.errors import LinesideError
from lineside.health import ANY_ADDRESS
from lineside.settings import FILE_VARIABLE, HttpSettings, read_file
from lineside.threads import run_abandonable

GROUP = "lineside.checks"
"""The entry-point group."""

HTTP_S = 3.0
"""Longest silence of one of our own services."""

_OK = 200
_MAX_BYTES = 4 * 1024 * 1024
_CONTAINER_MARKS = {"docker": ".dockerenv", "podman": "run/.containerenv"}


class Mark(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    """It works, and somebody should look at it."""
    FAIL = "fail"
    SKIP = "skip"
    """Not asked, because something that it needs failed or is not configured."""


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report; `remedy` says what to do, where something is to be done."""

    name: str
    mark: Mark
    what: str
    remedy: str = ""


Contributor = Callable[[Path | None, Mapping[str, Check]], AsyncIterator[Check]]


def ok(name: str, what: str) -> Check:
    """Return a check that found what it should."""
    return Check(name, Mark.OK, what)


def warn(name: str, what: str, remedy: str = "") -> Check:
    """Return a check that somebody should look at."""
    return Check(name, Mark.WARN, what, remedy)


def fail(name: str, what: str, remedy: str = "") -> Check:
    """Return a check that found something wrong."""
    return Check(name, Mark.FAIL, what, remedy)


def skip(name: str, why: str) -> Check:
    """Return a check that could not be asked."""
    return Check(name, Mark.SKIP, why)


def needs(name: str, before: Mapping[str, Check], *others: str) -> Check | None:
    """Return the skipped check where one of the others did not come out well; None where they did."""
    for other in others:
        found = before.get(other)
        if found is None or found.mark in {Mark.FAIL, Mark.SKIP}:
            return skip(name, f"needs: {other}")
    return None


async def bounded(name: str, check: Callable[[], Awaitable[Check]], *, within_s: float, remedy: str = "") -> Check:
    """Return what a check finds within the time; whatever it raises is a failure of the check, never of the doctor.

    `remedy` is for an error that brings none.
    """
    try:
        async with asyncio.timeout(within_s):
            return await check()
    except TimeoutError:
        return fail(name, f"no answer within {within_s:g} s", remedy)
    except LinesideError as error:
        return fail(name, error.what, error.remedy or remedy)
    except Exception as error:  # noqa: BLE001 - the report names it, and the other checks go on
        return fail(name, describe(error), remedy)


def container(root: Path = Path("/")) -> str | None:
    """Return what kind of container we run in, None on a machine's own system.

    The marker file alone does not tell: a machine's disk may have been made from an image. A container's root is an
    overlay, or a folder of another file system.
    """
    kind = next((kind for kind, mark in _CONTAINER_MARKS.items() if (root / mark).exists()), None)
    if kind is None:
        return None
    for line in (root / "proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _dash, after = line.partition(" - ")
        fields = before.split()
        if fields[4] == "/" and (fields[3] != "/" or "overlay" in after.split()[0]):  # see proc(5)
            return kind
    return None


def ask(service: str, settings: HttpSettings, path: str) -> tuple[str, int, bytes]:
    """GET a path of one of our services; return where it answered, the status and the body, see `ask_for`."""
    where, status, body, _headers = ask_for(service, settings, path, within_s=HTTP_S, max_bytes=_MAX_BYTES)
    return where, status, body


def ask_for(
    service: str, settings: HttpSettings, path: str, *, within_s: float, max_bytes: int | None = None
) -> tuple[str, int, bytes, http.client.HTTPMessage]:
    """GET a path of one of our services; return where it answered, the status, the body and the headers; blocks.

    It is asked on the address of the settings, this machine's own where that is every address. A container reaches
    the others by their names: there `service`, with dashes, is asked where nothing listens beside us. Where the
    settings name a file of tokens that we may read, its first one goes with the request.
    Raises OSError or http.client.HTTPException.
    """
    token = _token(getattr(settings, "token_file", None))
    here = ANY_ADDRESS.get(settings.host, settings.host)
    hosts = [here, service.replace("_", "-")] if here != settings.host and container() else [here]
    for host in hosts:
        connection = http.client.HTTPConnection(host, settings.port, timeout=within_s)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            return f"{host}:{settings.port}", answer.status, answer.read(max_bytes), answer.headers
        except OSError:
            if host == hosts[-1]:
                raise
        finally:
            connection.close()
    raise AssertionError("there is a host")


async def judged(
    name: str,
    service: str,
    settings: Callable[[], HttpSettings],
    path: str,
    judge: Callable[[bytes, str], Check],
    before: Mapping[str, Check],
) -> Check:
    """Return what `judge` says of a service's answer (body, where it answered) at a path.

    It is skipped where the check of the service itself, which comes before, did not find it ready.
    """
    found = before.get(service)
    if found is None or "ready on" not in found.what:
        return skip(name, f"needs: {service}")
    own = settings()

    def look() -> Check:
        try:
            where, status, body = ask(service, own, path)
        except http.client.HTTPException as error:
            return fail(name, f"{path} is cut off: {error!r}", f"see the {service}'s log")
        if status != _OK:
            return fail(name, f"{where}{path} answers {status}", f"see the {service}'s log")
        return judge(body, where)

    return await bounded(name, partial(run_abandonable, look), within_s=2 * HTTP_S)


def _token(file: Path | None) -> str | None:
    """Return the first token of a file, None where there is none or it is not ours to read."""
    if file is None:
        return None
    try:
        lines = (line.strip() for line in file.read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return None
    return next((line for line in lines if line and not line.startswith("#")), None)


def readyz(service: str, settings: HttpSettings) -> tuple[str, dict[str, Any]]:
    """Return where a service of ours answers, and its /readyz; blocks. Without its token it says `ready` only.

    Raises OSError, http.client.HTTPException, or ValueError where something else answers.
    """
    where, _status, body = ask(service, settings, "/readyz")
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError(f"/readyz is {document!r:.80}")  # noqa: TRY004 - what another program may answer
    return where, document


def document_of(file: Path | None) -> dict[str, Any]:
    """Return the settings file as it is written, all sections; nothing where there is no file."""
    named = os.environ.get(FILE_VARIABLE)
    path = file or (Path(named) if named else None)
    return read_file(path) if path else {}
