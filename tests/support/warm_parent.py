"""A process that has imported a service and becomes it whenever it is asked: such a start imports nothing anew.

Run as `python -m tests.support.warm_parent MODULE SOCKET`; the socket is an inherited one that keeps messages whole.
Asked `{"arguments": [...], "environment": {...}, "folder": "..."}` with the three standard files, it forks and answers
the process's id; asked `{"ended": ID}`, it answers how that one ended. It ends when nobody can ask any more.

The imports start no thread of Python's, and OpenBLAS ends its own before a fork.
"""

import gc
import json
import os
import runpy
import signal
import socket
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

LONGEST = 1 << 20
_STANDARD = 3


def main() -> None:
    """Serve until the socket's other end is closed; in a forked process, be the service."""
    module, number = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which end what they started
    before = dict(os.environ)
    spec = find_spec(module)
    program = module if spec is None or spec.submodule_search_locations is None else f"{module}.__main__"
    import_module(program)
    del sys.modules[program]  # it is run, as by `python -m`
    own = {name: value for name, value in os.environ.items() if before.get(name) != value}
    gc.collect()
    gc.freeze()
    if (asked := _serve(socket.socket(fileno=number))) is not None:
        _prepare(module, asked, own)
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _serve(asking: socket.socket) -> dict[str, Any] | None:
    """Answer until nobody can ask any more, and return None; return what was asked in each forked process."""
    while True:
        message, files, _flags, _address = socket.recv_fds(asking, LONGEST, _STANDARD)
        if not message:
            return None
        asked: dict[str, Any] = json.loads(message)
        if "ended" in asked:
            _pid, status = os.waitpid(asked["ended"], 0)
            asking.send(b"%d" % os.waitstatus_to_exitcode(status))
            continue
        pid = os.fork()
        if not pid:
            asking.detach()
            for number, file in enumerate(files):
                os.dup2(file, number)
            os.closerange(_STANDARD, os.sysconf("SC_OPEN_MAX"))
            return asked
        for file in files:
            os.close(file)
        asking.send(b"%d" % pid)


def _prepare(module: str, asked: dict[str, Any], own: dict[str, str]) -> None:
    """Take over what a process is started with; `own`: the variables that the imports set, where nobody else does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(own | asked["environment"])
    sys.argv = [module, *asked["arguments"]]  # the first is replaced by runpy


if __name__ == "__main__":
    main()
