"""Fires the cameras of a group by one action command for each part, and counts who acknowledges it."""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from lineside_inference.errors import CameraAmbiguous, CameraFailed
from lineside_inference.settings import ActionCommand
from lineside_inference.sources.cameras.genicam.action import Acknowledged, Action, encode, parse
from lineside_inference.sources.cameras.genicam.gvcp import PORT

_REMEMBERED = 64
_MOST_ID = 0xFFFF
_LONGEST = 2048


@dataclass
class Fire:
    """One action command: for a part of which trigger, and when it fires; instants of time.monotonic()."""

    trigger: float
    at: float
    request_id: int
    camera: str
    used_by: set[str]
    """The cameras whose part has asked for its frame."""


class ActionGroup:
    """The cameras that the settings give the same action; used on the event loop."""

    def __init__(self, settings: ActionCommand) -> None:
        self._settings = settings
        self._action = Action(settings.device_key, settings.group_key, settings.group_mask)
        self._fires: deque[Fire] = deque(maxlen=_REMEMBERED)
        self._socket: socket.socket | None = None
        self._next = 1
        self._told: dict[str, Callable[[Acknowledged], None]] = {}

    def tell(self, camera: str, told: Callable[[Acknowledged], None]) -> None:
        """Have each acknowledgement told of what is fired for a camera, whichever camera sends it."""
        self._told[camera] = told

    def fire(
        self, camera: str, trigger: float, *, apart_s: float, device_ns: Callable[[float], int | None]
    ) -> tuple[Fire, bool]:
        """Return the fire for a part of this trigger, and whether it is a new one; raises CameraFailed.

        One that another camera of the group asked for is the same part's, where its trigger is less than half of
        `apart_s` away. Two that are closer than `apart_s` could not be told apart: raises CameraAmbiguous.
        `device_ns` gives the cameras' common time of an instant, where PTP keeps it: then the action is scheduled.
        """
        for known in self._fires:
            if abs(known.trigger - trigger) < apart_s / 2 and camera not in known.used_by:
                known.used_by.add(camera)
                return known, False
        at, at_ns = time.monotonic(), None
        if self._settings.scheduled_ms is not None:
            later = at + self._settings.scheduled_ms / 1000
            at_ns = device_ns(later)
            at = at if at_ns is None else later
        if any(abs(known.at - at) < apart_s for known in self._fires):
            raise CameraAmbiguous(
                f"camera {camera!r}: its group was fired less than {apart_s * 1000:g} ms ago",
                remedy="See whether parts come faster than hardware_trigger.apart_ms says",
            )
        made = Fire(trigger, at, self._next, camera, {camera})
        self._next = self._next % _MOST_ID + 1
        try:
            for to in self._settings.to:
                self._opened().sendto(encode(self._action, made.request_id, at_ns), (str(to), PORT))
        except OSError as error:
            raise CameraFailed(
                f"the action command cannot be sent: {error.strerror}",
                remedy="See the network card, and hardware_trigger.action.to",
            ) from None
        self._fires.append(made)
        return made, True

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            with suppress(RuntimeError):  # the loop is closed
                asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _opened(self) -> socket.socket:
        if self._socket is None:
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.setblocking(False)  # noqa: FBT003 - the standard library's own
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            asyncio.get_running_loop().add_reader(opened, self._hear, opened)
            self._socket = opened
        return self._socket

    def _hear(self, opened: socket.socket) -> None:
        with suppress(OSError):
            acknowledged = parse(opened.recv(_LONGEST))
            for fire in reversed(self._fires):
                if acknowledged is not None and fire.request_id == acknowledged.request_id:
                    self._told[fire.camera](acknowledged)
                    break
