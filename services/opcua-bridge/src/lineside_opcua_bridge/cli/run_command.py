"""Runs a command: loads the settings, opens a session, and prints an error as one line instead of a traceback."""

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
class PlcServer:
    """The PLC's server, and how to log in."""

    settings: OpcuaBridgeSettings
    thing: str


def plc_server(config: Path | None, endpoint: str | None, *, insecure: bool) -> PlcServer:
    """Return the server that the settings file and the options name; ends the program where they are wrong."""
    try:
        settings = lineside.settings.load(Settings, file=config)
    except SettingsError as error:
        raise end("\n".join(error.problems), status=_WRONG) from None
    section = settings.opcua_bridge.model_dump(exclude={"triggers", "heartbeat"})
    section |= ({"endpoint": endpoint} if endpoint else {}) | (_INSECURE if insecure else {})
    try:
        return PlcServer(OpcuaBridgeSettings.model_validate(section), settings.thing)
    except ValidationError as error:  # the settings were right, so it is the option
        raise end(f"--endpoint: {error.errors()[0]['msg'].removeprefix('Value error, ')}", status=_WRONG) from None


def run(server: PlcServer, texts: Sequence[str], work: Callable[[Session], Awaitable[None]]) -> None:
    """Run a command's work in a session; exit status 1 where that fails, 2 where a text names no node."""
    try:
        for text in texts:
            if isinstance(tag := parse(text), Element):
                raise end(f"{text!r} is one element: name the array, {tag.of.text!r}", status=_WRONG)
    except ValueError as error:
        raise end(str(error), status=_WRONG) from None
    lineside.telemetry.configure("opcua", level="error", style="console")
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # what matters comes as an error of ours
    try:
        asyncio.run(_run(server, work))
    except CallFailed as error:
        remedy = f". Is {server.settings.endpoint} right, and does the server run?" if _connecting(error) else ""
        raise end(f"{error}{remedy}") from None
    except LinesideError as error:
        raise end(str(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit from None
    except BrokenPipeError:  # the reader, as `| head`, has ended: nothing more may be written, not at the exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def end(why: str, *, status: int = _FAILED) -> typer.Exit:
    """Print what was wrong; return what to raise to end the program."""
    sys.stderr.write(f"{why}\n")
    return typer.Exit(status)


async def _run(server: PlcServer, work: Callable[[Session], Awaitable[None]]) -> None:
    session = Session(server.settings, server.thing, read_only=True)
    try:
        await session.open()
        await work(session)
    finally:
        await session.close()


def _connecting(error: CallFailed) -> bool:
    return error.reason in {"connection", "timeout"}
