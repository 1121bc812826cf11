"""The one error the bench raises on purpose: what is wrong, and what to do about it."""

from __future__ import annotations

__all__ = ["BenchError"]


class BenchError(Exception):
    """Something the bench needs is missing or wrong, and its user can put it right.

    Attributes:
        what: what is wrong, with the value concerned; no full stop at the end.
        remedy: the next step, as an instruction; no full stop at the end.
    """

    def __init__(self, what: str, *, remedy: str) -> None:
        """Keep both halves; ``str()`` joins them as two sentences."""
        self.what = what.rstrip(".")
        self.remedy = remedy.rstrip(".")
        super().__init__(f"{self.what}. {self.remedy}.")
