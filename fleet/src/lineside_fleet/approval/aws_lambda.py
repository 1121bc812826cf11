"""The handler for AWS Lambda: `lineside_fleet.approval.aws_lambda.handler`.

LINESIDE_APPROVALS names the approvals file in the function's package. `rollouts` has to be in S3, where the state is
kept too, for nothing of a function's disk stays. An event that approves nothing is answered and no failure; anything
else that is wrong is raised, so that Lambda tries again and its alarm tells.
"""

import os
from pathlib import Path, PurePosixPath
from typing import Any

from lineside_fleet.approval.event import KIND, SOURCE, approved
from lineside_fleet.approval.settings import read_approvals
from lineside_fleet.approval.starting import on_approval
from lineside_fleet.errors import Refused

VARIABLE = "LINESIDE_APPROVALS"


def handler(event: Any, context: Any) -> dict[str, str]:
    """Start the rollout of an approved model; return its name and file, or why there is none."""
    del context
    try:
        approved(event)
    except Refused as refused:
        if isinstance(event, dict) and (event.get("source"), event.get("detail-type")) == (SOURCE, KIND):
            return {"rollout": "", "file": "", "why": str(refused)}
        raise
    where = on_approval(event, read_approvals(Path(os.environ[VARIABLE])), say=print)
    return {"rollout": PurePosixPath(where).stem, "file": where, "why": "approved"}
