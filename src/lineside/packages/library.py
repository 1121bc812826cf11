"""OpenSSF's library model-signing, brought in when a signature is made or verified, and without its network half.

It imports sigstore for keyless signatures, which ask the internet and are not ours: 1.0 s of processor time and 30 MB
more (1.5 s and 75 MB in all) in a process that lives for one package. An empty module takes that place here, so a
process that called `load` cannot make keyless signatures.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

from lineside.packages.errors import PackageRefused

_KEYLESS = "model_signing._signing.sign_sigstore"


class _Keyless:
    """What is not there."""

    def __init__(self, **_options: object) -> None:
        raise NotImplementedError("signatures by sigstore's servers are not used here")


def load(part: str) -> Any:
    """Return one of the library's modules: signing, verifying, hashing, manifest. Raises PackageRefused."""
    if "model_signing" not in sys.modules:
        keyless = ModuleType(_KEYLESS)
        for name in ("Signer", "Verifier", "Signature"):
            setattr(keyless, name, _Keyless)
        sys.modules[_KEYLESS] = keyless
    try:
        return importlib.import_module(f"model_signing.{part}")
    except ImportError as error:
        raise PackageRefused(
            "verifier-missing",
            f"signatures can be neither made nor verified here: {error}",
            remedy="Install lineside[packages]",
        ) from None
