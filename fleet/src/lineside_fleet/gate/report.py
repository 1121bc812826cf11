"""An evaluation as files: `gate.json` for programs, `gate.png` for a message, `gate.html` for people."""

from pathlib import Path

from lineside.durable_files import replace_file, sync
from lineside.errors import LinesideError
from lineside_fleet.gate import page, picture
from lineside_fleet.gate.evaluation import Evaluation

MODE = 0o644


def write(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write the three files, in place of earlier ones, and return their paths; raises LinesideError."""
    contents = {
        "gate.json": evaluation.model_dump_json(by_alias=True, indent=2).encode() + b"\n",
        "gate.png": picture.png(evaluation),
        "gate.html": page.html(evaluation).encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            replace_file(folder / name, content, mode=MODE)
        sync(folder)
    except OSError as error:
        raise LinesideError(
            f"{folder}: the gate's report cannot be written: {error.strerror}",
            remedy="name a folder that can be written",
        ) from None
    return [folder / name for name in contents]
