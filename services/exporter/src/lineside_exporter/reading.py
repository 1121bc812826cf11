"""Reads one source for ever: with its time-out, its connection's state, and its readings put into the cache."""

import asyncio
import random
import time

import httpx
import structlog

from lineside.connections import describe
from lineside.errors import LinesideError
from lineside.service import Service
from lineside_exporter.exposition import Bounds, Parser, render
from lineside_exporter.reading_cache import ReadingCache
from lineside_exporter.sources.source import Reading, Source

log = structlog.get_logger("lineside.exporter")

FIRST_S = 0.5
LONGEST_S = 5.0


class Reader:
    """Reads one source into the cache, and keeps the state of its connection."""

    def __init__(self, source: Source, service: Service, cache: ReadingCache, bounds: Bounds) -> None:
        self.source = source
        self._cache = cache
        self._connection = service.connection(
            source.name, source.target, required=False, first_s=FIRST_S, longest_s=LONGEST_S
        )
        self._parser = Parser(bounds)
        self._fault = ""
        cache.add(source)

    async def run(self) -> None:
        """Read for ever; a reading goes into the cache, and is removed from it when the source is away.

        The second reading comes at any time within the period: not all sources are read at the same instant.
        """
        period_s = self.source.period_s * random.random()  # noqa: S311 - a wait, not a secret
        while True:
            if not self._connection.is_online:
                self._connection.connecting()
            began = time.monotonic()
            problem = await self._read(began)
            if problem is None:
                self._connection.online()
                await asyncio.sleep(max(0.0, began + period_s - time.monotonic()))
                period_s = self.source.period_s
            else:
                self._cache.clear(self.source.name)
                await asyncio.sleep(self._connection.backoff(problem))

    async def _read(self, began: float) -> str | None:
        """Read once; return why it cannot be done, None where it was."""
        try:
            async with asyncio.timeout(self.source.timeout_s):
                said = await self.source.read()
                reading = said if isinstance(said, Reading) else await asyncio.to_thread(render, said, self._parser)
        except TimeoutError:
            return f"no answer within {self.source.timeout_s:g} s"
        except LinesideError as error:
            return error.what
        except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
            return _said(error)
        except Exception as error:  # a source's fault costs that source, never the scrape
            problem = describe(error)
            if self._fault != problem:
                log.exception("a source fails in a way of its own", source=self.source.name)
            self._fault = problem
            return problem
        self._cache.put(self.source.name, reading, began=began)
        self._fault = ""
        return None


def _said(error: BaseException) -> str:
    """Return what the system said, where a library has wrapped it up, else what the error says."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return describe(error)
