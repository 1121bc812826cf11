"""What can be wrong with a fleet's report."""

from lineside.errors import LinesideError


class HeartbeatsAway(LinesideError):
    """The place that was named cannot be read."""

    code = "heartbeats-away"
