"""The errors that the shared library raises, each saying what, which value, what is allowed, what next.

    LinesideError           what was wrong; `code` is stable, `transient` says whether trying again can help
    +-- SettingsError       the configuration is wrong: the start stops
    +-- BusError            the bus did not take or give a message
        +-- BacklogFull     more messages wait for the broker than the setting allows
        +-- MessageRefused  the broker will never take this message

HTTP and gRPC codes are mapped where the protocol is spoken, never here.
"""

from typing import ClassVar


class LinesideError(Exception):
    """What was wrong, with a stable code and the next step.

    `what` names the thing and its value, `remedy` says what to do next, `transient` says whether the same
    call can succeed later without anybody changing anything.
    """

    code: ClassVar[str] = "error"
    transient: bool = False

    def __init__(self, what: str, *, remedy: str = "", transient: bool | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        if transient is not None:
            self.transient = transient

    def __str__(self) -> str:
        return f"{self.what}. {self.remedy}" if self.remedy else self.what


class SettingsError(LinesideError):
    """The configuration is wrong; every problem is listed, one a line."""

    code = "settings"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class BusError(LinesideError):
    """The bus did not take or give a message."""

    code = "bus"
    transient = True


class BacklogFull(BusError):
    """More messages wait for the broker than the setting allows."""

    code = "backlog-full"


class MessageRefused(BusError):
    """The broker will never take this message, however often it is sent."""

    code = "message-refused"
    transient = False
