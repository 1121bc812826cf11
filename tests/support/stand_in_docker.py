"""A `docker` that holds containers, networks and volumes as files and runs nothing, with a diary of how it was called.

    stand_in_docker.py ARGUMENTS

`$STAND_IN/says/<words>` is what it prints for a call that begins with these words (joined by `-`), and
`$STAND_IN/status/<words>` its exit status; `$STAND_IN/diary` has every call, a JSON list a line.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(os.environ["STAND_IN"])
CONTAINERS, THINGS = FOLDER / "containers", FOLDER / "things"


def told(arguments: Sequence[str]) -> int | None:
    """Say what a test told to say; None where it told nothing of such a call."""
    for count in (3, 2, 1):
        words = "-".join(arguments[:count])
        says, status = FOLDER / "says" / words, FOLDER / "status" / words
        if says.exists() or status.exists():
            code = int(status.read_text()) if status.exists() else 0
            (sys.stderr if code else sys.stdout).write(says.read_text() if says.exists() else "")
            return code
    return None


def on_container(verb: str, arguments: Sequence[str]) -> int:
    """Inspect, remove, start or stop the container that is named last."""
    container = CONTAINERS / arguments[-1]
    if verb == "rm":
        container.unlink(missing_ok=True)
    elif not container.exists():
        sys.stderr.write(f"Error response from daemon: No such container: {arguments[-1]}\n")
        return 1
    elif verb == "inspect":
        sys.stdout.write("healthy\n" if "Health" in " ".join(arguments) else container.read_text())
    elif verb == "stop":
        container.unlink()
    else:  # start: until it is stopped, where a test wants it to run
        while (FOLDER / "runs").exists() and container.exists():
            time.sleep(0.01)
        container.unlink(missing_ok=True)
        return int((FOLDER / "ends").read_text()) if (FOLDER / "ends").exists() else 0
    return 0


def main(arguments: Sequence[str]) -> int:
    with (FOLDER / "diary").open("a", encoding="utf-8") as diary:
        diary.write(json.dumps(arguments) + "\n")
    if "--interactive" in arguments:
        sys.stdin.buffer.read()
    if (status := told(arguments)) is not None:
        return status
    match arguments:
        case ["create", *rest]:
            name = rest[rest.index("--name") + 1]
            (CONTAINERS / name).write_text(rest[rest.index("--label") + 1].partition("=")[2])
        case ["container", verb, *rest]:
            return on_container(verb, rest)
        case [("inspect" | "rm" | "start" | "stop") as verb, *rest]:
            return on_container(verb, rest)
        case [("network" | "volume") as kind, "inspect", *_options, name]:
            return 0 if (THINGS / f"{kind}-{name}").exists() else 1
        case [("network" | "volume") as kind, "create", *_options, name]:
            (THINGS / f"{kind}-{name}").touch()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
