"""Why a command of `lineside edge-manager` ends without what was asked for, each with its exit status.

CommandFailed
+-- Refused     the agent answered, and refuses or failed
+-- NotReached  nobody serves at the socket, or this user may not connect
+-- BadInput    something that was given is wrong
+-- TimedOut    no answer came in time
"""

from typing import ClassVar

from lineside.errors import LinesideError


class CommandFailed(LinesideError):
    """A command ends without what was asked for."""

    exit_status: ClassVar[int] = 1


class Refused(CommandFailed):
    """The agent answered, and refuses or failed."""


class NotReached(CommandFailed):
    """Nobody serves at the socket, or this user may not connect."""

    exit_status = 2


class BadInput(CommandFailed):
    """Something that was given is wrong."""

    exit_status = 2


class TimedOut(CommandFailed):
    """No answer came in time."""

    exit_status = 3
