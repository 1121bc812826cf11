"""Small disks of a test's own, in a mount namespace that nobody else sees."""

import shutil
import subprocess

import pytest

from tests.support.waiting import HANG_S

UNSHARE = ("unshare", "--mount", "--propagation", "private")
"""Begins a command that may mount."""


def _may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, capture_output=True, timeout=HANG_S, check=False).returncode == 0


needs_mount = pytest.mark.skipif(not _may_mount(), reason="mounting a small disk needs root and CAP_SYS_ADMIN")
