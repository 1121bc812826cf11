"""What the camera commands share: a camera by its name in the settings, and how they tell and fail."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lineside.errors import LinesideError

if TYPE_CHECKING:
    from lineside_inference.sources.cameras.genicam.advice import Advice

Result = TypeVar("Result")
Camera = Annotated[
    str, typer.Argument(metavar="CAMERA", help="Address, MAC, serial, user-defined name, or a name in the settings.")
]
Config = Annotated[Path | None, typer.Option(help="The settings file; else what LINESIDE_CONFIG names.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]

FAILED, WRONG = 1, 2
SNAP_S = 10.0


def configured(config: Path | None) -> dict[str, Any]:
    """Return the cameras of the settings by their names; none where no settings file was named and none can be read."""
    from lineside.errors import SettingsError  # noqa: PLC0415 - the help is quick without
    from lineside.settings import load  # noqa: PLC0415
    from lineside_inference.settings import Settings  # noqa: PLC0415

    try:
        return dict(load(Settings, file=config).inference.cameras)
    except SettingsError as error:
        if config is not None:
            raise end("\n".join(error.problems), status=WRONG) from None
        return {}


def settings_of(camera: str, config: Path | None) -> Any:
    """Return the settings of a camera that is configured by this name, else those of a device that is named so."""
    from lineside_inference.settings import CameraSettings  # noqa: PLC0415 - see above

    named = CameraSettings(kind="genicam", device=camera, acquisition="free", timeout_ms=SNAP_S * 1000)
    found = configured(config).get(camera, named)
    if found.kind != "genicam":
        raise end(f"camera {camera!r} is of kind {found.kind}: this command is for kind genicam", status=WRONG)
    return found


def names_of(device: str, config: Path | None) -> list[str]:
    """Return under which names the settings have a device, also where they name it another way; asks who is there."""
    from lineside_inference.sources.cameras.genicam.discovery import choose, discover  # noqa: PLC0415 - see above

    own = {name: each.device for name, each in configured(config).items() if each.kind == "genicam"}
    found = discover() if any(each != device for each in own.values()) else []
    this = choose(found, device)
    return [name for name, each in own.items() if each == device or (this is not None and choose(found, each) == this)]


def check_control(opened: Any, device: str, config: Path | None, instead: str) -> None:
    """Raise CameraFailed where another program controls an opened camera, with its names in the settings.

    `instead` is what to do where it has one, with {} for the name.
    """
    if not opened.has_control():
        raise owned(opened.owner(), names_of(device, config), instead)


def owned(owner: str, names: list[str], instead: str) -> Exception:
    """Return the refusal of a camera that another program controls."""
    from lineside_inference.errors import CameraFailed  # noqa: PLC0415 - see above

    if not names:
        return CameraFailed(f"access denied: {owner} has control of it", remedy="Stop the other program")
    return CameraFailed(
        f"access denied: {owner} has control of it; in the settings it is camera {names[0]!r} of the inference service",
        remedy=instead.format(names[0]),
    )


def tried(work: Callable[[], Result]) -> Result:
    """Return what the work gives; ends the program with its error in one line."""
    try:
        return work()
    except LinesideError as error:
        raise end(str(error)) from None
    except OSError as error:
        raise end(f"cannot be written: {error}") from None


def show(text: str) -> None:
    """Print what a camera tells of itself without what a terminal would obey."""
    sys.stdout.write("".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text) + "\n")


def is_well(advice: "Sequence[Advice]") -> bool:
    """Whether nothing is to be done."""
    return not any(each.is_due for each in advice)


def as_lines(advice: "Sequence[Advice]") -> Iterator[str]:
    """Yield what to do, then what may help, as lines of text."""
    for each in advice:
        yield f"{'to do' if each.is_due else 'may help'}: {each.text}"


def conclude(data: Mapping[str, Any], lines: Iterable[str], advice: "Sequence[Advice]", *, as_json: bool) -> None:
    """Print what came, as JSON or as text; ends the program with status 1 where something is to be done."""
    show(json.dumps(data, indent=2, allow_nan=False) if as_json else "\n".join(lines))
    if not is_well(advice):
        raise typer.Exit(FAILED)


def end(why: str, *, status: int = FAILED) -> typer.Exit:
    """Say why on standard error and return what ends the program, to be raised."""
    sys.stderr.write(f"{why}\n")
    return typer.Exit(status)
