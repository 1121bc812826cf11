"""What keeps a source from giving observations."""

from lineside.errors import LinesideError


class NotObserved(LinesideError):
    """A source has nothing that can be compared, or does not answer; `what` says which and why."""

    code = "not-observed"


class NothingThere(NotObserved):
    """The source answers, and has nothing of the model on these devices in the window."""
