"""A PLC's secured OPC UA server as a process: `secure_server.py`, forked from one that has imported asyncua."""

import json
import os
from collections.abc import Mapping
from typing import Any

from lineside_bench.processes.process import clean_environment
from tests.support import warm_start


def start_secure_server(options: Mapping[str, Any]) -> warm_start.Started:
    """Return a server with these options once it serves; blocks for so long."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as said:
        with os.fdopen(writing, "wb") as out:
            process = warm_start.start(
                "tests.support.secure_server", json.dumps(options), env=clean_environment(), stdout=out
            )
        assert said.readline() == "ready\n"
    return process
