"""`GET /metrics`: the last reading of every source, and the exporter's own metrics, as one text; it waits for none."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response

from lineside_exporter.exposition import CONTENT_TYPE, Bounds, Parser, join, render
from lineside_exporter.reading_cache import ReadingCache
from lineside_exporter.sources.source import Family

OWN = "exporter"
_MAX = 100_000


class Scrape:
    """Joins the texts; in a thread of its own, which no source can occupy."""

    def __init__(self, registry: CollectorRegistry, cache: ReadingCache) -> None:
        self._registry = registry
        self._cache = cache
        self._parser = Parser(Bounds(series=_MAX, label_characters=_MAX), ("service", OWN))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scrape")
        cache.reserve({family.name: family.kind for family in self._own()})

    async def answer(self, _request: Request) -> Response:
        """Answer one scrape."""
        text = await asyncio.get_running_loop().run_in_executor(self._thread, self.text)
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    def text(self) -> bytes:
        """Return the metrics of the whole box."""
        return join([self._own(), *self._cache.readings()])

    def _own(self) -> list[Family]:
        return render(self._registry.collect(), self._parser).families
