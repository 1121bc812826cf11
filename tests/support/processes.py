"""Processes of this machine."""

from pathlib import Path


def is_running(pid: int) -> bool:
    """Return whether a process is there and has not ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
