"""`lineside doctor`: is this installation right, and if not, what is to be done."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from lineside import telemetry
from lineside.checks import GROUP, Check, Contributor, Mark, fail
from lineside.cli import common_checks, machine
from lineside.cli.config import problems
from lineside.connections import describe
from lineside.settings import FILE_VARIABLE, SECTIONS
from lineside.tables import visible

SCHEMA = "lineside/doctor/1"
"""What `--json` follows; a change that a reader would notice gets another number."""

WHOLE_S = 60.0
"""The longest that one contributor's checks may take together; each has a bound of its own, far below."""

_FAILED = 1
_WRONG = 2
Asked = Callable[[], AsyncIterator[Check]]

_STYLES = {Mark.OK: "green", Mark.WARN: "yellow", Mark.FAIL: "bold red", Mark.SKIP: "dim"}


def doctor(
    file: Annotated[Path | None, typer.Argument(help=f"The settings file; else what {FILE_VARIABLE} names.")] = None,
    config: Annotated[Path | None, typer.Option(help="The same, as the other commands take it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Check machine, Docker, broker, services, Triton, models, cameras, PLC and evidence, and say what to do.

    Nothing is written to the PLC and nothing is changed. Exit status 0: nothing failed, 1: something did, 2: the
    settings are wrong.
    """
    if file and config and file != config:
        raise typer.BadParameter(f"two settings files: {file} and {config}; name one", param_hint="--config")
    config = config or file
    console = Console(highlight=False)
    if wrong := problems(config):
        found = [Check("settings", Mark.FAIL, problem) for problem in wrong]
    else:
        telemetry.configure("doctor", level="error")
        logging.disable(logging.CRITICAL)  # what goes wrong is in the report
        found = asyncio.run(_ask(config, None if as_json else console))
    if as_json:
        typer.echo(json.dumps(_document(found), indent=2))
    elif wrong:
        for check in found:
            _print(console, check, "settings")
    if wrong:
        raise typer.Exit(_WRONG)
    if not as_json:
        console.print(summary(found))
    if any(check.mark is Mark.FAIL for check in found):
        raise typer.Exit(_FAILED)


def contributors() -> dict[str, Contributor]:
    """Return the contributors of checks by name, in the order of the sections; those without a section come last."""
    order = {name: place for place, name in enumerate(SECTIONS)}
    found = sorted(entry_points(group=GROUP), key=lambda entry: (order.get(entry.name, len(order)), entry.name))
    return {entry.name: entry.load() for entry in found}


def summary(found: Sequence[Check]) -> str:
    """Return the last line of the report."""
    counts = Counter(check.mark for check in found)
    said = [f"{counts[mark]} {mark}" for mark in Mark if counts[mark]]
    return f"{len(found)} checks: {', '.join(said)}"


async def _ask(file: Path | None, console: Console | None) -> list[Check]:
    """Ask everything, and print each answer as it comes."""
    found: dict[str, Check] = {}
    async for check in _all(file, found):
        found[check.name] = check
        if console:
            _print(console, check, check.name)
    return list(found.values())


async def _all(file: Path | None, before: Mapping[str, Check]) -> AsyncIterator[Check]:
    """Yield what everybody finds: first of the machine, the broker and the services, then of all the rest."""
    for together in ({"common": common_checks.checks, "machine": machine.checks}, contributors()):
        known = dict(before)
        async for check in _side_by_side({name: partial(each, file, known) for name, each in together.items()}):
            yield check


async def _side_by_side(asked: Mapping[str, Asked]) -> AsyncIterator[Check]:
    """Ask all at the same time, and yield their checks one after the other's, in the order given."""
    queues: dict[str, asyncio.Queue[Check | None]] = {name: asyncio.Queue() for name in asked}
    tasks = [
        asyncio.create_task(_collect(name, each, queues[name]), name=f"doctor {name}") for name, each in asked.items()
    ]
    try:
        for queue in queues.values():
            while (check := await queue.get()) is not None:
                yield check
    finally:
        for task in tasks:
            task.cancel()


async def _collect(name: str, asked: Asked, queue: asyncio.Queue[Check | None]) -> None:
    """Put what a contributor finds on the queue, then None; its error, or its being late, is a failed check."""
    try:
        async with asyncio.timeout(WHOLE_S):
            async for check in asked():
                queue.put_nowait(check)
    except TimeoutError:
        queue.put_nowait(fail(f"{name} checks", f"not done within {WHOLE_S:g} s; the rest of them was left"))
    except Exception as error:  # noqa: BLE001 - the others go on
        queue.put_nowait(fail(f"{name} checks", describe(error), "this is a fault of these checks: please report it"))
    finally:
        queue.put_nowait(None)


def _print(console: Console, check: Check, name: str) -> None:
    line = Text.assemble((f"{check.mark:<5}", _STYLES[check.mark]), f"{visible(name):<24} ", visible(check.what))
    console.print(line, soft_wrap=True)
    if check.remedy:
        console.print(Text.assemble(f"{'':<5}{'':<24} ", ("do: ", "bold"), visible(check.remedy)), soft_wrap=True)


def _document(found: Sequence[Check]) -> dict[str, Any]:
    counts = Counter(check.mark for check in found)
    return {
        "schema": SCHEMA,
        "ok": not counts[Mark.FAIL],
        "counts": {str(mark): counts[mark] for mark in Mark},
        "checks": [
            {"name": check.name, "mark": str(check.mark), "what": check.what, "remedy": check.remedy} for check in found
        ],
    }
