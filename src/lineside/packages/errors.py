"""Why a package, its signature or what it should be made of is refused: one error, with a word that never changes."""

from typing import Literal

from lineside.errors import LinesideError

Reason = Literal[
    "archive-missing",
    "archive-damaged",
    "archive-unsafe",
    "archive-too-large",
    "certificate-expired",
    "certificate-not-yet-valid",
    "certificate-unsuitable",
    "content-changed",
    "content-differs",
    "disk-full",
    "key-wrong",
    "manifest-missing",
    "manifest-wrong",
    "model-wrong",
    "not-written",
    "roots-empty",
    "roots-unsafe",
    "roots-wrong",
    "signature-malformed",
    "signature-missing",
    "signature-wrong",
    "signer-unknown",
    "verifier-missing",
]
"""`content-changed`: the archive is not what was signed; `content-differs`: it is not what its own manifest says."""


class PackageRefused(LinesideError):
    """A package is not taken; `reason` is the word for programs, the sentence is for people. Nothing was changed."""

    code = "package-refused"

    def __init__(self, reason: Reason, what: str, *, remedy: str = "") -> None:
        super().__init__(what, remedy=remedy)
        self.reason: Reason = reason
