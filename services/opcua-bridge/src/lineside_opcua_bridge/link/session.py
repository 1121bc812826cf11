"""One OPC UA session over one connection, from connect to loss; it never reconnects by itself.

A session outlives its connection at the server for a while. `open` resumes the previous session, where there is one,
over the new connection (OPC 10000-4, 6.7); its subscriptions then still exist (see `subscriptions`). Certificates and
the user's secrets are read anew each time.

asyncua's services are used without its Subscription class and its own reconnecting: those keep only one Publish request
waiting, start a task for each value, restore subscriptions with the old namespace indices, and count nothing.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeVar

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from lineside.errors import LinesideError
from lineside_opcua_bridge.link.publishing import Malformed, Message, decode_repeated
from lineside_opcua_bridge.link.rates import batches
from lineside_opcua_bridge.link.reading import decode_values
from lineside_opcua_bridge.security import client_for, refusal
from lineside_opcua_bridge.settings import OpcuaBridgeSettings

T = TypeVar("T")

_CLOSE_S = 1.0
_CONNECT_CALLS = 3
"""Connecting may take as long as this many calls."""
_RENEW_AT = 0.75
"""The secure channel is renewed after this part of its lifetime (OPC 10000-4, 5.6.2.1)."""

_GONE = frozenset(
    {
        StatusCodes.BadSessionIdInvalid,
        StatusCodes.BadSessionClosed,
        StatusCodes.BadSessionNotActivated,
        StatusCodes.BadSecureChannelIdInvalid,
        StatusCodes.BadSecureChannelClosed,
        StatusCodes.BadSubscriptionIdInvalid,
        StatusCodes.BadNoSubscription,
        StatusCodes.BadShutdown,
        StatusCodes.BadServerHalted,
    }
)
_ONLY_THE_LINK = frozenset({StatusCodes.BadSecureChannelIdInvalid, StatusCodes.BadSecureChannelClosed})


class CallFailed(LinesideError):
    """A call to the PLC failed; `reason` is `timeout`, `connection` or the status code's name."""

    code = "plc-call-failed"
    transient = True

    def __init__(self, what: str, *, reason: str) -> None:
        super().__init__(what)
        self.reason = reason


@dataclass(frozen=True)
class Limits:
    """How many items one call of this server may have; 0 where it names no limit."""

    read: int = 0
    write: int = 0
    monitored: int = 0


class _UaSession(UaSession):
    """asyncua's session without its publish loop."""

    def ensure_publish_loop(self) -> None:
        """Start nothing: `PublishLoop` sends the Publish requests."""

    async def publish_bytes(self, request: ua.PublishRequest) -> bytes:
        """Return the bytes of a Publish response, without a time limit: the server answers when it has something."""
        return bytes(await self._send_request(request, timeout=0))

    async def read_bytes(self, request: ua.ReadRequest) -> bytes:
        """Return the bytes of a Read response."""
        return bytes(await self._send_request(request))

    async def republish_bytes(self, request: ua.RepublishRequest) -> bytes:
        """Return the bytes of a Republish response."""
        return bytes(await self._send_request(request))


class Session:
    """A connected session; `lost` resolves to the reason once it cannot be used over this connection any more."""

    def __init__(self, settings: OpcuaBridgeSettings, thing: str, *, read_only: bool = False) -> None:
        self._settings = settings
        self._thing = thing
        self._read_only = read_only
        self._client: Client | None = None
        self._ua: _UaSession | None = None
        self._renewing: asyncio.Task[None] | None = None
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.namespaces: list[str] = []
        self.limits = Limits()
        self._server_start: object = None
        self.is_resumed = False
        """Whether it is the previous session over a new connection."""
        self.is_spent = False
        """Whether it cannot be resumed over another connection either."""
        self.last_publish = 0.0
        """When the last Publish response came, by our monotonic clock: what changed before it was notified."""

    async def open(self, before: Self | None = None) -> Self:
        """Connect, and resume the session `before` where the server still has it; raises LinesideError.

        After a failure `leave` or `close` must still be called.
        """
        try:
            async with asyncio.timeout(_CONNECT_CALLS * self._settings.request_timeout_ms / 1000):
                client = self._client = await client_for(self._settings, thing=self._thing, read_only=self._read_only)
                session = self._ua = _UaSession(client.uaclient)
                client.uaclient.session = session
                client.session_timeout = round(self._settings.lifetime_s * 1000)
                await client.connect_socket()
                await client.send_hello()
                await client.open_secure_channel()
                self.is_resumed = before is not None and await self._resume(client, before)
                if not self.is_resumed:
                    await client.create_session()
                    await client._activate_with_credentials()  # noqa: SLF001 - what its `connect` does
                self._renewing = asyncio.create_task(self._renew(client), name="renew the secure channel")
                await self._read_server_info()
                if before is not None and self.is_resumed:
                    self._check_same(before)
        except LinesideError:
            raise
        except Exception as error:
            raise refusal(error, self._settings) or _failed("connecting", error) from error
        return self

    async def close(self) -> None:
        """Close the session with its subscriptions, by a call to the server if that answers within a second."""
        self.lose("closed", spent=True)
        if self._client is None:
            return
        with contextlib.suppress(Exception):  # the server may be gone
            async with asyncio.timeout(_CLOSE_S):
                await self._client.disconnect()
        self.leave()

    def leave(self) -> None:
        """Drop the connection; the server keeps the session for a while."""
        self.lose("left")
        if self._renewing:
            self._renewing.cancel()
        if self._client is None:
            return
        protocol = self._client.uaclient.protocol
        if protocol is not None and protocol.transport is not None:
            protocol.transport.abort()
        self._client.disconnect_socket()

    def lose(self, reason: str, *, spent: bool = False) -> None:
        """Take it that the session cannot be used over this connection any more; `spent`: over no other either."""
        self.is_spent = self.is_spent or spent
        if not self.lost.done():
            self.lost.set_result(reason)

    def is_same_server(self, other: Self) -> bool:
        """Whether another session is with the same run of the server, and with the same namespaces."""
        return (self._server_start, self.namespaces) == (other._server_start, other.namespaces)

    async def call(self, doing: str, service: Callable[[UaSession], Awaitable[T]]) -> T:
        """Call one service of the server and return its answer; raises CallFailed, whose text begins with `doing`."""
        if self._ua is None:
            raise CallFailed(f"{doing}: not connected", reason="connection")
        try:
            return await service(self._ua)
        except Exception as error:
            raise self._call_failed(doing, error) from error

    async def read(self, what: Sequence[tuple[ua.NodeId, AttributeIds]]) -> list[ua.DataValue]:
        """Return attributes of nodes, each with its own status; raises CallFailed."""
        values: list[ua.DataValue] = []
        for batch in batches(what, self.limits.read):
            request = ua.ReadRequest()
            request.Parameters = ua.ReadParameters(
                MaxAge=0,
                TimestampsToReturn=ua.TimestampsToReturn.Both,
                NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=attribute) for node, attribute in batch],
            )
            values += await self._read(request)
        if len(values) != len(what):
            raise CallFailed(f"reading {len(what)} values gave {len(values)}", reason="mismatch")
        return values

    async def _read(self, request: ua.ReadRequest) -> list[ua.DataValue]:
        if self._ua is None:
            raise CallFailed("reading: not connected", reason="connection")
        try:
            return decode_values(await self._ua.read_bytes(request))
        except Exception as error:
            raise self._call_failed("reading", error) from error

    async def read_elements(self, what: Sequence[tuple[ua.NodeId, int]]) -> list[ua.DataValue]:
        """Return what the server gives for one element of each array, by IndexRange; raises CallFailed.

        A server that ignores the range returns the whole array.
        """
        values: list[ua.DataValue] = []
        for batch in batches(what, self.limits.read):
            request = ua.ReadRequest()
            request.Parameters = ua.ReadParameters(
                MaxAge=0,
                TimestampsToReturn=ua.TimestampsToReturn.Neither,
                NodesToRead=[
                    ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value, IndexRange=ua.NumericRange(str(index)))
                    for node, index in batch
                ],
            )
            values += await self._read(request)
        if len(values) != len(what):
            raise CallFailed(f"reading {len(what)} elements gave {len(values)}", reason="mismatch")
        return values

    async def write(
        self, what: Sequence[tuple[ua.NodeId, ua.Variant]], *, elements: Mapping[int, int] | None = None
    ) -> list[ua.StatusCode]:
        """Write values, in one call where the server takes that, and return each one's status; raises CallFailed.

        `elements` gives the array index of each value, by its index in `what`, that is written to one element by
        IndexRange: the server must be known to honour it. Only the value is sent: many PLCs refuse a write that has a
        status or timestamps.
        """
        statuses: list[ua.StatusCode] = []
        writes = [_write_value(node, value, (elements or {}).get(at)) for at, (node, value) in enumerate(what)]
        for batch in batches(writes, self.limits.write):
            parameters = ua.WriteParameters(NodesToWrite=list(batch))
            statuses += await self.call("writing", partial(UaSession.write, params=parameters))
        if len(statuses) != len(what):
            raise CallFailed(f"writing {len(what)} values gave {len(statuses)} answers", reason="mismatch")
        return statuses

    async def publish(self, acknowledged: list[ua.SubscriptionAcknowledgement]) -> bytes:
        """Return the next Publish response, without a time limit; raises CallFailed.

        BadTooManyPublishRequests and BadTimeout leave the session usable.
        """
        request = ua.PublishRequest()
        request.Parameters.SubscriptionAcknowledgements = acknowledged
        if self._ua is None:
            raise CallFailed("publishing: not connected", reason="connection")
        try:
            answer = await self._ua.publish_bytes(request)
        except Exception as error:
            raise self._call_failed("publishing", error) from error
        self.last_publish = time.monotonic()
        return answer

    async def republish(self, subscription: int, number: int) -> Message:
        """Return a message of a subscription again; raises CallFailed where the server does not have it."""
        request = ua.RepublishRequest()
        request.Parameters.SubscriptionId = ua.UInt32(subscription)
        request.Parameters.RetransmitSequenceNumber = ua.UInt32(number)
        if self._ua is None:
            raise CallFailed("republishing: not connected", reason="connection")
        try:
            message = decode_repeated(await self._ua.republish_bytes(request))
        except Malformed as error:
            raise CallFailed(error.what, reason="malformed") from error
        except Exception as error:
            raise self._call_failed("republishing", error) from error
        if message.is_keepalive or message.number != number:
            raise CallFailed(f"republishing: the server has no message {number}", reason="BadMessageNotAvailable")
        return message

    async def _resume(self, client: Client, before: Self) -> bool:
        """Resume the previous session; only at a server with the certificate that was accepted then."""
        old, policy = before._client, client.security_policy
        token = before._ua.authentication_token if before._ua else ua.NodeId()
        if old is None or before.is_spent or token.is_null():
            return False
        if policy.peer_certificate is None:
            policy.peer_certificate = old.security_policy.peer_certificate
        elif policy.peer_certificate != old.security_policy.peer_certificate:
            return False
        client.uaclient.session.restore_authentication_token(token)
        client._server_nonce, client._policy_ids = old._server_nonce, old._policy_ids  # noqa: SLF001 - kept nowhere else
        try:
            await client._activate_with_credentials()  # noqa: SLF001
        except UaStatusCodeError:
            before.is_spent = True
            if not policy.host_certificate:
                policy.peer_certificate = None
            client.uaclient.session.reset_authentication_token()
            return False
        return True

    def _check_same(self, before: Self) -> None:
        if self._server_start != before._server_start:
            before.is_spent = True  # it may be another client's session: it is left, not closed
            raise CallFailed("connecting: a restarted server has a session of the same name", reason="session")

    async def _renew(self, client: Client) -> None:
        while True:
            await asyncio.sleep(_RENEW_AT * client.secure_channel_timeout / 1000)
            try:
                await client.open_secure_channel(renew=True)
                client.uaclient.revolve_security_token()
            except Exception as error:  # noqa: BLE001 - whatever it is, the channel will end
                self.lose(_failed("renewing the secure channel", error).what)
                return

    async def _read_server_info(self) -> None:
        names = (
            ObjectIds.Server_NamespaceArray,
            ObjectIds.Server_ServerStatus_StartTime,
            ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
            ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerWrite,
            ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
        )
        namespaces, started, *limits = await self.read(
            [(ua.NodeId(ua.Int32(name)), AttributeIds.Value) for name in names]
        )
        found = _good(namespaces)
        if not isinstance(found, list):
            raise CallFailed("connecting: the server shows no NamespaceArray (i=2255)", reason="namespaces")
        self.namespaces = [str(uri) for uri in found]
        self._server_start = _good(started)
        self.limits = Limits(*(limit if isinstance(limit := _good(value), int) else 0 for value in limits))

    def _call_failed(self, doing: str, error: Exception) -> CallFailed:
        """Return the failure; lose the session where it cannot be used any more, or its state is not known."""
        failed = _failed(doing, error)
        if not isinstance(error, UaStatusCodeError):
            self.lose(failed.what)
        elif error.code in _GONE:
            self.lose(failed.what, spent=error.code not in _ONLY_THE_LINK)
        return failed


def _write_value(node: ua.NodeId, value: ua.Variant, index: int | None) -> ua.WriteValue:
    if index is None:
        return ua.WriteValue(NodeId=node, AttributeId=AttributeIds.Value, Value=ua.DataValue(value, StatusCode=None))
    return ua.WriteValue(
        NodeId=node,
        AttributeId=AttributeIds.Value,
        IndexRange=ua.NumericRange(str(index)),
        Value=ua.DataValue(ua.Variant([value.Value], value.VariantType), StatusCode=None),
    )


def _good(value: ua.DataValue) -> object:
    if value.StatusCode is not None and not value.StatusCode.is_good():
        return None
    return value.Value.Value if value.Value is not None else None


def _failed(doing: str, error: Exception) -> CallFailed:
    if isinstance(error, TimeoutError):
        return CallFailed(f"{doing}: the PLC did not answer in time", reason="timeout")
    if isinstance(error, UaStatusCodeError):
        return CallFailed(f"{doing}: {error}", reason=ua.StatusCode(error.code).name)
    text = " ".join(str(error).split())
    return CallFailed(f"{doing}: {text or type(error).__name__}", reason="connection")
