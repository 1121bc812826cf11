"""Become another program that the kernel kills when the bench ends, however the bench ends.

Run as `python die_with_parent.py PARENT_PID PROGRAM [ARGUMENT ...]`. It is a program of its own and no `preexec_fn`:
between fork and exec of a process with threads hardly anything is safe to do.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for SIGKILL at the parent's death (it survives the exec), then become the program."""
    parent, program, *arguments = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(parent):
        sys.exit("the bench ended before its process began")
    try:
        os.execve(program, [program, *arguments], os.environ)  # noqa: S606 - the point of this program
    except OSError as error:
        sys.exit(f"{program}: cannot be started: {error.strerror}")


if __name__ == "__main__":
    main()
