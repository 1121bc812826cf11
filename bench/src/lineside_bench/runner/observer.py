"""A separate MQTT client that records every request, result and error report with the time at which it came."""

import asyncio
import ssl
import sys
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import ValidationError

from lineside.contract import (
    REQUEST_TOPIC,
    RESULT_TOPIC,
    ErrorReport,
    Unreadable,
    parse_request,
    parse_result,
    utc_now,
)
from lineside_bench.errors import BenchError
from lineside_bench.options import MAX_PARTS
from lineside_bench.reporting.records import Exchange, Outage, SeenResult

MAX_EXCHANGES = 3 * MAX_PARTS
"""A part may be asked for again after a restart."""
MAX_OUTAGES = 1000
MAX_IN_WORDS = 5
EXCERPT = 80
NO_REPORT = "no-error-report"
CONNECT_S = 15.0
CLIENT_ID = "lineside-bench-observer"


class Observer:
    """Watches the bus while it is entered. paho's own thread fills `exchanges`, by request id, bounded, oldest out.

    `on_change` is called from that thread: with None when it is subscribed, else with why it is not. With `wait` false
    entering does not wait for the broker.
    """

    def __init__(
        self,
        *,
        port: int,
        protocol: str,
        host: str = "127.0.0.1",
        topics: tuple[str, str] = (REQUEST_TOPIC, RESULT_TOPIC),
        client_id: str = CLIENT_ID,
        credentials: tuple[str, str | None] | None = None,
        tls: ssl.SSLContext | None = None,
        on_change: Callable[[str | None], None] = lambda _why: None,
        wait: bool = True,
    ) -> None:
        self.outages: list[Outage] = []
        """When the broker was away."""
        self.errors: Counter[str] = Counter()
        """Error reports, by code."""
        self.error_reports: list[str] = []
        """The first of them, in words."""
        self.unreadable = 0
        self._host, self._port = host, port
        self._request_topic, self._result_topic = topics
        self._on_change = on_change
        self._wait = wait
        self._max_exchanges = MAX_EXCHANGES
        self._exchanges: OrderedDict[str, Exchange] = OrderedDict()
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        self._stopping = False
        self._is_v5 = protocol == "5"
        options: dict[str, Any] = {} if self._is_v5 else {"clean_session": False}
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=mqtt.MQTTv5 if self._is_v5 else mqtt.MQTTv311,
            **options,
        )
        if credentials:
            self._client.username_pw_set(*credentials)
        if tls:
            self._client.tls_set_context(tls)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._failed
        self._client.on_disconnect = self._disconnected
        self._client.on_subscribe = self._acknowledged
        self._client.on_message = self._seen

    def exchanges(self) -> dict[str, Exchange]:
        """Return what was seen so far, by request id."""
        with self._lock:
            return {key: Exchange(item.request, list(item.results)) for key, item in self._exchanges.items()}

    def answered(self) -> bool:
        """Whether a result was seen for every request seen."""
        with self._lock:
            return all(item.results for item in self._exchanges.values() if item.request)

    async def settled(self, within_s: float) -> None:
        """Return when a result was seen for every request, or the time is over."""
        end = time.monotonic() + within_s
        while not self.answered() and time.monotonic() < end:  # noqa: ASYNC110 - filled by another thread
            await asyncio.sleep(0.02)

    def begin(self, most: int) -> None:
        """Forget what was seen, and keep `most` exchanges from now on."""
        with self._lock:
            self._exchanges.clear()
            self._max_exchanges = most
            self.errors.clear()
            self.error_reports.clear()
            del self.outages[:-1]
            if self.outages and self.outages[-1].end:
                self.outages.clear()

    async def __aenter__(self) -> Self:
        options: dict[str, Any] = {}
        if self._is_v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's own gap
            properties.SessionExpiryInterval = 3600
            options = {"clean_start": False, "properties": properties}
        self._client.connect_async(self._host, self._port, keepalive=10, **options)
        self._client.loop_start()
        end = time.monotonic() + CONNECT_S
        while self._wait and not self._subscribed.is_set():
            if time.monotonic() > end:
                await self.__aexit__(None, None, None)
                raise BenchError(
                    f"the observer could not subscribe at {self._host}:{self._port} within {CONNECT_S:g} s",
                    remedy="See the broker's log",
                )
            await asyncio.sleep(0.02)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping = True
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    def _connected(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._on_change(f"refused: {reason}")
        else:
            topics = (self._request_topic, self._result_topic, f"{self._result_topic}/error")
            client.subscribe([(topic, 1) for topic in topics])

    def _failed(self, *_details: Any) -> None:
        error = sys.exception()  # paho calls this while it handles it, and says nothing of it
        self._on_change(f"cannot be reached: {error}" if error else "cannot be reached")

    def _acknowledged(self, _client: mqtt.Client, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._on_change(f"may not subscribe: {', '.join(map(str, reasons))}")
            return
        self._subscribed.set()
        self._on_change(None)
        if self.outages:
            self.outages[-1].end = self.outages[-1].end or utc_now()

    def _disconnected(self, *_details: Any) -> None:
        if not self._stopping and self._subscribed.is_set():
            self._on_change("connection lost")
        if not self._stopping and not (self.outages and self.outages[-1].end is None):
            del self.outages[: -MAX_OUTAGES + 1]
            self.outages.append(Outage(utc_now()))

    def _seen(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        at = utc_now()
        try:
            with self._lock:
                self._take(message.topic, bytes(message.payload), at)
        except Unreadable:
            self.unreadable += 1

    def _take(self, topic: str, payload: bytes, at: Any) -> None:
        if topic == self._request_topic:
            request = parse_request(payload)
            self._exchange(request.id).request = request
        elif topic == self._result_topic:
            result = parse_result(payload)
            self._exchange(result.request_id).results.append(SeenResult(at, result))
        elif payload:  # an empty one takes a kept message back, and says nothing
            code, said = _in_words(topic, payload)
            self.errors[code] += 1
            if len(self.error_reports) < MAX_IN_WORDS:
                self.error_reports.append(f"{code}: {said}")

    def _exchange(self, request_id: str) -> Exchange:
        while len(self._exchanges) >= self._max_exchanges and request_id not in self._exchanges:
            self._exchanges.popitem(last=False)
        return self._exchanges.setdefault(request_id, Exchange())


def _in_words(topic: str, payload: bytes) -> tuple[str, str]:
    """Return an error report's code, and what it is about."""
    try:
        report = ErrorReport.model_validate_json(payload)
    except ValidationError:
        begins = payload[:EXCERPT].decode("utf-8", "backslashreplace")
        return NO_REPORT, f"somebody published on {topic} what is no error report; it begins {begins!r}"
    of = f"request {report.request_id}" if report.request_id else f"a message that begins {report.excerpt[:EXCERPT]!r}"
    return report.code, f"{report.reason} ({of} on {report.topic})"
