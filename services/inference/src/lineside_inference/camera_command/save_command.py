"""What a camera is set to, into a file that the settings or a maker's viewer load."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from lineside_inference.camera_command.common import FAILED, Camera, Config, end, settings_of, show, tried


def save(
    camera: Camera,
    file: Annotated[Path, typer.Argument(help="The file to write, such as station-1.pfs.", dir_okay=False)],
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    config: Config = None,
) -> None:
    """Write a camera's features into a file, for `features_file` of the settings, pylon and other viewers.

    Where the camera is free, each choice of a selector is chosen once, and what it was is chosen again. Where another
    program controls it, only what is selected now is written. Left out is what belongs to the trigger, the stream and
    the camera's address.
    """
    if file.exists() and not force:
        raise end(f"{file} is there already: --force writes over it", status=FAILED)
    device = settings_of(camera, config).device or camera
    text, lines, walked = tried(lambda: _saved(device))
    tried(lambda: _write(file, text))
    show(f"{file}: {lines} lines")
    if not walked:
        sys.stderr.write(
            "another program controls the camera: of each selector only what is selected now was written\n"
        )


def _saved(device: str) -> tuple[str, int, bool]:
    from lineside_inference.sources.cameras.genicam.device import Device  # noqa: PLC0415 - the help is quick without
    from lineside_inference.sources.cameras.genicam.features_file import written  # noqa: PLC0415
    from lineside_inference.sources.cameras.genicam.features_loading import saved  # noqa: PLC0415

    opened = Device(device, max_pixels=1, controls=False)
    try:
        walks = opened.has_control()
        lines = list(saved(opened, walks=walks))
        about = " ".join(str(opened.read(name) or "") for name in ("DeviceVendorName", "DeviceModelName"))
        return written(lines, about.strip()), len(lines), walks
    finally:
        opened.close()


def _write(file: Path, text: str) -> None:
    from lineside.durable_files import replace_file  # noqa: PLC0415 - see above

    replace_file(file, text.encode(), mode=0o666)
