"""The handler for AWS Lambda: `lineside_fleet.approval.aws_lambda.handler`.

LINESIDE_APPROVALS names the approvals file in the function's package. The state has to be in S3 (`state:
s3://bucket/rollouts/{rollout}.json` in the template), `rollouts` below /tmp. An event that approves nothing is answered
and no failure; anything else that is wrong is raised, so that Lambda tries again and its alarm tells.
"""

import os
from pathlib import Path
from typing import Any

from lineside_fleet.approval.event import KIND, SOURCE, approved
from lineside_fleet.approval.settings import read_approvals
from lineside_fleet.approval.starting import on_approval
from lineside_fleet.errors import Refused

VARIABLE = "LINESIDE_APPROVALS"


def handler(event: Any, context: Any) -> dict[str, str]:
    """Start the rollout of an approved model; return its name, or why there is none."""
    del context
    try:
        approved(event)
    except Refused as refused:
        if isinstance(event, dict) and (event.get("source"), event.get("detail-type")) == (SOURCE, KIND):
            return {"rollout": "", "why": str(refused)}
        raise
    file = on_approval(event, read_approvals(Path(os.environ[VARIABLE])), say=print)
    return {"rollout": file.stem, "why": "approved"}
