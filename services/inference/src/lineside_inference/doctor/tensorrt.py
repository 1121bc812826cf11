"""TensorRT engines that are built here: can one be built at all, and is there room for them?"""

import shutil
from pathlib import Path

from lineside.checks import Check, fail, ok, skip, warn
from lineside.plans.cache import PlanFolder
from lineside.plans.documents import BuilderState, Damaged
from lineside_inference.settings import TensorRtSettings
from lineside_inference.settings.tensorrt import MIB

TENSORRT = "TensorRT engines"
_HOW = "see docs/how-to/build-engines-on-the-device.md"


def look(own: TensorRtSettings) -> Check:
    """Read what the builder says, and how full the folder is."""
    folder = own.folder
    if folder is None:
        return skip(TENSORRT, "none are built: inference.tensorrt.folder is not set")
    try:
        plans = PlanFolder(folder)
        state, sizes, free = plans.builder(), plans.sizes(), shutil.disk_usage(folder).free
    except FileNotFoundError:
        return fail(TENSORRT, f"{folder} is not there", f"give Triton, its builder and this service one folder; {_HOW}")
    except OSError as error:
        return fail(TENSORRT, f"{folder} cannot be read: {error.strerror}", _HOW)
    except Damaged as error:
        return fail(TENSORRT, str(error), "end Triton's container, delete builder.json there, and start it again")
    return judge(own, folder, state, sizes, free)


def judge(own: TensorRtSettings, folder: Path, state: BuilderState | None, sizes: dict[str, int], free: int) -> Check:
    """Judge what was read; `free` are the bytes of the folder's disk."""
    used, limit = sum(sizes.values()), own.limit_mb * MIB
    there = f"{len(sizes)} in {folder}, {used / MIB:.0f} of {own.limit_mb} MiB"
    if state is None:
        return fail(
            TENSORRT,
            f"no builder lives in {folder}: ONNX serves",
            f"the image triton-l4t starts it where it has the folder; see its log. {_HOW}",
        )
    if state.device is None:
        return fail(TENSORRT, f"none can be built, and ONNX serves: {state.unable}", _HOW)
    what = f"{there}; for {state.device.describe()}"
    if free < limit - used:
        return warn(TENSORRT, f"{what}; its disk has {free / MIB:.0f} MiB free", "free the disk, or lower limit_mb")
    if state.failed:
        failed = f"{len(state.failed)} could not be built, the last reason: {state.last.reason if state.last else ''}"
        return warn(TENSORRT, f"{what}; {failed}", "the log of Triton's container has what trtexec said")
    return ok(TENSORRT, what)
