"""Is every locked wheel of the images there for arm64, too? `python docker/check_wheels.py [LOCK...]`, else all locks.

uv resolves each lock as a Python 3.13 on that machine would, from wheels alone, and downloads none: the lock has
the hash of every file of a release, so a wheel that exists is one that it allows. Exit status 1 where one is missing.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = (
    "inference",
    "topic-bridge",
    "opcua-bridge",
    "forwarder",
    "exporter",
    "deployer",
    "bench",
    "build",
    "triton",
    "s3-sim",
    "tools",
)
PLATFORM = "aarch64-manylinux_2_36"
"""Debian trixie, the images' base, has a newer glibc."""


def missing(lock: str, platform: str = PLATFORM) -> list[str]:
    """Return what has no wheel, of one lock; nothing where all is there."""
    command = [str(Path(sys.prefix, "bin", "uv")), "pip", "install", "--dry-run", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--python-version", "3.13", "--python-platform", platform]
    command += ["-r", str(ROOT / "requirements" / f"{lock}.txt"), "--target"]
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run([*command, empty], capture_output=True, text=True, check=False)  # noqa: S603 - our own uv
    if done.returncode == 0:
        return []
    return re.findall(r"Because (\S+==\S+) has no", done.stderr) or [done.stderr.strip()]


def main() -> int:
    """Check the locks that are named, or all."""
    found = {lock: missing(lock) for lock in sys.argv[1:] or LOCKS}
    for lock, gaps in found.items():
        sys.stdout.write(f"{lock}: {'missing ' + ', '.join(gaps) if gaps else 'complete'}\n")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
