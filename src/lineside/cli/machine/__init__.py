"""What the doctor asks of the machine: system, memory, clock, ports, the spool's disk, certificates, Docker.

Each module reads texts of the system below `root`, which is `/` but in tests, and judges them in pure functions.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path

from lineside.checks import Check, bounded
from lineside.cli.config import installed
from lineside.cli.machine import certificates, clock, disk, docker, host, ports, secret_files
from lineside.settings import load
from lineside.threads import run_abandonable

READ_S = 4.0
"""The longest look at files of the system: a share whose server is gone hangs for ever."""


async def checks(file: Path | None, before: Mapping[str, Check], *, root: Path = Path("/")) -> AsyncIterator[Check]:
    """Yield the checks; `before` is not looked at."""
    del before
    settings = [load(kind, file=file) for kind in installed()]
    looks: dict[str, Callable[[], Check]] = {
        host.MACHINE: partial(host.machine, root),
        host.MEMORY: partial(host.memory, root),
        clock.CLOCK: clock.look,
        ports.PORTS: partial(ports.look, settings, root),
        disk.DISK: partial(disk.look, settings, root),
        certificates.CERTIFICATES: partial(certificates.look, settings),
        secret_files.SECRETS: partial(secret_files.look, settings),
    }
    engine = asyncio.create_task(docker.checks(root), name="doctor docker")
    asked = (bounded(name, partial(run_abandonable, look), within_s=READ_S) for name, look in looks.items())
    try:
        for check in await asyncio.gather(*asked):
            yield check
        for check in await engine:
            yield check
    finally:
        engine.cancel()
