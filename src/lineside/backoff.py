"""How long to wait before trying again: the one rule for all that is tried again (docs/decisions/0015)."""

from dataclasses import dataclass

_MAX_DOUBLINGS = 16


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from `first_s` to `longest_s` seconds, each less a random share of at most `jitter` (0 to 1).

    The random share keeps many clients of one restarted server from coming back at the same instant.
    """

    first_s: float
    longest_s: float
    jitter: float = 0.0

    def wait_s(self, failures: int, chance: float = 0.0) -> float:
        """Return the seconds to wait after so many earlier failures in a row; `chance` is a random number in [0, 1)."""
        wait_s = min(self.longest_s, self.first_s * 2.0 ** min(failures, _MAX_DOUBLINGS))
        return wait_s * (1 - self.jitter * chance)
