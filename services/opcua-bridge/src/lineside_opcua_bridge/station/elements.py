"""One element of an array as a tag of its own: its values are taken from the array's. Pure.

Arrays are subscribed and read whole. That works on every server: those of asyncua and python-opcua ignore an IndexRange
and send the whole array, and on an array of one a range that is honoured looks the same as one that is ignored.
"""

from collections.abc import Collection, Mapping

from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station.stamps import same_content
from lineside_opcua_bridge.values import element_of, scalar


class Elements:
    """The tags of a station that are elements: `indices` by role.

    Of those that are `acted_on` a value is returned only where the element itself has changed, as if the server
    monitored the element alone. Of all others each value of the array is returned: it shows that the element had not
    changed by then.
    """

    def __init__(self, indices: Mapping[str, int], *, acted_on: Collection[str]) -> None:
        self._indices = indices
        self._acted_on = frozenset(indices) & frozenset(acted_on)
        self._last: dict[str, Sample] = {}

    def __contains__(self, role: str) -> bool:
        return role in self._indices

    def take(self, role: str, sample: Sample) -> Sample | None:
        """Take the next value of a role's node and return the role's; None where only other elements have changed.

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
        """Say that values may be missing before the next ones, which are returned whether they changed or not."""
        self._last.clear()
