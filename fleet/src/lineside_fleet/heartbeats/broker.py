"""Heartbeats from a broker, heard for some seconds: what it retains, and what comes meanwhile."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from lineside.bus import tls
from lineside.errors import LinesideError
from lineside.heartbeats import ALL_TOPICS
from lineside.secret_files import read_password
from lineside.settings import BusTlsSettings
from lineside_fleet.heartbeats.errors import HeartbeatsAway

CONNECT_S = 10.0
_PORT, _TLS_PORT = 1883, 8883

Take = Callable[[bytes, str, float | None], None]
"""Takes a heartbeat, its place for people, and when it came, None where nobody looked at a clock."""


@dataclass(frozen=True)
class BrokerAccess:
    """How to be let in at a broker, and for how long."""

    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    seconds: float = 5.0


def listen(place: str, take: Take, access: BrokerAccess) -> None:
    """Hand over what comes on `mqtt://host[:port]/topic` or `mqtts://...`; raises HeartbeatsAway."""
    parts = urlsplit(place, allow_fragments=False)
    _Listener(place, unquote(parts.path.removeprefix("/")) or ALL_TOPICS, take).listen(parts, access)


class _Listener:
    """One connection; its callbacks are called in paho's thread."""

    def __init__(self, place: str, topic: str, take: Take) -> None:
        self._place = place
        self._topic = topic
        self._take = take
        self._ended = threading.Event()
        self._problem = ""
        client = self._client = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.connect_timeout = CONNECT_S
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_disconnect = self._lost
        client.on_message = self._came

    def listen(self, parts: SplitResult, access: BrokerAccess) -> None:
        self._connect(parts, access)
        self._client.loop_start()
        try:
            self._ended.wait(access.seconds)
        finally:
            self._client.on_disconnect = None
            self._client.disconnect()
            self._client.loop_stop()
        if self._problem:
            raise HeartbeatsAway(
                f"{self._place}: {self._problem}", remedy="see the broker's log, and who may read this topic"
            )

    def _connect(self, parts: SplitResult, access: BrokerAccess) -> None:
        is_tls = parts.scheme == "mqtts"
        try:
            port = parts.port or (_TLS_PORT if is_tls else _PORT)
            if is_tls:
                given = BusTlsSettings(ca_file=access.ca_file, cert_file=access.cert_file, key_file=access.key_file)
                self._client.tls_set_context(tls.context(given, port))
            if access.username is not None:
                password = read_password(access.password_file) if access.password_file else None
                self._client.username_pw_set(access.username, password)
            self._client.connect(parts.hostname or "", port, keepalive=10)
        except OSError as error:
            raise HeartbeatsAway(f"{self._place}: the broker cannot be reached: {error}") from None
        except (ValueError, LinesideError) as error:
            raise HeartbeatsAway(f"{self._place}: {error}") from None

    def _end(self, problem: str) -> None:
        self._problem = self._problem or problem
        self._ended.set()

    def _connected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._end(f"the broker answers {reason}")
        else:
            self._client.subscribe(self._topic, 1)

    def _subscribed(self, _client: Any, _data: Any, _mid: int, reasons: Iterable[Any], _properties: Any) -> None:
        if refused := [str(each) for each in reasons if each.is_failure]:
            self._end(f"the broker refuses {self._topic!r}: {refused[0]}")

    def _lost(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._end(f"the broker ended the connection: {reason}")

    def _came(self, _client: Any, _data: Any, message: Any) -> None:
        # What was retained lay there; only what comes now has a time of arrival.
        self._take(message.payload, message.topic, None if message.retain else time.time())
