"""One element of an array as a tag of its own: its values out of the array's. Pure.

Arrays are subscribed and read whole. So it is right on every server: asyncua's and python-opcua's ignore an IndexRange
and send the array all the same, and a range on an array of one could not be told from a range that was ignored.
"""

from collections.abc import Collection, Mapping

from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station.stamps import same_content
from lineside_opcua_bridge.values import element_of, scalar


class Elements:
    """The tags of a station that are elements: `indices` by role.

    Of those that are `acted_on` a value is told only where the element itself has changed, as by a server that watches
    the element alone; of all others each of the array's, for it says when the element still was what it is.
    """

    def __init__(self, indices: Mapping[str, int], *, acted_on: Collection[str]) -> None:
        self._indices = indices
        self._acted_on = frozenset(indices) & frozenset(acted_on)
        self._last: dict[str, Sample] = {}

    def __contains__(self, role: str) -> bool:
        return role in self._indices

    def take(self, role: str, sample: Sample) -> Sample | None:
        """Take the next value of a role's node, return the role's; None where only other elements have changed.

        A role that is no element has the array's one element, where it is an array of one.
        """
        if role not in self._indices:
            return sample._replace(value=scalar(sample.value))
        taken = element_of(sample, self._indices[role])
        if role in self._acted_on:
            last, self._last[role] = self._last.get(role), taken
            if last is not None and not taken.overflow and same_content(last, taken):
                return None
        return taken

    def mark_gap(self) -> None:
        """Say that values may be missing before the next ones, which are told whatever they are."""
        self._last.clear()
