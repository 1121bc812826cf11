"""Parts judged through a simulated PLC that runs already, by `lineside bench --attach`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from lineside_bench.processes.process import clean_environment
from lineside_bench.reporting.report import has_faults
from tests.support.waiting import HANG_S

LINESIDE = Path(sys.executable).with_name("lineside")


def attached(control: str, parts: int, *, rate: float, summary: Path) -> tuple[int, str, dict[str, Any]]:
    """Judge parts at the control's address; return the command's exit status, what it printed, and the summary.

    The status is 0 where the run's one fault is that verdicts came late: how late says how busy the machine is.
    """
    done = subprocess.run(
        [LINESIDE, "bench", "--attach", control, "--parts", str(parts), "--rate", str(rate), "--json", str(summary)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    document = json.loads(summary.read_text()) if summary.is_file() else {}
    status = done.returncode
    if status == 1 and document and not has_faults({**document, "late": 0}):
        status = 0
    return status, done.stdout + done.stderr, document
