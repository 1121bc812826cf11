"""The service calls that create, change, resume and transfer subscriptions and monitored items."""

from collections.abc import Sequence
from functools import partial

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds

from lineside_opcua_bridge.link.events import filter_of
from lineside_opcua_bridge.link.rates import batches, queue_for
from lineside_opcua_bridge.link.session import CallFailed, Session
from lineside_opcua_bridge.link.subscriber import ItemRequest
from lineside_opcua_bridge.settings import OpcuaBridgeSettings

_MIN_LIFETIME_KEEPALIVES = 3
"""The lifetime count is at least three times the keep-alive count (OPC 10000-4, 5.14.2.2)."""


async def create_subscription(
    session: Session, interval_ms: float, settings: OpcuaBridgeSettings
) -> tuple[int, float, float]:
    """Return a new subscription's id, its publishing interval in ms, and the seconds between keep-alives."""
    keepalives, lifetime = _counts(interval_ms, settings)
    parameters = ua.CreateSubscriptionParameters(
        RequestedPublishingInterval=interval_ms,
        RequestedLifetimeCount=lifetime,
        RequestedMaxKeepAliveCount=keepalives,
        MaxNotificationsPerPublish=ua.UInt32(0),
        PublishingEnabled=True,
    )
    created = await session.call("subscribing", lambda calls: calls.create_subscription(parameters, _ignore))
    return int(created.SubscriptionId), *_granted(created)


async def shorten_interval(
    session: Session, subscription: int, interval_ms: float, settings: OpcuaBridgeSettings
) -> tuple[float, float]:
    """Ask for a shorter publishing interval; return it as granted in ms, and the seconds between keep-alives."""
    keepalives, lifetime = _counts(interval_ms, settings)
    parameters = ua.ModifySubscriptionParameters(
        SubscriptionId=ua.UInt32(subscription),
        RequestedPublishingInterval=interval_ms,
        RequestedLifetimeCount=lifetime,
        RequestedMaxKeepAliveCount=keepalives,
        MaxNotificationsPerPublish=ua.UInt32(0),
    )
    return _granted(await session.call("subscribing", lambda calls: calls.update_subscription(parameters)))


async def create_items(
    session: Session, subscription: int, items: Sequence[tuple[int, ItemRequest]], interval_ms: float
) -> list[ua.MonitoredItemCreateResult]:
    """Have tags and events request, each under its client handle; raises CallFailed that names the first refused."""
    results: list[ua.MonitoredItemCreateResult] = []
    for batch in batches(items, session.limits.monitored):
        parameters = ua.CreateMonitoredItemsParameters(
            SubscriptionId=ua.UInt32(subscription),
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ItemsToCreate=[_item(handle, request, interval_ms) for handle, request in batch],
        )
        results += await session.call("subscribing", partial(UaSession.create_monitored_items, params=parameters))
    for (_handle, request), result in zip(items, results, strict=False):
        if not result.StatusCode.is_good():
            name = result.StatusCode.name
            raise CallFailed(f"subscribing: {request.role} cannot be request ({name})", reason=name)
    if len(results) != len(items):
        raise CallFailed(f"subscribing to {len(items)} tags gave {len(results)} answers", reason="mismatch")
    return results


async def delete_items(session: Session, subscription: int, items: Sequence[int]) -> None:
    """Have items request no more; raises CallFailed."""
    for batch in batches(items, session.limits.monitored):
        parameters = ua.DeleteMonitoredItemsParameters(
            SubscriptionId=ua.UInt32(subscription), MonitoredItemIds=[ua.UInt32(item) for item in batch]
        )
        await session.call("unsubscribing", partial(UaSession.delete_monitored_items, params=parameters))


async def resume_or_transfer(session: Session, subscriptions: Sequence[int]) -> bool:
    """Return whether all these subscriptions continue in this session, transferred to it if it is a new one.

    Raises CallFailed where the session is lost meanwhile.
    """
    ids = [ua.UInt32(each) for each in subscriptions]
    try:
        if session.is_resumed:
            # The one service that takes subscription ids, changes nothing here, and returns a status for each.
            mode = ua.SetPublishingModeParameters(PublishingEnabled=True, SubscriptionIds=ids)
            statuses = await session.call("resuming", lambda calls: calls.set_publishing_mode(mode))
        else:
            move = ua.TransferSubscriptionsParameters(SubscriptionIds=ids, SendInitialValues=False)
            results = await session.call("transferring", lambda calls: calls.transfer_subscriptions(move))
            statuses = [result.StatusCode for result in results]
    except CallFailed:
        if session.lost.done():
            raise
        return False
    return len(statuses) == len(ids) and all(status.is_good() for status in statuses)


def _counts(interval_ms: float, settings: OpcuaBridgeSettings) -> tuple[ua.UInt32, ua.UInt32]:
    """Return the keep-alive count and the lifetime count, in publishing intervals."""
    interval = max(interval_ms, 1.0)
    keepalives = max(1, round(settings.keepalive_ms / interval))
    return ua.UInt32(keepalives), ua.UInt32(
        max(_MIN_LIFETIME_KEEPALIVES * keepalives, round(settings.lifetime_s * 1000 / interval))
    )


def _granted(result: ua.CreateSubscriptionResult | ua.ModifySubscriptionResult) -> tuple[float, float]:
    interval = float(result.RevisedPublishingInterval)
    return interval, max(interval, 1.0) * max(1, int(result.RevisedMaxKeepAliveCount)) / 1000


def _item(handle: int, request: ItemRequest, interval_ms: float) -> ua.MonitoredItemCreateRequest:
    is_event = request.event is not None
    sampling = 0.0 if is_event else request.sampling_ms
    item = ua.MonitoredItemCreateRequest()
    item.ItemToMonitor = ua.ReadValueId(
        NodeId=request.node, AttributeId=AttributeIds.EventNotifier if is_event else AttributeIds.Value
    )
    item.MonitoringMode = ua.MonitoringMode.Reporting
    item.RequestedParameters = ua.MonitoringParameters(
        ClientHandle=ua.UInt32(handle),
        SamplingInterval=sampling,
        Filter=filter_of(request.event) if request.event else None,
        QueueSize=ua.UInt32(queue_for(sampling, interval_ms)),
        DiscardOldest=True,
    )
    return item


def _ignore(_result: object) -> None:
    """Stand in for the callback of asyncua's own publish loop, which does not run here."""
