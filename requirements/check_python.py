"""What an environment needs from this machine, checked before anything is installed. Runs on any Python 3."""

import platform
import sys

OLDEST = (3, 11)


def problems():
    """Yield what is missing, each with its remedy."""
    if sys.version_info < OLDEST:
        found = "%d.%d" % sys.version_info[:2]
        yield "Python %s is too old; Lineside needs 3.11 or newer: make PYTHON=python3.11 (or any newer one)" % found
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        yield "%s on %s is not supported; use Linux on x86-64 or aarch64" % (sys.platform, platform.machine())
    elif platform.libc_ver()[0] != "glibc":
        yield "this Linux has no glibc, for which the packages are built; use Debian, Ubuntu, Fedora or a container"
    try:
        import ensurepip
        import venv
    except ImportError as error:
        package = "python%d.%d-venv" % sys.version_info[:2]
        yield "Python's module %s is missing; install it (Debian, Ubuntu: apt install %s)" % (error.name, package)
    else:
        del ensurepip, venv


if __name__ == "__main__":
    found = list(problems())
    for problem in found:
        sys.stderr.write("lineside: %s\n" % problem)
    sys.exit(1 if found else 0)
