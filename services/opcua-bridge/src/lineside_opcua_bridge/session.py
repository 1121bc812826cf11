"""One OPC UA session, from connect to loss: read, write, subscribe. It decides nothing and never reconnects.

asyncua's services are used below its Subscription class: that class starts a task for each value, or queues values and
drops the oldest, neither with a count. Ours hands each notification on at once, in order. asyncua's own probe of the
server's state (every keep-alive) finds a peer that hangs; `silent_s` finds a subscription that the server forgot.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Self, TypeVar

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from lineside.errors import LinesideError
from lineside_opcua_bridge.security import client_for
from lineside_opcua_bridge.settings import OpcuaBridgeSettings

T = TypeVar("T")

_SESSION_TIMEOUT_MS = 30_000
_LIFETIME_KEEPALIVES = 10
_CLOSE_S = 1.0
_CONNECT_CALLS = 3
"""How many calls' time the whole of connecting may take."""

_GONE = frozenset(
    {
        StatusCodes.BadSessionIdInvalid,
        StatusCodes.BadSessionClosed,
        StatusCodes.BadSessionNotActivated,
        StatusCodes.BadSecureChannelIdInvalid,
        StatusCodes.BadSecureChannelClosed,
        StatusCodes.BadSubscriptionIdInvalid,
        StatusCodes.BadShutdown,
        StatusCodes.BadServerHalted,
    }
)


class CallFailed(LinesideError):
    """A call to the PLC failed; `reason` is `timeout`, `connection` or the status code's name."""

    code = "plc-call-failed"
    transient = True

    def __init__(self, what: str, *, reason: str) -> None:
        super().__init__(what)
        self.reason = reason


class Session:
    """A connected session with one subscription; `lost` resolves to the reason once it is of no more use."""

    def __init__(self, settings: OpcuaBridgeSettings, thing: str, notify: Callable[[ua.PublishResult], None]) -> None:
        self._settings = settings
        self._thing = thing
        self._notify = notify
        self._client: Client | None = None
        self._subscription = ua.CreateSubscriptionResult()
        self._last_notified = time.monotonic()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.namespaces: list[str] = []

    async def open(self) -> Self:
        """Connect and subscribe; raises CallFailed. After a failure `close` must still be called."""
        try:
            async with asyncio.timeout(_CONNECT_CALLS * self._settings.request_timeout_ms / 1000):
                client = self._client = await client_for(self._settings, thing=self._thing)
                client.session_timeout = _SESSION_TIMEOUT_MS
                client.connection_lost_callback = self._connection_lost
                await client.connect()
                self.namespaces = await client.get_namespace_array()
                await self._subscribe()
        except CallFailed:
            raise
        except Exception as error:
            raise _failed("connecting", error) from error
        return self

    async def close(self) -> None:
        """Leave, politely where the peer still listens, within a second."""
        self.lose("closed")
        if self._client is None:
            return
        with contextlib.suppress(Exception):  # the peer may be gone: there is nobody left to tell
            async with asyncio.timeout(_CLOSE_S):
                await self._client.disconnect()
        self._client.disconnect_socket()

    def lose(self, reason: str) -> None:
        """Say that the session is of no more use."""
        if not self.lost.done():
            self.lost.set_result(reason)

    @property
    def interval_ms(self) -> float:
        """The publishing interval that the server grants."""
        return float(self._subscription.RevisedPublishingInterval)

    @property
    def silent_s(self) -> float:
        """How many seconds the subscription is overdue for a sign of life, beyond three that it may miss; else <= 0."""
        each: float = self.interval_ms * max(1, self._subscription.RevisedMaxKeepAliveCount) / 1000
        if each <= 0:  # a server that publishes at once has no rhythm to be late by
            return 0.0
        return time.monotonic() - self._last_notified - max(3 * each, 2.0)

    async def watch(self, handle: int, node: ua.NodeId) -> None:
        """Have changes of a node notified under `handle`, the present value first; raises CallFailed."""
        item = ua.MonitoredItemCreateRequest()
        item.ItemToMonitor = ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value)
        item.MonitoringMode = ua.MonitoringMode.Reporting
        item.RequestedParameters = ua.MonitoringParameters(
            ClientHandle=ua.UInt32(handle),
            SamplingInterval=self._settings.sampling_interval_ms,
            QueueSize=ua.UInt32(20),
            DiscardOldest=True,
        )
        parameters = ua.CreateMonitoredItemsParameters(
            SubscriptionId=self._subscription.SubscriptionId,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ItemsToCreate=[item],
        )
        (created,) = await self.call("subscribing", lambda session: session.create_monitored_items(parameters))
        try:
            created.StatusCode.check()
        except UaStatusCodeError as error:
            raise self._call_failed("subscribing", error) from error

    async def call(self, doing: str, service: Callable[[UaSession], Awaitable[T]]) -> T:
        """Call one service of the server and return its answer; raises CallFailed, whose text begins with `doing`."""
        if self._client is None:
            raise CallFailed(f"{doing}: not connected", reason="connection")
        try:
            return await service(self._client.uaclient.session)
        except Exception as error:
            raise self._call_failed(doing, error) from error

    async def read(self, what: Sequence[tuple[ua.NodeId, AttributeIds]]) -> list[ua.DataValue]:
        """Return attributes of nodes, in one call, each with its own status; raises CallFailed."""
        parameters = ua.ReadParameters(
            MaxAge=0,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=attribute) for node, attribute in what],
        )
        values = await self.call("reading", lambda session: session.read(parameters))
        if len(values) != len(what):
            raise CallFailed(f"reading {len(what)} values gave {len(values)}", reason="mismatch")
        return values

    async def write(self, what: Sequence[tuple[ua.NodeId, ua.Variant]]) -> list[ua.StatusCode]:
        """Write values in one call and return each one's status; raises CallFailed.

        Only the value is sent: many PLCs refuse a write that brings a status or timestamps of its own.
        """
        parameters = ua.WriteParameters(
            NodesToWrite=[
                ua.WriteValue(
                    NodeId=node,
                    AttributeId=AttributeIds.Value,
                    Value=ua.DataValue(value, StatusCode=None),
                )
                for node, value in what
            ]
        )
        statuses = await self.call("writing", lambda session: session.write(parameters))
        if len(statuses) != len(what):
            raise CallFailed(f"writing {len(what)} values gave {len(statuses)} answers", reason="mismatch")
        return statuses

    async def _subscribe(self) -> None:
        interval = self._settings.publishing_interval_ms
        keepalives = max(1, round(self._settings.keepalive_ms / max(interval, 1.0)))
        parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=interval,
            RequestedLifetimeCount=ua.UInt32(keepalives * _LIFETIME_KEEPALIVES),
            RequestedMaxKeepAliveCount=ua.UInt32(keepalives),
            MaxNotificationsPerPublish=ua.UInt32(0),
            PublishingEnabled=True,
        )
        # The first notification may come before the answer does: `_published` needs nothing of the answer.
        self._subscription = await self.call(
            "subscribing", lambda session: session.create_subscription(parameters, self._published)
        )
        self._last_notified = time.monotonic()

    def _published(self, result: ua.PublishResult) -> None:
        self._last_notified = time.monotonic()
        self._notify(result)

    async def _connection_lost(self, error: Exception) -> None:
        self.lose(f"connection lost: {str(error) or type(error).__name__}")

    def _call_failed(self, doing: str, error: Exception) -> CallFailed:
        """Return the failure; where the session cannot be used any more, or nobody knows what became of it, lose it."""
        failed = _failed(doing, error)
        if not isinstance(error, UaStatusCodeError) or error.code in _GONE:
            self.lose(failed.what)
        return failed


def _failed(doing: str, error: Exception) -> CallFailed:
    if isinstance(error, TimeoutError):
        return CallFailed(f"{doing}: the PLC did not answer in time", reason="timeout")
    if isinstance(error, UaStatusCodeError):
        return CallFailed(f"{doing}: {error}", reason=ua.StatusCode(error.code).name)
    text = " ".join(str(error).split())
    return CallFailed(f"{doing}: {text or type(error).__name__}", reason="connection")
