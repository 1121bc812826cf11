"""What `lineside doctor` asks: checks of an installation, each with what was found and what to do about it.

Installed distributions contribute theirs by the entry-point group `lineside.checks`, under the name of their section:
a function (file, before) that yields Checks. They come in the order of the sections; `before` has what was found so
far, by name, so that a check which needs something that failed is skipped and says so.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lineside.connections import describe
from lineside.errors import LinesideError
from lineside.settings import FILE_VARIABLE, read_file

GROUP = "lineside.checks"
"""The entry-point group."""


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


def document_of(file: Path | None) -> dict[str, Any]:
    """Return the settings file as it is written, all sections; nothing where there is no file."""
    named = os.environ.get(FILE_VARIABLE)
    path = file or (Path(named) if named else None)
    return read_file(path) if path else {}
