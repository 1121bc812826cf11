"""What runs the models: read from what NVIDIA's tools and files say, or set by hand where this service cannot see it.

A service in a container of its own sees no GPU and another TensorRT than Triton's: name them in the settings then
(`inference.hardware`); what is named there wins over what was found.
"""

import platform
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from lineside.variants import architecture_of
from lineside_inference.models.variants import Hardware
from lineside_inference.settings import HardwareSettings

log = structlog.get_logger("lineside.inference.hardware")

_QUERY = ("--query-gpu=name,compute_cap", "--format=csv,noheader")
_PROBE_S = 5.0
_TEGRA_RELEASE = Path("/etc/nv_tegra_release")
_DEVICE_TREE = Path("/proc/device-tree/model")
_DPKG_STATUS = Path("/var/lib/dpkg/status")
_MAX_BYTES = 16 * 1024 * 1024

# L4T release to JetPack, from NVIDIA's JetPack archive page.
_JETPACK = {
    "35.1": "5.0.2",
    "35.2": "5.1",
    "35.3": "5.1.1",
    "35.4": "5.1.2",
    "35.5": "5.1.3",
    "35.6": "5.1.4",
    "36.3": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
}
_JETPACK_MAJOR = {"32": "4", "34": "5", "35": "5", "36": "6", "38": "7"}
_JETSON_CC = {"orin": "8.7", "xavier": "7.2", "tx2": "6.2", "nano": "5.3"}
_NOT_KNOWN = {"", "[n/a]", "n/a", "[not supported]"}


@dataclass(frozen=True)
class Facts:
    """The raw texts: nvidia-smi's answer, /etc/nv_tegra_release, the device tree's model, dpkg's status; empty: absent.

    `nvidia_smi` is the answer to `--query-gpu=name,compute_cap --format=csv,noheader`.
    """

    nvidia_smi: str = ""
    nv_tegra_release: str = ""
    device_tree_model: str = ""
    dpkg_status: str = ""


def read(facts: Facts) -> Hardware:
    """Return what the texts say. Of several GPUs the first counts, as Triton's device 0."""
    name, cc = _gpu(facts.nvidia_smi)
    module = facts.device_tree_model.strip("\0 \n")
    if "jetson" in module.lower():
        # nvidia-smi calls every Orin "Orin (nvgpu)"; the module's name tells an Orin NX from an AGX Orin.
        name = module
        words = module.lower().split()
        cc = cc or next((value for word, value in _JETSON_CC.items() if word in words), None)
    return Hardware(gpu=name, cc=cc, trt=_tensorrt(facts.dpkg_status), jetpack=_jetpack(facts.nv_tegra_release))


def probe(settings: HardwareSettings) -> Hardware:
    """Return what this machine says, overridden by the settings; takes at most five seconds."""
    found = read(
        Facts(
            nvidia_smi=ask_nvidia_smi(*_QUERY),
            nv_tegra_release=_text(_TEGRA_RELEASE),
            device_tree_model=_text(_DEVICE_TREE),
            dpkg_status=_text(_DPKG_STATUS),
        )
    )
    named = {key: value for key, value in settings.model_dump().items() if value is not None}
    hardware = replace(found, arch=architecture_of(platform.machine()), **named)
    log.info("hardware", found=found.describe(), used=hardware.describe())
    return hardware


def _gpu(answer: str) -> tuple[str | None, str | None]:
    line = next((line for line in answer.splitlines() if "," in line), "")
    name, _comma, cc = (part.strip() for part in line.rpartition(","))
    return (
        None if name.lower() in _NOT_KNOWN else name,
        cc if re.fullmatch(r"[0-9]+\.[0-9]+", cc) else None,
    )


def _jetpack(release: str) -> str | None:
    found = re.search(r"R([0-9]+) \(release\), REVISION: ([0-9]+(?:\.[0-9]+)*)", release)
    if not found:
        return None
    l4t = f"{found[1]}.{found[2]}"
    minor = ".".join(l4t.split(".")[:2])
    return _JETPACK.get(l4t) or _JETPACK.get(minor) or _JETPACK_MAJOR.get(found[1])


def _tensorrt(status: str) -> str | None:
    for paragraph in status.split("\n\n"):
        if re.search(r"^Package: libnvinfer[0-9]*$", paragraph, re.MULTILINE) and re.search(
            r"^Status: .*\binstalled$", paragraph, re.MULTILINE
        ):
            version = re.search(r"^Version: ([0-9]+\.[0-9]+\.[0-9]+)", paragraph, re.MULTILINE)
            if version:
                return version[1]
    return None


def ask_nvidia_smi(*query: str) -> str:
    """Return its answer, nothing where there is none: in a container of its own this service sees no GPU.

    It blocks for five seconds at most.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    try:
        done = subprocess.run([tool, *query], capture_output=True, text=True, timeout=_PROBE_S, check=False)  # noqa: S603 - our own words
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("nvidia-smi does not answer", asked=query[0], reason=str(error))
        return ""
    return done.stdout if done.returncode == 0 else ""


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
