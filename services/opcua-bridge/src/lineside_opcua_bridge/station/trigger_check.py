"""One trigger, and the checks whether the PLC still shows it while the tags that belong to it are read."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lineside_opcua_bridge.detect.detector import Detector
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station.handshake_signal import HandshakeSignal
from lineside_opcua_bridge.station.stamps import Stamps


@dataclass(frozen=True)
class TriggerCheck:
    """A trigger that tags are read for.

    `sample` has no source timestamp where that cannot be used. `role` is that of the tag whose value says that the part
    is there; None for the clock and a window.
    """

    sample: Sample
    role: str | None
    is_still_shown: Callable[[Sample], bool]
    """Whether a value of that tag, as it was read, is still this trigger."""
    is_superseded: Callable[[], bool]
    """Whether another trigger has come since."""
    is_write_stamped: Callable[[], bool]
    """Whether its source timestamp is known to be that of its write."""


def check_of(
    sample: Sample,
    known: datetime | None,
    role: str | None,
    *,
    detector: Detector | None,
    signal: HandshakeSignal | None,
    stamps: Stamps | None,
    queued: Callable[[], list[Sample]],
    is_collected: bool,
) -> TriggerCheck:
    """Return the checks of a trigger by the tag with this role, known by the instant `known`.

    `queued` returns the tag's values that were not handled yet, in order; `is_collected`: it comes by a collector.
    """

    def is_still_shown(read: Sample) -> bool:
        if stamps and any(each.source == read.source and each.value == read.value for each in queued()):
            stamps.confirm(read)
        identified = stamps.identify_read(read) if stamps else read
        if stamps and stamps.are_identity and identified.source != known:
            return False
        if role == "request":
            return bool(signal and signal.present(read))
        return detector is not None and detector.is_still_shown(sample, read)

    def is_superseded() -> bool:
        later = [each if not stamps or stamps.are_usable else each._replace(source=None) for each in queued()]
        if role == "request":
            return any(signal is not None and signal.present(each) is False for each in later)
        return detector is not None and detector.is_followed(sample, later)

    def is_write_stamped() -> bool:
        return stamps is None or (stamps.are_usable if is_collected else stamps.are_proven)

    timed = sample if stamps is None or stamps.are_usable else sample._replace(source=None)
    return TriggerCheck(timed, role, is_still_shown, is_superseded, is_write_stamped)
