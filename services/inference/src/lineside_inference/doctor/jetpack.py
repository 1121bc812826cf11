"""JetPack: which one a Jetson has, and which Triton NVIDIA makes for it.

Sources: NVIDIA's release notes of Triton (containers with the suffix -igpu are for JetPack 6 and later) and its issues
7023, 7199 and 8412. None of it has been run by this project.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from lineside.checks import Check, ok, skip, warn
from lineside_inference.models.hardware import Facts, read

JETPACK = "jetpack"

_REFERENCE = "see the table in docs/reference/images.md"
_TRITON = {
    "4": ("no image of NVIDIA's: Triton is a release archive, 2.19.0 the last", False),
    "5": ("no image of NVIDIA's: Triton is a release archive, 2.35.0 the last", False),
    "6": ("Triton's images with the suffix -igpu", True),
    "7": ("not the images with the suffix -igpu but Triton's plain images for arm64", False),
}
"""By JetPack's first number: what NVIDIA makes for it, and whether compose.jetson.yaml runs that as it is."""

_RELEASE = "etc/nv_tegra_release"
_MODEL = "proc/device-tree/model"
_PACKAGES = "var/lib/dpkg/status"
_BEFORE_ORIN = ("nano", "tx1", "tx2", "xavier")


@dataclass(frozen=True)
class Found:
    """What a Jetson says of itself; empty where it does not."""

    release: str
    module: str
    packages: str


def look(root: Path = Path("/")) -> Check:
    """Read the files of NVIDIA's system and judge them."""
    found = Found(*(_text(root / name) for name in (_RELEASE, _MODEL, _PACKAGES)))
    return judge(found)


def judge(found: Found) -> Check:
    """Judge JetPack and module against what Triton there is."""
    module = found.module.strip("\0 \n")
    if not found.release and "jetson" not in module.lower():
        return skip(JETPACK, "not a Jetson")
    hardware = read(Facts(nv_tegra_release=found.release, device_tree_model=module, dpkg_status=found.packages))
    package = re.search(r"^Package: nvidia-jetpack$.*?^Version: (\S+)", found.packages, re.MULTILINE | re.DOTALL)
    version = hardware.jetpack or (package[1] if package else None)
    named = module or "a Jetson"
    if version is None:
        first = " ".join(found.release.split())[:80] or "nothing"
        return warn(JETPACK, f"{named}; {_RELEASE} says {first}, which is no release known here", _REFERENCE)
    what = f"{named}, JetPack {version}"
    what += f" (package {package[1]})" if package else ""
    what += f", TensorRT {hardware.trt}" if hardware.trt else ""
    makes, runs = _TRITON.get(version.split(".", 1)[0], ("no Triton for it is known here", False))
    # An Orin Nano is an Orin: its name has both words.
    words = set(module.lower().split())
    if runs and words & set(_BEFORE_ORIN) and "orin" not in words:
        return warn(JETPACK, f"{what}: {makes}, which need an Orin or later", _REFERENCE)
    return ok(JETPACK, f"{what}: {makes}") if runs else warn(JETPACK, f"{what}: {makes}", _REFERENCE)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
