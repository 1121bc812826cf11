"""Metrics of the link: what arrived, what is missing and why; their names are a public contract.

The values of a tag are those that arrived plus those that are reported here as lost. No label names a tag: a plant has
thousands.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge

_PREFIX = "lineside_opcua_bridge"


class LinkMetrics:
    """Counters of values and messages, gauges of subscriptions and items."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{_PREFIX}_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"{_PREFIX}_{name}", text, registry=registry)

        self.sessions = counter(
            "sessions_total",
            "Sessions by how the subscriptions went on: new (all anew), resumed (same session), transferred.",
            "how",
        )
        self.values = counter("values_total", "Values and events that arrived.")
        self.messages = counter(
            "messages_total",
            "Notification messages: data, keepalive, repeated (by the server, after a gap).",
            "kind",
        )
        self.lost_messages = counter(
            "lost_messages_total", "Notification messages that never came and that the server could not repeat."
        )
        self.overflows = counter(
            "server_overflow_total", "Values that came with the mark that the server dropped some before.", "trigger"
        )
        self.subscriptions = gauge("subscriptions", "Subscriptions at the server.")
        self.items = gauge("monitored_items", "Tags and events that are watched.")
        self.short_queues = gauge(
            "short_queues", "Watched tags for which the server keeps fewer values than come in a publishing interval."
        )
        self.publish_requests = gauge("publish_requests", "Publish requests that wait at the server.")
