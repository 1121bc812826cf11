"""The metrics of a service, or of Triton: its own `/metrics`, each series with the label `service`."""

import asyncio
from dataclasses import dataclass

import httpx

from lineside_exporter.errors import NoMetrics
from lineside_exporter.exposition import Parser
from lineside_exporter.sources.http_source import fetch
from lineside_exporter.sources.source import Reading

_AN_EXPORTERS = "lineside_exporter_"


@dataclass
class ServiceSource:
    """One service's `/metrics`; `target` is its address in full."""

    name: str
    target: str
    client: httpx.AsyncClient
    period_s: float
    timeout_s: float
    body_bytes: int
    parser: Parser
    auth: httpx.Auth | None = None

    async def read(self) -> Reading:
        """Return what it says of itself; raises NoMetrics, httpx.HTTPError."""
        body = await fetch(self.client, self.target, max_bytes=self.body_bytes, auth=self.auth)
        return await asyncio.to_thread(self._families, body)

    def _families(self, body: bytes) -> Reading:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise NoMetrics(f"{self.target} answered no UTF-8: {body[:80]!r}") from None
        reading = self.parser.parse(text)
        if any(family.name.startswith(_AN_EXPORTERS) for family in reading.families):
            # Read by another, or by itself, its series would come around again and again, each time with more labels.
            raise NoMetrics(f"{self.target} is an exporter's own; Prometheus reads each exporter by itself")
        if not reading.families and not reading.dropped:
            raise NoMetrics(f"{self.target} answered no metric at all")
        return reading
