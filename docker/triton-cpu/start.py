"""Become Triton, in the container: explicit model control, all three ports open.

Nothing is loaded at the start: the inference service says which version of which model. What it has refused, or has not
proven yet, does not come up by a restart of Triton.
"""

import os
import sys
from pathlib import Path

from lineside_bench.errors import BenchError
from lineside_bench.peers.triton import PREFIX, SHARED_MEMORY, assemble, launch

__all__ = ["BACKENDS", "VENV", "assemble"]

VENV = Path("/opt/triton")
BACKENDS = VENV / "backends"
MODELS = Path("/models")
CLIENT_MODELS = Path("/var/lib/lineside/client-models")
"""What clients of Edge Manager's agent load is put there by the inference service."""
WANTED = CLIENT_MODELS / ".wanted"
"""There where a component lets clients load models: then the server starts without any of its own."""
MAY_BE_EMPTY = "MODELS_MAY_BE_EMPTY"
"""`true` in the environment where a deployer brings the models: elsewhere an empty folder is a wrong mount."""


def main() -> None:
    """Replace this process by the server; exit status 2 where there is nothing to serve."""
    sys.stderr.write("This Triton is of 2024 and lacks later security fixes: for benches and tests, not for a plant.\n")
    may_be_empty = os.environ.get(MAY_BE_EMPTY, "false")
    if may_be_empty not in {"true", "false"}:
        sys.stderr.write(f"{MAY_BE_EMPTY} is {may_be_empty!r}: expected true or false\n")
        sys.exit(2)
    if may_be_empty == "false" and not any(MODELS.glob("*/config.pbtxt")) and not WANTED.exists():
        sys.stderr.write(f"{MODELS} has no model (<name>/config.pbtxt); mount the model repository there, read-only\n")
        sys.exit(2)
    for left in SHARED_MEMORY.glob(f"{PREFIX}*"):  # by a server that was killed: no other shares this memory
        left.unlink(missing_ok=True)
    try:
        start = launch(
            VENV,
            repository=MODELS,
            others=[CLIENT_MODELS] if CLIENT_MODELS.is_dir() else [],
            work=Path(),
            backends=BACKENDS,
            http_port=8000,
            grpc_port=8001,
            metrics_port=8002,
            host="0.0.0.0",  # noqa: S104 - which network that is, is the container's affair
            models=(),
        )
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    os.execve(start.argv[0], start.argv, start.env)  # noqa: S606 - the server takes this process's place, and its signals


if __name__ == "__main__":
    main()
