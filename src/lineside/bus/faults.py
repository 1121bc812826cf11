"""Unexpected errors of a message's handler: they cost that message, never the service.

The message is acknowledged, since it would fail again after each restart, counted, and logged with its beginning. What
a handler expects, such as a message that cannot be parsed, it answers itself.
"""

from collections.abc import Callable

import structlog
from prometheus_client import CollectorRegistry, Counter

from lineside.bus import Message, Subscription
from lineside.secrecy import excerpt

log = structlog.get_logger("lineside.bus")


class MessageFaults:
    """Counts what fails, as `lineside_<service>_bus_failed_messages_total`; `service` is the metric's word."""

    def __init__(self, service: str, registry: CollectorRegistry | None) -> None:
        self._failed = Counter(
            f"lineside_{service}_bus_failed_messages_total",
            "Messages whose handling failed unforeseen; each was acknowledged and is in the log.",
            ["topic"],
            registry=registry,
        )

    async def each(self, messages: Subscription, take: Callable[[Message], None]) -> None:
        """Hand each message of a topic to `take` and acknowledge it, for ever."""
        async for message in messages:
            try:
                take(message)
            except Exception as error:  # noqa: BLE001 - that is its purpose
                self.failed(message, error)
            message.ack()

    def failed(self, message: Message, error: BaseException) -> None:
        """Count, log and acknowledge a message whose handler failed."""
        self._failed.labels(message.topic).inc()
        log.critical(
            "a message could not be handled; it is let go",
            topic=message.topic,
            bytes=len(message.payload),
            excerpt=excerpt(message.payload),
            exc_info=error,
        )
        message.ack()
