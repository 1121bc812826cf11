"""`python -m lineside.greengrass.report_running`: tell the nucleus that a component runs whose program cannot say so.

Triton speaks no IPC. When its container is healthy, the script of its recipe starts this in a container of ours, with
the token of Triton's component. Exit status 0 when the nucleus has answered, else 1 and why on one line.
"""

import sys
from concurrent.futures import TimeoutError as NoAnswer

from lineside.errors import LinesideError
from lineside.greengrass.client import shared

ANSWER_S = 30.0
"""A nucleus that leaves the report unanswered for so long counts as gone."""


def main() -> int:
    """Report once."""
    try:
        client = shared("reporting RUNNING")
        client.connect()
        try:
            client.ask("UpdateState", state="RUNNING").result(ANSWER_S)
        finally:
            client.close()
    except LinesideError as error:
        sys.stderr.write(f"{error.what}; {error.remedy}\n")
        return 1
    except NoAnswer:
        sys.stderr.write(f"the nucleus did not answer within {ANSWER_S:g} s; see its log\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
