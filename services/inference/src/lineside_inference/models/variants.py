"""Which of a model's files fits this machine: variants name hardware, the most specific one that fits is chosen.

How a variant is written says `lineside.variants`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lineside.variants import ANY, VariantError, parse
from lineside_inference.models.card import CardFile

_SHOWN = ("gpu", "cc", "trt", "jetpack")


@dataclass(frozen=True)
class Hardware:
    """What runs the models; None where it is not there or not known."""

    gpu: str | None = None
    cc: str | None = None
    trt: str | None = None
    jetpack: str | None = None
    arch: str | None = None

    def describe(self) -> str:
        """Return what is known in a few words."""
        known = [f"{key}={getattr(self, key)}" for key in _SHOWN if getattr(self, key) is not None]
        return ";".join(known) or "no GPU found"


UNKNOWN = Hardware()


@dataclass(frozen=True)
class Choice:
    """The chosen variant's files, the one that is served first, and why these."""

    variant: str
    files: tuple[CardFile, ...]
    why: str


def fit(variant: str, hardware: Hardware) -> tuple[int, int] | None:
    """Return how specific a variant is where it fits, else None: the number of conditions, then of words and digits."""
    precision = 0
    conditions = parse(variant)
    for key, wanted in conditions.items():
        found = getattr(hardware, key)
        if found is None or not _holds(key, wanted, found):
            return None
        precision += len(_pieces(key, wanted))
    return len(conditions), precision


def choose(files: Iterable[CardFile], hardware: Hardware) -> Choice:
    """Return the files of the most specific variant that fits; of equals the first in the card.

    Raises VariantError where none fits.
    """
    by_variant: dict[str, list[CardFile]] = {}
    for file in files:
        by_variant.setdefault(file.variant, []).append(file)
    fits = {variant: fit(variant, hardware) for variant in by_variant}
    fitting = {variant: rank for variant, rank in fits.items() if rank is not None}
    if not fitting:
        raise VariantError(
            f"no file fits this machine ({hardware.describe()}); the card has {', '.join(by_variant)}: "
            "add an ONNX file of variant any, or an engine made here"
        )
    best = max(fitting, key=lambda variant: fitting[variant])
    others = [variant for variant in by_variant if variant != best]
    why = f"{best} fits {hardware.describe()}" if best != ANY else f"any, on {hardware.describe()}"
    if others:
        why += f"; passed over: {', '.join(_why_not(other, fits[other]) for other in others)}"
    return Choice(best, tuple(by_variant[best]), why)


def _why_not(variant: str, rank: tuple[int, int] | None) -> str:
    return f"{variant} ({'does not fit' if rank is None else 'less specific'})"


def _pieces(key: str, value: str) -> list[str]:
    return value.lower().split() if key == "gpu" else value.split(".")


def _holds(key: str, wanted: str, found: str) -> bool:
    asked, there = _pieces(key, wanted), _pieces(key, found)
    if key == "gpu":
        return set(asked) <= set(there)
    return there[: len(asked)] == asked if key != "cc" else asked == there
