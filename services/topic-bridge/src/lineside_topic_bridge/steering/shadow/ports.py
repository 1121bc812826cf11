"""What a transport of the shadow's documents does, and what can be wrong with it.

ShadowError        what the shadow did not do
+-- ShadowAway     nobody answers; trying again can help
+-- ShadowChanged  it is another edition than the update says: read it again
+-- ShadowRefuses  it takes no such document
"""

from collections.abc import Callable
from typing import Protocol

from lineside.errors import LinesideError


class ShadowError(LinesideError):
    """What the shadow did not do."""

    code = "shadow"


class ShadowAway(ShadowError):
    """Nobody answers; trying again can help."""

    code = "shadow-away"
    transient = True


class ShadowChanged(ShadowError):
    """It is another edition than the update says: read it again."""

    code = "shadow-changed"
    transient = True


class ShadowRefuses(ShadowError):
    """It takes no such document."""

    code = "shadow-refuses"


class ShadowTransport(Protocol):
    """Brings documents to one named shadow and back."""

    async def listen(self, ring: Callable[[], None]) -> None:
        """Have every change that is not ours rung from now on, on the event loop; raises ShadowError."""

    async def get(self) -> bytes | None:
        """Return the shadow's document, None where there is no such shadow; raises ShadowError."""

    async def update(self, payload: bytes, token: str) -> int:
        """Bring an update, which has this token, and return the shadow's version after it; raises ShadowError."""
