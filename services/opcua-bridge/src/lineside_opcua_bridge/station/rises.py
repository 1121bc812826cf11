"""What can be told of one rise of a trigger while its tags are taken."""

from collections.abc import Callable
from datetime import datetime

from lineside_opcua_bridge.detect.detector import Detector
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station.handshake_signal import HandshakeSignal
from lineside_opcua_bridge.station.stamps import Stamps
from lineside_opcua_bridge.station.tag_cache import Rise


def rise_of(
    sample: Sample,
    known: datetime | None,
    role: str | None,
    *,
    detector: Detector | None,
    level: HandshakeSignal | None,
    stamps: Stamps | None,
    waiting: Callable[[], list[Sample]],
    is_collected: bool,
) -> Rise:
    """Return it for a trigger by the tag with this role, known by the instant `known`.

    `waiting` returns the tag's values that were not taken yet, in order; `is_collected`: it comes by a collector.
    """

    def stands(shown: Sample) -> bool:
        if stamps and any(each.source == shown.source and each.value == shown.value for each in waiting()):
            stamps.confirm(shown)
        told = stamps.shown(shown) if stamps else shown
        if stamps and stamps.identify and told.source != known:
            return False
        if role == "request":
            return bool(level and level.present(shown))
        return detector is not None and detector.stands(sample, shown)

    def newer() -> bool:
        later = [each if not stamps or stamps.run else each._replace(source=None) for each in waiting()]
        if role == "request":
            return any(level is not None and level.present(each) is False for each in later)
        return detector is not None and detector.is_followed(sample, later)

    def stamped() -> bool:
        return stamps is None or (stamps.run if is_collected else stamps.proven)

    timed = sample if stamps is None or stamps.run else sample._replace(source=None)
    return Rise(timed, role, stands, newer, stamped)
