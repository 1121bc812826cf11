"""The parameters of a request in Triton's protocol: scalars by name, and where in shared memory a tensor lies."""

from collections.abc import Mapping
from typing import Any

SEQUENCE = "sequence_id"
"""A whole number of 64 bits without sign, which the message has no type for that Triton takes: it goes as its bits."""
_WRAP = 2**64


def put(parameters: Any, given: Mapping[str, object]) -> None:
    """Put scalars into a message's parameters, each as its own type; anything else goes as its text."""
    for name, value in given.items():
        if isinstance(value, bool):
            parameters[name].bool_param = value
        elif isinstance(value, int):
            parameters[name].int64_param = value - _WRAP if name == SEQUENCE and value >= _WRAP // 2 else value
        elif isinstance(value, float):
            parameters[name].double_param = value
        else:
            parameters[name].string_param = str(value)


def in_region(parameters: Any, region: str, offset: int, size: int) -> None:
    """Say that a tensor lies in a registered region, `offset` and `size` in bytes."""
    put(
        parameters,
        {"shared_memory_region": region, "shared_memory_offset": offset, "shared_memory_byte_size": size},
    )


def plain(parameters: Any) -> dict[str, Any]:
    """Return a message's parameters as they were put."""
    given = {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in parameters.items()}
    if type(given.get(SEQUENCE)) is int:
        given[SEQUENCE] %= _WRAP
    return given
