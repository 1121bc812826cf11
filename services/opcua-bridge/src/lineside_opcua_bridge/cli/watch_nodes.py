"""`lineside opcua watch`: prints the notifications of a subscription, and where the server dropped values."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds

from lineside.contract import utc_now
from lineside_opcua_bridge.cli.tables import show, show_json
from lineside_opcua_bridge.cli.variables import as_text, jsonable, moment, status_name
from lineside_opcua_bridge.finding.find import FoundNode, find_all
from lineside_opcua_bridge.link.bulk_decode import Change
from lineside_opcua_bridge.link.publishing import decode
from lineside_opcua_bridge.link.rates import batches
from lineside_opcua_bridge.link.session import CallFailed, Session
from lineside_opcua_bridge.settings import OpcuaBridgeSettings

_QUEUE = 100
_KEEPALIVE_S = 1.0
_LIFETIME_KEEPALIVES = 30
_MIN_SILENCE_S = 5.0
_OVERFLOW = 0x480
"""InfoType DataValue with the overflow bit (OPC 10000-4, 7.39.1)."""


async def watch(
    session: Session,
    texts: Sequence[str],
    settings: OpcuaBridgeSettings,
    *,
    seconds: float | None,
    count: int | None,
    as_json: bool,
) -> None:
    """Print values of every node that the texts name; raises LinesideError, also for a lost link."""
    found = [each for text in texts for each in await find_all(session, text)]
    subscription, silent_s = await _subscribe(session, found, settings)
    left = count
    try:
        async with asyncio.timeout(seconds):
            async for change in _changes(session, subscription, silent_s):
                _print(session, found[change[0]], change, as_json=as_json)
                left = None if left is None else left - 1
                if left == 0:
                    return
    except TimeoutError:  # `seconds` are over
        return


def _print(session: Session, found: FoundNode, change: Change, *, as_json: bool) -> None:
    _handle, value, code, source, server = change
    overflow = code & _OVERFLOW == _OVERFLOW
    if as_json:
        said = {
            "path": found.path,
            "node": found.text,
            "value": jsonable(value, session.namespaces),
            "status": status_name(code),
            "overflow": overflow,
            "source": moment(source),
            "server": moment(server),
            "received": moment(utc_now()),
        }
        show_json(said, indent=None)
        return
    when = moment(source) or "no source time"
    shown = as_text(value, session.namespaces)
    lost = "  (the server dropped values before this one)" if overflow else ""
    show(f"{when:24}  {status_name(code):8}  {found.path or found.text}  {shown}{lost}\n")


async def _changes(session: Session, subscription: int, silent_s: float) -> AsyncIterator[Change]:
    acknowledged: list[ua.SubscriptionAcknowledgement] = []
    while True:
        try:
            async with asyncio.timeout(silent_s):
                body = await session.publish(acknowledged)
        except TimeoutError:
            raise CallFailed(f"no sign of life from the server for {silent_s:g} s", reason="timeout") from None
        message = decode(body).message
        if message.ended:
            raise CallFailed(f"the server ended the subscription: {message.ended}", reason=message.ended)
        acknowledged = (
            []
            if message.is_keepalive
            else [ua.SubscriptionAcknowledgement(ua.UInt32(subscription), ua.UInt32(message.number))]
        )
        for change in message.changes:
            yield change


async def _subscribe(session: Session, found: Sequence[FoundNode], settings: OpcuaBridgeSettings) -> tuple[int, float]:
    """Return the subscription, and for how many seconds it may be silent; a node's handle is its index in `found`."""
    keepalives = max(1, round(_KEEPALIVE_S * 1000 / max(settings.publishing_interval_ms, 1.0)))
    asked = ua.CreateSubscriptionParameters(
        RequestedPublishingInterval=settings.publishing_interval_ms,
        RequestedLifetimeCount=ua.UInt32(_LIFETIME_KEEPALIVES * keepalives),
        RequestedMaxKeepAliveCount=ua.UInt32(keepalives),
        MaxNotificationsPerPublish=ua.UInt32(0),
        PublishingEnabled=True,
    )
    created = await session.call("subscribing", lambda calls: calls.create_subscription(asked, _ignore))
    subscription = int(created.SubscriptionId)
    items = [(each, _item(each, handle, settings)) for handle, each in enumerate(found)]
    for batch in batches(items, session.limits.monitored):
        statuses = await _monitor(session, subscription, [item for _each, item in batch])
        for (each, _asked), status in zip(batch, statuses, strict=True):
            if not status.is_good():
                raise CallFailed(f"{each.path or each.text} cannot be watched: {status.name}", reason=status.name)
    keepalive_s = float(created.RevisedPublishingInterval) * int(created.RevisedMaxKeepAliveCount) / 1000
    return subscription, max(3 * keepalive_s, _MIN_SILENCE_S)


async def _monitor(
    session: Session, subscription: int, items: list[ua.MonitoredItemCreateRequest]
) -> list[ua.StatusCode]:
    asked = ua.CreateMonitoredItemsParameters(
        SubscriptionId=ua.UInt32(subscription),
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        ItemsToCreate=items,
    )
    results = await session.call("subscribing", lambda calls: calls.create_monitored_items(asked))
    return [result.StatusCode for result in results]


def _item(found: FoundNode, handle: int, settings: OpcuaBridgeSettings) -> ua.MonitoredItemCreateRequest:
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=found.node, AttributeId=AttributeIds.Value),
        MonitoringMode=ua.MonitoringMode.Reporting,
        RequestedParameters=ua.MonitoringParameters(
            ClientHandle=ua.UInt32(handle),
            SamplingInterval=settings.sampling_interval_ms,
            QueueSize=ua.UInt32(_QUEUE),
            DiscardOldest=True,
        ),
    )


def _ignore(_result: ua.PublishResult) -> None:
    """Stand in for the callback of asyncua's own publish loop; `_changes` publishes."""
