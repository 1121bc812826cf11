"""Whether the line is quiet: nothing runs, and nothing has begun for so many seconds."""


class Quiet:
    """Looks at the number of requests now and then; time in seconds of any clock that only goes on."""

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._total: int | None = None
        self._since = 0.0

    def is_now(self, now: float, *, total: int, running: int) -> bool:
        """Return it for a moment at which so many requests were begun in all, and so many run."""
        if running or total != self._total:  # the first look too: what was before is not known
            self._total, self._since = total, now
            return self._idle_s == 0 and not running
        return now - self._since >= self._idle_s
