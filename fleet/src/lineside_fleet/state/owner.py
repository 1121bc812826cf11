"""Who holds a lock, and whether it may be taken from him. Pure but for the question whether a process lives."""

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

LEASE_S = 900.0
"""How long a lock of another machine's counts where nobody renews it."""
RENEW_S = 60.0
"""How often one is renewed while its command works: fifteen tries may fail before it counts no more."""


class Owner(BaseModel):
    """A process on a machine; `begun` is its start in the kernel's ticks, for numbers of processes come again."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    host: str
    pid: int
    begun: str
    command: str
    since: float
    renewed: float = 0.0
    """When it last said that it works, in seconds since 1970; 0 where it never did after `since`."""

    def is_silent(self, now: float) -> bool:
        """Return whether it has renewed nothing for a lease, whatever became of it."""
        return now - max(self.since, self.renewed) >= LEASE_S

    def is_dead(self) -> bool:
        """Return whether it is of this machine and has ended."""
        return self.host == host() and begun(self.pid) != self.begun

    def says(self) -> str:
        """Return who it is, for people."""
        since = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        return f"`{self.command}`, process {self.pid} on {self.host}, since {since}"


def host() -> str:
    """Return this machine's name and boot, so that a process of before a restart counts as ended."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
    except OSError:
        boot = "-"
    return f"{socket.gethostname()}/{boot}"


def begun(pid: int) -> str:
    """Return when a process started, in ticks since the boot; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def myself(command: str, now: float) -> Owner:
    """Return this process as an owner."""
    return Owner(host=host(), pid=os.getpid(), begun=begun(os.getpid()), command=command, since=now)
