"""The errors of the fleet's commands.

FleetError          what was wrong; `status` is the command's exit status
+-- Refused         nothing was changed: wrong input, or something that contradicts the plan
+-- AwsError        a call of AWS' API came to nothing; `transient` where the same command may succeed later
+-- Locked          somebody else works on this rollout
"""

from typing import ClassVar

from lineside.errors import LinesideError


class FleetError(LinesideError):
    """What was wrong, with the next step."""

    code = "fleet"
    status: ClassVar[int] = 2


class Refused(FleetError):
    """Nothing was changed: wrong input, or something that contradicts the plan."""

    code = "fleet-refused"


class AwsError(FleetError):
    """A call of AWS' API came to nothing; what was done before it is kept, and the same command goes on from there."""

    code = "fleet-aws"
    status: ClassVar[int] = 4


class Locked(FleetError):
    """Somebody else works on this rollout."""

    code = "fleet-locked"
    transient = True
    status: ClassVar[int] = 4
