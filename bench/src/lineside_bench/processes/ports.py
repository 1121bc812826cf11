"""The line's ports: the default ones where they are free, others otherwise; no port is used twice unnoticed.

Two benches that start at the same instant would both find a port free. Each port is therefore also reserved, for as
long as the bench lives, by an abstract Unix socket of its name, which the kernel gives to one process only and takes
back when that process ends, however it ends.
"""

import contextlib
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType, TracebackType
from typing import Self

from lineside_bench.errors import BenchError

HOST = "127.0.0.1"

DEFAULTS: Mapping[str, int] = MappingProxyType(
    {
        "inference": 8080,
        "topic_bridge": 8081,
        "opcua_bridge": 8082,
        "forwarder": 8083,
        "exporter": 9109,
        "triton_http": 8000,
        "triton_grpc": 8001,
        "triton_metrics": 8002,
        "mqtt": 1883,
        "opcua": 4840,
        "camera": 8090,
    }
)
"""The default port of every peer."""

STEP = 10
TRIES = 200


class PortMode(StrEnum):
    """What to do about a port that is in use."""

    auto = "auto"
    default = "default"


@dataclass(frozen=True)
class Ports:
    """The chosen ports, by name; hold it for as long as they are used."""

    chosen: Mapping[str, int]
    moved: Mapping[str, int]
    """The default port of each peer that has another one."""
    _held: tuple[socket.socket, ...]

    def __getitem__(self, name: str) -> int:
        return self.chosen[name]

    def close(self) -> None:
        """Give the reservations back."""
        for holder in self._held:
            holder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def reserve(mode: PortMode, *, defaults: Mapping[str, int] = DEFAULTS, host: str = HOST) -> Ports:
    """Choose and reserve a port for every name.

    `auto` takes the default where it is free and the next free one in steps of ten otherwise; `default` takes no other.
    Raises BenchError, naming every port in use, where no allowed port is free.
    """
    chosen: dict[str, int] = {}
    clashes: list[str] = []
    with contextlib.ExitStack() as undo:
        held: list[socket.socket] = []
        for name, default in defaults.items():
            taken = {*defaults.values(), *chosen.values()} - {default}
            for port in _candidates(default, mode, taken):
                holder = _take(host, port)
                if holder is not None:
                    undo.callback(holder.close)
                    held.append(holder)
                    chosen[name] = port
                    break
            else:
                clashes.append(f"{default} ({name.replace('_', '-')})")
        if clashes:
            ports = "ports" if len(clashes) > 1 else "port"
            raise BenchError(
                f"{ports} {', '.join(clashes)} on {host} in use",
                remedy="Free it (`ss -ltnp` shows who listens), or let the bench choose others with --ports auto",
            )
        undo.pop_all()
    moved = {name: defaults[name] for name, port in chosen.items() if port != defaults[name]}
    return Ports(MappingProxyType(chosen), MappingProxyType(moved), tuple(held))


def _candidates(default: int, mode: PortMode, taken: set[int]) -> Iterator[int]:
    yield default
    if mode is PortMode.auto:
        for port in range(default + STEP, min(default + STEP * TRIES, 65_536), STEP):
            if port not in taken:
                yield port


def _take(host: str, port: int) -> socket.socket | None:
    """Return what holds the reservation, or None where the port is in use or another bench has reserved it."""
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        holder.bind(f"\0lineside-bench/{host}/{port}")
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            # Two sockets with SO_REUSEADDR may share an address until one listens.
            probe.listen(1)
    except OSError:
        holder.close()
        return None
    return holder
