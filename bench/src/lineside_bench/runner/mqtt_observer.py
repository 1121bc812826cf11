"""Who watches an MQTT broker: a client of its own."""

import asyncio
import ssl
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lineside.contract import REQUEST_TOPIC, RESULT_TOPIC
from lineside_bench.errors import BenchError
from lineside_bench.runner.observer import Observer

CONNECT_S = 15.0
CLIENT_ID = "lineside-bench-observer"


class MqttObserver(Observer):
    """Watches a broker by paho, in paho's thread. With `wait` false entering does not wait for the broker."""

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
        super().__init__(topics, on_change)
        self._host, self._port = host, port
        self._wait = wait
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
            client.subscribe([(topic, 1) for topic in self.topics])

    def _failed(self, *_details: Any) -> None:
        error = sys.exception()  # paho calls this while it handles it, and says nothing of it
        self._on_change(f"cannot be reached: {error}" if error else "cannot be reached")

    def _acknowledged(self, _client: mqtt.Client, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._on_change(f"may not subscribe: {', '.join(map(str, reasons))}")
            return
        self._subscribed.set()
        self.back()

    def _disconnected(self, *_details: Any) -> None:
        if not self._stopping and self._subscribed.is_set():
            self._on_change("connection lost")
        if not self._stopping:
            self.away()

    def _seen(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self.take(message.topic, bytes(message.payload))
