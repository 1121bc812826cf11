"""What TensorRT builds for: everything of a machine that makes a plan valid there and nowhere else.

The GPU is asked by CUDA's driver library, not by nvidia-smi, which calls every Orin "Orin (nvgpu)" and knows neither
its compute capability nor its multiprocessors, by which an AGX Orin and an Orin NX differ.
"""

import ctypes
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CUDA_LIBRARY = "libcuda.so.1"
TRTEXEC_PLACES = (Path("/usr/src/tensorrt/bin/trtexec"), Path("/opt/tensorrt/bin/trtexec"), Path("/usr/bin/trtexec"))
_BANNER = re.compile(r"\[TensorRT v([0-9]{4,7})\]")
_ANSWER_S = 60.0
"""trtexec loads TensorRT before it prints its help: seconds, on a slow disk."""
_MOST = 4 * 1024 * 1024
_SMS, _CC_MAJOR, _CC_MINOR = 16, 75, 76
"""CUdevice_attribute: multiprocessor count, compute capability; CUDA driver API."""


class NoDevice(Exception):
    """No plan can be built here; the text says why."""


@dataclass(frozen=True)
class Device:
    """The machine, as a plan's key has it; empty where something is not known."""

    tensorrt: str
    """For instance 10.3.0."""
    cuda: str
    """Version of CUDA's toolkit in the container, else the newest that the driver takes; for instance 12.6."""
    gpu: str
    """For instance Orin."""
    cc: str
    """Compute capability, for instance 8.7."""
    sms: int
    """Multiprocessors."""
    l4t: str = ""
    """Release of NVIDIA's Jetson Linux, which JetPack is named by; for instance 36.4.3."""
    module: str = ""
    """A Jetson's module, where the container sees it."""

    def describe(self) -> str:
        """Return it in a few words."""
        l4t = f", L4T {self.l4t}" if self.l4t else ""
        return (
            f"{self.module or self.gpu} (cc {self.cc}, {self.sms} SMs), TensorRT {self.tensorrt}, CUDA {self.cuda}{l4t}"
        )

    def as_document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)

    @classmethod
    def of_document(cls, found: Any) -> "Device":
        """Read it; raises ValueError."""
        if not isinstance(found, dict) or set(found) != set(cls.__dataclass_fields__):
            raise ValueError(f"expected a device with {', '.join(cls.__dataclass_fields__)}")
        if type(found["sms"]) is not int or any(type(found[name]) is not str for name in found if name != "sms"):
            raise ValueError("a device's values are text, and sms a whole number")
        return cls(**found)


def find_trtexec(named: str = "") -> Path:
    """Return trtexec, the one that is named or the first of its usual places; raises NoDevice."""
    places = (Path(named),) if named else TRTEXEC_PLACES
    for place in places:
        if os.access(place, os.X_OK) and place.is_file():
            return place
    raise NoDevice(f"there is no trtexec: looked for {', '.join(map(str, places))}; name it in LINESIDE_TRTEXEC")


def look(trtexec: Path, *, library: str = CUDA_LIBRARY, root: Path = Path("/")) -> Device:
    """Ask the GPU, trtexec and the files of the container; takes seconds. Raises NoDevice."""
    gpu, cc, sms, driver = _ask_cuda(library)
    return Device(
        tensorrt=_ask_trtexec(trtexec),
        cuda=cuda_version(_text(root / "usr/local/cuda/version.json"), os.environ) or driver,
        gpu=gpu,
        cc=cc,
        sms=sms,
        l4t=l4t_release(_text(root / "etc/nv_tegra_release")),
        module=os.environ.get("LINESIDE_MODULE", "") or _text(root / "proc/device-tree/model").strip("\0 \n"),
    )


def tensorrt_version(banner: str) -> str | None:
    """Return the version that trtexec's first line says, `[TensorRT v100300]` or `[TensorRT v8503]`; None: none."""
    found = _BANNER.search(banner)
    if found is None:
        return None
    # Before 10: major * 1000 + minor * 100 + patch; since then major * 10000 + minor * 100 + patch.
    number = int(found[1])
    major, rest = divmod(number, 10_000 if number >= 100_000 else 1_000)  # noqa: PLR2004 - the two forms
    return f"{major}.{rest // 100}.{rest % 100}"


def cuda_version(version_json: str, environment: Mapping[str, str]) -> str:
    """Return the toolkit's version by its file, else by NVIDIA's images' variable; empty: neither says it."""
    try:
        return str(json.loads(version_json)["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        return environment.get("CUDA_VERSION", "")


def l4t_release(text: str) -> str:
    """Return the release of /etc/nv_tegra_release, for instance 36.4.3; empty: not a Jetson's."""
    found = re.search(r"R([0-9]+) \(release\), REVISION: ([0-9]+(?:\.[0-9]+)*)", text)
    return f"{found[1]}.{found[2]}" if found else ""


def _ask_trtexec(trtexec: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the program that the installation names
            [str(trtexec), "--help"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_ANSWER_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoDevice(f"{trtexec} does not run: {error}") from None
    version = tensorrt_version(done.stdout)
    if version is None:
        first = " ".join(done.stdout.split())[:200] or "nothing"
        raise NoDevice(f"{trtexec} does not say which TensorRT it is; it says: {first}")
    return version


def _ask_cuda(library: str) -> tuple[str, str, int, str]:
    """Return name, compute capability and multiprocessors of GPU 0, and the driver's CUDA version."""
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        raise NoDevice(f"there is no {library}: this container has no GPU (runtime nvidia)") from None

    def call(name: str, *arguments: Any) -> None:
        code = getattr(cuda, name)(*arguments)
        if code != 0:
            raise NoDevice(f"the GPU cannot be asked: {name} of {library} gives {code}")

    def attribute(which: int) -> int:
        call("cuDeviceGetAttribute", ctypes.byref(value), which, gpu)
        return value.value

    value, gpu, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    call("cuInit", 0)
    call("cuDriverGetVersion", ctypes.byref(value))
    driver = f"{value.value // 1000}.{value.value % 1000 // 10}"
    call("cuDeviceGet", ctypes.byref(gpu), 0)
    call("cuDeviceGetName", name, len(name), gpu)
    cc = f"{attribute(_CC_MAJOR)}.{attribute(_CC_MINOR)}"
    return name.value.decode("utf-8", "replace"), cc, attribute(_SMS), driver


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_MOST).decode("utf-8", "replace")
    except OSError:
        return ""
