"""Keeps several Publish requests waiting at the server, so that it can always send a notification at once."""

import asyncio
from collections.abc import Callable

import structlog
from asyncua import ua

from lineside_opcua_bridge.link.metrics import LinkMetrics
from lineside_opcua_bridge.link.publishing import Malformed, Publication, decode
from lineside_opcua_bridge.link.session import CallFailed, Session

log = structlog.get_logger("lineside.opcua_bridge.publish_loop")

_SPARE = 2
"""Requests beyond one for each subscription."""
_MAX_REQUESTS = 20


class PublishLoop:
    """The Publish requests of one session; `take` gets each response, which the next request acknowledges.

    `stop` must be called. A failure loses the session; a server that reports too many requests gets fewer.
    """

    def __init__(self, session: Session, take: Callable[[Publication], None], metrics: LinkMetrics) -> None:
        self._session = session
        self._take = take
        self._metrics = metrics
        self._max_requests = _MAX_REQUESTS
        self._tasks: set[asyncio.Task[None]] = set()
        self._unacknowledged: list[ua.SubscriptionAcknowledgement] = []

    def serve(self, subscriptions: int) -> None:
        """Keep as many requests waiting as this many subscriptions need."""
        while len(self._tasks) < min(subscriptions + _SPARE, self._max_requests):
            task = asyncio.create_task(self._publish(), name=f"publish {len(self._tasks) + 1}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        self._metrics.publish_requests.set(len(self._tasks))

    def stop(self) -> None:
        """Send no more."""
        for task in self._tasks:
            task.cancel()
        self._metrics.publish_requests.set(0)

    async def _publish(self) -> None:
        while not self._session.lost.done():
            acknowledged, self._unacknowledged = self._unacknowledged, []
            try:
                publication = decode(await self._session.publish(acknowledged))
            except Malformed as error:
                self._session.lose(error.what)
                return
            except CallFailed as failed:
                if failed.reason == "BadTimeout":
                    continue
                if failed.reason == "BadTooManyPublishRequests" and len(self._tasks) > 1:
                    self._max_requests = len(self._tasks) - 1
                    return
                self._session.lose(failed.what)
                return
            self._take(publication)
            if not publication.message.is_keepalive:
                self._unacknowledged.append(
                    ua.SubscriptionAcknowledgement(
                        SubscriptionId=ua.UInt32(publication.subscription),
                        SequenceNumber=ua.UInt32(publication.message.number),
                    )
                )

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.critical("a publish loop broke", exc_info=error)
            self._session.lose(f"publishing: {error!r}")
        self._metrics.publish_requests.set(len(self._tasks))
