"""`lineside greengrass rehearse`: deployments carried out on this machine, before AWS is asked."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lineside_bench.errors import BenchError
from lineside_bench.exit_codes import CANNOT_START, FAULTS, INTERRUPTED
from lineside_bench.greengrass.core.document import Deployment, read_deployment
from lineside_bench.greengrass.core.lifecycle import State
from lineside_bench.greengrass.core.nucleus import Device, Nucleus, Outcome, Status, this_machine
from lineside_bench.greengrass.core.preparing import WAYS
from lineside_bench.greengrass.core.reading import read_file
from lineside_bench.greengrass.core.recipe import Recipe, read_recipe
from lineside_bench.processes.interrupts import Interrupts

_SUFFIXES = (".yaml", ".yml", ".json")
_COLOURS = {State.RUNNING: "green", State.FINISHED: "green", State.ERRORED: "yellow", State.BROKEN: "red"}


@dataclass(frozen=True)
class Rehearsal:
    """What is asked for: recipes, deployments one after the other, on which device, in which nucleus' manner."""

    recipes: Path
    deployments: Sequence[Path]
    manner: str = "classic"
    root: Path | None = None
    """The core's folder, which is kept; None: one that is removed at the end."""
    device: Device = field(default_factory=Device)
    stay: bool = False
    """Whether the components go on until Ctrl-C."""


def read_recipes(folder: Path) -> list[Recipe]:
    """Return all recipes of a folder and those below it; raises BenchError that says where one is wrong.

    A document that names neither component nor format is none: a device's rights, a configuration.
    """
    if not folder.is_dir():
        raise BenchError(f"{folder} is no folder", remedy="Name the folder that the recipes are in")
    files = sorted(each for each in folder.rglob("*") if each.suffix in _SUFFIXES and each.is_file())
    documents = {file: read_file(file) for file in files}
    found: dict[tuple[str, str], Recipe] = {}
    for file, document in documents.items():
        if all(document.get(name).value is None for name in ("ComponentName", "RecipeFormatVersion")):
            continue
        recipe = read_recipe(document)
        other = found.setdefault((recipe.name, recipe.version), recipe)
        if other is not recipe:
            what = f"{file}: {recipe.name} {recipe.version} is in {other.place} too"
            raise BenchError(what, remedy="Keep one of them, or give the other another version")
    if not found:
        what = f"{folder} has no recipe: no file that ends with {', '.join(_SUFFIXES)} and names its component"
        raise BenchError(what, remedy="Render them")
    return list(found.values())


def platform(given: Sequence[str]) -> dict[str, str]:
    """Return this machine's platform attributes with those that were given as NAME=VALUE; raises BenchError."""
    made = this_machine()
    for each in given:
        name, equals, value = each.partition("=")
        if not name or not equals or not value:
            raise BenchError(f"--platform {each!r} is not NAME=VALUE", remedy="Give for instance architecture=aarch64")
        made[name] = value
    return made


def rehearse(asked: Rehearsal, console: Console | None = None) -> int:
    """Carry the deployments out; return the exit status: 0 all succeeded, 1 one failed, 2 the input is wrong."""
    console = console or Console(highlight=False)
    try:
        recipes = read_recipes(asked.recipes)
        deployments = [read_deployment(read_file(file)) for file in asked.deployments]
        with _folder(asked.root) as root:
            return asyncio.run(_until_signal(_carried_out(asked, root, recipes, deployments, console), console))
    except BenchError as error:
        Console(stderr=True).print(Text(str(error), style="red"), soft_wrap=True)
        return CANNOT_START


@contextlib.contextmanager
def _folder(root: Path | None) -> Iterator[Path]:
    if root is not None:
        yield root
        return
    with tempfile.TemporaryDirectory(prefix="greengrass-") as made:
        yield Path(made)


async def _until_signal(work: Coroutine[Any, Any, int], console: Console) -> int:
    """Return the work's status, or a signal's: SIGINT too where a shell began this in the background, ignoring it."""
    interrupts = Interrupts(console.print)
    working = asyncio.ensure_future(work)
    with interrupts.caught():
        return working.result() if await interrupts.until(working) else INTERRUPTED + interrupts.number


async def _carried_out(
    asked: Rehearsal, root: Path, recipes: Sequence[Recipe], deployments: Sequence[Deployment], console: Console
) -> int:
    began = time.monotonic()

    def tell(name: str, state: State, why: str) -> None:
        line = Text(f"{time.monotonic() - began:7.1f} s  {name}  ")
        line.append(state, style=_COLOURS.get(state, "default"))
        console.print(line.append(f"  {why}" if why else ""), soft_wrap=True)

    nucleus = Nucleus(root, ways=WAYS[asked.manner], device=asked.device, tell=tell, keeps_messages=False)
    failed = False
    async with nucleus:
        if nucleus.interrupted:
            console.print(f"deployment {nucleus.interrupted!r} was under way when the core ended; it stands as it is")
        await nucleus.settled()
        for deployment, file in zip(deployments, asked.deployments, strict=True):
            console.print(f"deployment {deployment.name!r} ({file})", soft_wrap=True)
            outcome = await nucleus.deploy(deployment, recipes)
            failed = failed or outcome.status is not Status.SUCCEEDED
            _show(nucleus, outcome, console)
        if asked.root is not None:
            console.print(f"logs in {root / 'logs'}", soft_wrap=True)
        if asked.stay and not failed:
            console.print("the components go on; Ctrl-C stops them")
            await asyncio.Event().wait()
    return FAULTS if failed else 0


def _show(nucleus: Nucleus, outcome: Outcome, console: Console) -> None:
    good = outcome.status is Status.SUCCEEDED
    line = Text(f"{outcome.status}", style="green" if good else "red")
    console.print(line.append(f" after {outcome.seconds:.1f} s", style="default"))
    if outcome.why:
        console.print(Text(outcome.why), soft_wrap=True)
        for name in sorted(nucleus.logs):
            if name in outcome.why:
                for each in nucleus.last_lines(name):
                    console.print(Text(f"  {name}: {each}", style="dim"), soft_wrap=True)
    table = Table("component", "version", "state", "in this deployment")
    for name, version in sorted(nucleus.versions.items()):
        state = nucleus.components[name].state
        change = outcome.changes.get(name, "")
        table.add_row(name, version, Text(state, style=_COLOURS.get(state, "default")), change)
    console.print(table)
