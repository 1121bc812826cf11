"""The builder as a program beside Triton: `python3 -m lineside.plans FOLDER MODELS`.

LINESIDE_TRTEXEC names trtexec where it is not in its usual places, LINESIDE_MODULE a Jetson's module.
"""

import argparse
import os
import sys
from pathlib import Path

from lineside.plans.builder import Builder, say
from lineside.plans.device import Device, NoDevice, find_trtexec, look


def main() -> int:
    """Run for ever; exit status 1 where the folder does not serve."""
    words = argparse.ArgumentParser(prog="lineside.plans", description="Builds TensorRT engines from ONNX, when asked.")
    words.add_argument("folder", type=Path, help="the folder of the plans, which the inference service has too")
    words.add_argument("models", type=Path, help="the model repository, as inference.model_repository")
    given = words.parse_args()
    program, device, unable = Path(), None, ""
    try:
        program = find_trtexec(os.environ.get("LINESIDE_TRTEXEC", ""))
        device = look(program)
    except NoDevice as error:
        unable = str(error)
    return live(given.folder, given.models, program, device, unable)


def live(folder: Path, models: Path, program: Path, device: Device | None, unable: str = "") -> int:
    """Build what is asked for, until the process is ended; return 1 where the folder does not serve."""
    builder = Builder(folder, models, program, device, unable)
    try:
        builder.start()
        say(f"builds for {device.describe()} in {folder}" if device else f"builds nothing: {unable}")
        builder.run()
    except OSError as error:
        say(f"{error.filename or folder}: {error.strerror}; give it a folder that it may write")
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
