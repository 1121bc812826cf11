"""What a camera can be told: its features with what they take, and setting them as the settings do."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lineside_inference.camera_command.common import (
    WRONG,
    Camera,
    Config,
    Json,
    check_control,
    end,
    settings_of,
    show,
    tried,
)

if TYPE_CHECKING:
    from lineside_inference.sources.cameras.genicam.features import Feature


def features(
    camera: Camera,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these features.")] = None,
    assigned: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set a feature first; several times.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show a camera's features with kind, value, what they take and access; or set some, in the order of the settings.

    A camera forgets what was set when its power goes, and the service writes its own features at each connect. Exit
    status 1 where a feature is refused, or where another program controls the camera.
    """
    wanted = _assigned(assigned or [])
    device = settings_of(camera, config).device or camera
    shown = tried(lambda: _done(device, wanted, [*(names or []), *wanted], config))
    if as_json:
        show(json.dumps({name: as_data(feature) for name, feature in shown.items()}, indent=2, allow_nan=False))
        return
    for name, feature in shown.items():
        show(as_line(name, feature))


def as_line(name: str, feature: "Feature") -> str:
    """Return a feature on one line."""
    value = "" if feature.value is None else f" {feature.value}"
    return f"{name}:{value}   ({feature.bounds.kind}: {feature.bounds}; {feature.access})"


def as_data(feature: "Feature") -> dict[str, Any]:
    """Return a feature for JSON: bounds only where there are some, and no number that JSON has not."""
    data = {**asdict(feature.bounds), "value": feature.value, "access": feature.access}
    if feature.bounds.kind not in {"integer", "float"}:
        data.update(least=None, most=None, step=None)
    if feature.bounds.kind != "integer":
        data["step"] = None
    return {name: None if isinstance(each, float) and not math.isfinite(each) else each for name, each in data.items()}


def _assigned(words: list[str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for word in words:
        name, is_given, value = word.partition("=")
        if not name or not is_given:
            raise end(f"--set: {word!r} must be NAME=VALUE, such as ExposureTime=2000", status=WRONG)
        if name in wanted:
            raise end(f"--set: {name} is given twice", status=WRONG)
        wanted[name] = value
    return wanted


def _done(device: str, wanted: dict[str, str], names: list[str], config: Path | None) -> "dict[str, Feature]":
    from lineside_inference.sources.cameras.genicam.device import Device  # noqa: PLC0415 - the help is quick without
    from lineside_inference.sources.cameras.genicam.features import from_text  # noqa: PLC0415

    instead = (
        "Write it under inference.cameras.{}.features, which the service sets at its next connect, or stop the service"
    )
    opened = Device(device, max_pixels=1, controls=False)
    try:
        if wanted:
            check_control(opened, device, config, instead)
            opened.apply({name: from_text(text, opened.look(name).bounds.kind) for name, text in wanted.items()})
        return {name: opened.look(name) for name in names or opened.names()}
    finally:
        opened.close()
