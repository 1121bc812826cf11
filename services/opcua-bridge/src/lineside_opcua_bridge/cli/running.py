"""What every command does around its own work: settings, session, and errors in one line instead of a traceback."""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from pydantic import ValidationError

import lineside.settings
import lineside.telemetry
from lineside.errors import LinesideError, SettingsError
from lineside_opcua_bridge.link.session import CallFailed, Session
from lineside_opcua_bridge.settings import OpcuaBridgeSettings, Settings
from lineside_opcua_bridge.tags import Element, parse

_FAILED = 1
_WRONG = 2
_INSECURE = {"security": {"policy": "none"}, "user": {"kind": "anonymous"}}


@dataclass(frozen=True)
class Where:
    """Which server, and how to get in."""

    settings: OpcuaBridgeSettings
    thing: str


def where(config: Path | None, endpoint: str | None, *, insecure: bool) -> Where:
    """Return what the settings file and the options say; ends the program where they are wrong."""
    try:
        settings = lineside.settings.load(Settings, file=config)
    except SettingsError as error:
        raise end("\n".join(error.problems), status=_WRONG) from None
    section = settings.opcua_bridge.model_dump(exclude={"triggers", "heartbeat"})
    section |= ({"endpoint": endpoint} if endpoint else {}) | (_INSECURE if insecure else {})
    try:
        return Where(OpcuaBridgeSettings.model_validate(section), settings.thing)
    except ValidationError as error:  # the settings were right, so it is the option
        raise end(f"--endpoint: {error.errors()[0]['msg'].removeprefix('Value error, ')}", status=_WRONG) from None


def run(where: Where, texts: Sequence[str], work: Callable[[Session], Awaitable[None]]) -> None:
    """Do a command's work in a session; exit status 1 where that fails, 2 where a text is none of a node."""
    try:
        for text in texts:
            if isinstance(tag := parse(text), Element):
                raise end(f"{text!r} is one element: name the array, {tag.of.text!r}", status=_WRONG)
    except ValueError as error:
        raise end(str(error), status=_WRONG) from None
    lineside.telemetry.configure("opcua", level="error", style="console")
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # what matters comes as an error of ours
    try:
        asyncio.run(_run(where, work))
    except CallFailed as error:
        remedy = f". Is {where.settings.endpoint} right, and does the server run?" if _connecting(error) else ""
        raise end(f"{error}{remedy}") from None
    except LinesideError as error:
        raise end(str(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit from None
    except BrokenPipeError:  # `| head` has seen enough; nothing more may be written, not at the exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def end(why: str, *, status: int = _FAILED) -> typer.Exit:
    """Say what was wrong; return what to raise to end the program."""
    sys.stderr.write(f"{why}\n")
    return typer.Exit(status)


async def _run(where: Where, work: Callable[[Session], Awaitable[None]]) -> None:
    session = Session(where.settings, where.thing, looks_only=True)
    try:
        await session.open()
        await work(session)
    finally:
        await session.close()


def _connecting(error: CallFailed) -> bool:
    return error.reason in {"connection", "timeout"}
