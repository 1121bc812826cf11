"""Models as signed packages: packed by whoever trained them, verified by the machine that runs them.

    packed = pack(Path("models/detector"), Path("out"))
    sign(packed.archive, key=Path("plant.key"))
    verified, manifest = install(packed.archive, None, Path("/etc/lineside/roots"), Path("/models/detector"))

A package is an archive with a manifest, and a signature in a file beside it. Signing and verifying need
`lineside[packages]`, and bring it in when they are first named; all else needs nothing of it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from lineside.packages.errors import PackageRefused
from lineside.packages.manifest import Manifest, PackagedFile, Variant, parse_manifest
from lineside.packages.packing import Packed, pack
from lineside.packages.reading import Limits
from lineside.packages.unpacking import read_manifest, unpack

if TYPE_CHECKING:
    from lineside.packages.signing import make_key, sign
    from lineside.packages.verifying import Verified, install, verify

__all__ = [
    "Limits",
    "Manifest",
    "PackageRefused",
    "PackagedFile",
    "Packed",
    "Variant",
    "Verified",
    "install",
    "make_key",
    "pack",
    "parse_manifest",
    "read_manifest",
    "sign",
    "unpack",
    "verify",
]

_BY_LIBRARY = {
    "make_key": "signing",
    "sign": "signing",
    "Verified": "verifying",
    "install": "verifying",
    "verify": "verifying",
}


def __getattr__(name: str) -> Any:
    if name not in _BY_LIBRARY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"lineside.packages.{_BY_LIBRARY[name]}")
    except ModuleNotFoundError as error:
        raise PackageRefused(
            "verifier-missing",
            f"packages can be neither signed nor verified here: {error}",
            remedy="Install lineside[packages]",
        ) from None
    return getattr(module, name)
