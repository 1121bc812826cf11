"""Metrics of security; their names are a public contract."""

from collections.abc import Callable, Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lineside.contract import utc_now
from lineside_opcua_bridge.security.errors import SecurityError
from lineside_opcua_bridge.security.own_certificate import CertificateSpec, OwnCertificates
from lineside_opcua_bridge.security.store import CertificateStore
from lineside_opcua_bridge.settings.access import AccessSettings


class SecurityMetrics(Collector):
    """Whether the channel is secured, and how long the own certificates last; read from the files at each scrape."""

    def __init__(self, access: AccessSettings, now: Callable[[], datetime] = utc_now) -> None:
        self._access = access
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; days that cannot be read are absent."""
        insecure = self._access.security.policy == "none"
        yield GaugeMetricFamily(
            "lineside_opcua_bridge_insecure",
            "1 where nothing to or from the PLC is signed or encrypted.",
            value=float(insecure),
        )
        days = GaugeMetricFamily(
            "lineside_opcua_bridge_certificate_days",
            "Days to the end of the bridge's own certificate; next is a renewed one that the PLC does not accept yet.",
            labels=["certificate"],
        )
        try:
            present = (
                []
                if insecure
                else OwnCertificates(CertificateStore(self._access.security.pki_dir), CertificateSpec("")).present()
            )
        except SecurityError:
            present = []
        for kind in ("own", "next"):
            ends = [one.days(self._now()) for one in present if one.is_next == (kind == "next")]
            if ends:
                days.add_metric([kind], max(ends))
        yield days


def register_metrics(registry: CollectorRegistry, access: AccessSettings) -> None:
    """Register `lineside_opcua_bridge_insecure` and `lineside_opcua_bridge_certificate_days{certificate}`."""
    registry.register(SecurityMetrics(access))
