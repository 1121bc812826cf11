"""What every service's command understands before the service itself is imported: `health`, `--help`, `--version`."""

import gc
import sys
from collections.abc import Callable, Sequence

from lineside import __version__, health

USAGE = """\
usage: lineside-{name} [settings.yaml]     run until SIGTERM; LINESIDE_CONFIG names the settings file otherwise
       lineside-{name} health [--live]     exit 0 if the running service is ready (alive), else 1 and the reason
       lineside-{name} --version
"""


def run(section: str, serve: Callable[[], None]) -> None:
    """Answer one of the words and exit, or serve; `serve` is called, and may import, only where it is needed.

    `serve` begins without garbage collection, which looks through what is imported again and again, up to a tenth of
    the start; `lineside.service` turns it on when it serves.
    """
    status = answer(section, sys.argv[1:])
    if status is None:
        gc.disable()
        serve()
    else:
        sys.exit(status)


def answer(section: str, arguments: Sequence[str]) -> int | None:
    """Answer one of the words and return the exit status, or None where the service shall run."""
    name = section.replace("_", "-")
    match list(arguments):
        case ["health", *rest]:
            return health.main(rest, section=section)
        case ["--version"]:
            sys.stdout.write(f"lineside-{name} {__version__}\n")
            return 0
        case ["--help" | "-h"]:
            sys.stdout.write(USAGE.format(name=name))
            return 0
        case [] | [_] if not (arguments and arguments[0].startswith("-")):
            return None
    sys.stderr.write(f"lineside-{name}: did not understand {' '.join(arguments)!r}\n{USAGE.format(name=name)}")
    return 2
