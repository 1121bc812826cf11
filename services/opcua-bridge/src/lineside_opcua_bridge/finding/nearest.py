"""The names nearest to one that does not exist, so that a slip of the finger is named by its remedy."""

import difflib
from collections.abc import Iterable

_MOST = 3
_LIKE_ENOUGH = 0.6
_COMPARED = 2000
"""Names that are compared: comparing is slow, and the bridge has parts to judge meanwhile."""


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three known names that are like `name`, the nearest first, whatever their case."""
    by_folded: dict[str, str] = {}
    for each in known:
        by_folded.setdefault(each.casefold(), each)
    wanted = name.casefold()
    # Those of about the same length first: no other can be near.
    candidates = sorted(by_folded, key=lambda each: abs(len(each) - len(wanted)))[:_COMPARED]
    return [by_folded[each] for each in difflib.get_close_matches(wanted, candidates, n=_MOST, cutoff=_LIKE_ENOUGH)]
