"""How a model's file names the hardware that it is for: `any`, or conditions joined by `;`, all of which must hold.

gpu=Orin NX     every word stands in the GPU's or the module's name, in any case and order
cc=8.7          the GPU's compute capability
trt=10.3        TensorRT's version begins so: 10.3 fits 10.3.0, not 10.30
jetpack=6       JetPack's version begins so
arch=aarch64    the processor's architecture: aarch64 or amd64
"""

ANY = "any"
ARCHITECTURES = ("aarch64", "amd64")
KEYS = ("gpu", "cc", "trt", "jetpack", "arch")


class VariantError(ValueError):
    """A variant is not written as one, or none fits."""


def parse(variant: str) -> dict[str, str]:
    """Return a variant's conditions, none for `any`; raises VariantError that names the wrong one."""
    if variant.strip() == ANY:
        return {}
    conditions: dict[str, str] = {}
    for part in variant.split(";"):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value or key not in KEYS or key in conditions:
            raise VariantError(
                f"variant {variant!r}: {part!r} is not a condition; "
                f"use any, or {', '.join(f'{known}=...' for known in KEYS)}, each once, joined by ;"
            )
        if key == "arch" and value not in ARCHITECTURES:
            raise VariantError(f"variant {variant!r}: arch is {' or '.join(ARCHITECTURES)}")
        conditions[key] = value
    return conditions


def architecture_of(machine: str) -> str | None:
    """Return the architecture that the kernel's name of it (`uname -m`) means; None for others."""
    return {"x86_64": "amd64", "amd64": "amd64", "aarch64": "aarch64", "arm64": "aarch64"}.get(machine.lower())
