"""What becomes of a call, and whether trying again can help.

    CloudWatchError      something is wrong with a call
    +-- NotTaken         not now: tried again, the figures wait
    |   +-- Throttled    too many calls were made
    +-- NotAllowed       somebody has to change something here or there; tried again more slowly, the figures wait
    +-- Refused          these figures are never taken: they are dropped and counted

No text holds what a credential server said.
"""

from typing import ClassVar

from lineside.errors import LinesideError


class CloudWatchError(LinesideError):
    """Something is wrong with a call."""

    code: ClassVar[str] = "cloudwatch"


class NotTaken(CloudWatchError):
    """The figures were not taken now."""

    code: ClassVar[str] = "not-taken"
    transient = True


class Throttled(NotTaken):
    """Too many calls were made."""

    code: ClassVar[str] = "throttled"


class NotAllowed(CloudWatchError):
    """Credentials, permissions or settings do not allow the call."""

    code: ClassVar[str] = "not-allowed"


class Refused(CloudWatchError):
    """The figures themselves are not taken."""

    code: ClassVar[str] = "refused"
