"""What a simulated camera may do wrong, changed while it runs."""

from dataclasses import dataclass, field
from enum import StrEnum


class Resending(StrEnum):
    """How a lost packet is answered that the application wants again."""

    answer = "answer"
    ignore = "ignore"
    unavailable = "unavailable"


@dataclass
class Faults:
    """All off at first; each is read anew for every packet, frame or acknowledgement."""

    lose: float = 0.0
    """Share of the stream's packets that are never sent, by chance; those that are sent again too."""
    lose_these: set[tuple[int, int]] = field(default_factory=set)
    """Packets that are never sent, by block id and number from the leader's 0; sent again they are."""
    resending: Resending = Resending.answer
    cut_frames: int = 0
    """So many of the next frames end in their middle, without a trailer, and nothing of them is sent again."""
    said_size: tuple[int, int] | None = None
    """Width and height that the leader says, whatever is sent."""
    said_pixel_format: int | None = None
    """PFNC code that the leader says."""
    ack_delay_s: float = 0.0
    """How long each acknowledgement takes."""
    says_pending: bool = False
    """A slow acknowledgement is announced by PENDING_ACK, as the standard wants it."""
    is_silent: bool = False
    """It answers nothing and sends nothing, as one whose cable is pulled; its clock and its settings live on."""
