"""GET /v1/history: every part on this box, filtered, by pages; one of them; and how many have each cause or label."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Response

from lineside.errors import LinesideError
from lineside_inference.api import openapi
from lineside_inference.api.history_formats import CSV, JSON_LINES, as_csv, as_json_lines
from lineside_inference.api.problems import Problem
from lineside_inference.history.query import By, HistoryQuery, Match
from lineside_inference.history.reader import HistoryReader, OutOfTime, Page
from lineside_inference.live.live_feed import LiveFeed

MOST = 1000
"""Most parts of one page."""
MAX_TEXT = 500
_WAITING = 8
_VERDICTS = frozenset({"pass", "fail", "unknown"})
_MAX_NUMBER = 2**63 - 1
_NEXT = "Lineside-Next"
_COMPLETE, _PARTS = "Lineside-Complete", "Lineside-Parts"
T = TypeVar("T")
_REFUSED = openapi.refusals(
    {
        404: "No history is kept here, or it has no such part (any more).",
        429: "Too many ask at once; see Retry-After.",
        503: "The history cannot be read, or its disk is too slow for one query.",
    }
)
_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One page, newest first. Of CSV and JSON lines the header `Lineside-Next` has the cursor of the "
        "next page, `Lineside-Parts` how many there are, and `Lineside-Complete` whether there was time for all.",
        "content": {"text/csv": {"schema": {"type": "string"}}, JSON_LINES: {"schema": {"type": "string"}}},
    }
}


def history_query(
    start: Annotated[
        datetime | None, Query(alias="from", description="From this instant on; without a zone it is UTC.")
    ] = None,
    end: Annotated[datetime | None, Query(alias="to", description="Before this instant.")] = None,
    station: Annotated[str | None, Query(max_length=MAX_TEXT, description="Only of this station.")] = None,
    part_id: Annotated[
        str | None, Query(min_length=1, max_length=MAX_TEXT, description="Only of this part, as `match` says.")
    ] = None,
    match: Annotated[
        Match, Query(description="Whether part_id is the whole id, its beginning, or anything in it.")
    ] = "exact",
    label: Annotated[str | None, Query(max_length=MAX_TEXT, description="Only with a finding of this label.")] = None,
    verdict: Annotated[str | None, Query(description="Only these: pass, fail, unknown, with commas.")] = None,
    cause: Annotated[str | None, Query(max_length=MAX_TEXT, description="Only of this cause: ok, deadline.")] = None,
    model: Annotated[str | None, Query(max_length=MAX_TEXT, description="Only of this model.")] = None,
    version: Annotated[str | None, Query(max_length=MAX_TEXT, description="Only by this version.")] = None,
    confidence_from: Annotated[float | None, Query(description="Only with at least this confidence.")] = None,
    confidence_to: Annotated[float | None, Query(description="Only with at most this confidence.")] = None,
) -> HistoryQuery:
    """Read the filters of a query; raises Problem."""
    wanted = frozenset(verdict.split(",")) if verdict else frozenset()
    if not wanted <= _VERDICTS:
        detail = f"verdict {verdict!r:.80} is not known: give pass, fail or unknown, with commas"
        raise Problem(422, "message-invalid", detail)
    return HistoryQuery(
        start=_ms(start),
        end=_ms(end),
        station=station,
        part_id=part_id,
        match=match,
        label=label,
        verdicts=wanted,
        cause=cause,
        model=model,
        version=version,
        confidence_from=confidence_from,
        confidence_to=confidence_to,
    )


def router(reader: HistoryReader | None, feed: LiveFeed, workers: Executor) -> APIRouter:
    """Return the routes; one query at a time is worked out, in a thread beside the line's."""
    routes = APIRouter()
    ask = _Asker(reader, workers)

    @routes.get("/v1/history", response_model=None, responses={**_FORMATS, **_REFUSED})
    async def list_history(
        query: Annotated[HistoryQuery, Depends(history_query)],
        limit: Annotated[int, Query(ge=1, le=MOST, description="Most parts to answer.")] = 100,
        cursor: Annotated[int | None, Query(ge=1, le=_MAX_NUMBER, description="`next` of the page before.")] = None,
        format_: Annotated[Literal["json", "csv", "jsonl"], Query(alias="format", description="How.")] = "json",
    ) -> Response | dict[str, Any]:
        """Answer the parts that the box remembers, newest first, by pages: `next` is the cursor of the next one.

        A page that took its time ends before it is full, with `complete` false; its `next` goes on.
        """
        asked = replace(query, limit=limit, before=cursor)
        if format_ == "json":
            return await ask.of(lambda reader: asdict(reader.page(asked)))
        render, kind = (as_csv, CSV) if format_ == "csv" else (as_json_lines, JSON_LINES)

        def work(reader: HistoryReader) -> tuple[Page, bytes]:
            page = reader.page(asked)
            return page, render(page.parts)

        page, body = await ask.of(work)
        headers = {_COMPLETE: "true" if page.complete else "false", _PARTS: str(len(page.parts))}
        headers |= {_NEXT: str(page.next)} if page.next is not None else {}
        return Response(body, media_type=kind, headers=headers)

    @routes.get("/v1/pareto", response_model=None, responses=_REFUSED)
    async def pareto(
        query: Annotated[HistoryQuery, Depends(history_query)],
        by: Annotated[By, Query(description="What is counted; a part with several labels counts for each.")] = "label",
    ) -> dict[str, Any]:
        """Count the parts that a query of the history finds by label, cause, ..., most first."""
        return await ask.of(lambda reader: {"by": by, **asdict(reader.counts(query, by))})

    @routes.get("/v1/history/{request_id}", response_model=None, responses=_REFUSED)
    async def one_of_history(
        request_id: Annotated[str, Path(description="Id of the part's request.", max_length=128)],
    ) -> dict[str, Any]:
        """Answer all that the box remembers of one part, and where its image is."""
        part = await ask.of(lambda reader: reader.find(request_id))
        if part is None:
            raise Problem(404, "part-unknown", f"Part {request_id!r:.150} is not in the history (any more).")
        here = f"/v1/parts/{request_id}/image" if _is_shown(feed, request_id) else None
        kept = f"/v1/capture/{request_id}" if part["evidence_id"] is not None else None
        return {**part, "image": {"here": here, "evidence": kept}}

    return routes


class _Asker:
    """Asks the reader in a thread, one query after the other; more than a few that wait are sent away."""

    def __init__(self, reader: HistoryReader | None, workers: Executor) -> None:
        self._reader = reader
        self._workers = workers
        self._one_at_a_time = asyncio.Semaphore(1)
        self._waiting = 0

    async def of(self, work: Callable[[HistoryReader], T]) -> T:
        """Return what the work gives; raises Problem."""
        reader = self._reader
        if reader is None:
            raise Problem(404, "history-off", "No history is kept here: inference.history.folder is not set.")
        if self._waiting >= _WAITING:
            detail = f"{self._waiting} queries of the history wait already; ask again in a moment"
            raise Problem(429, "history-busy", detail, headers={"Retry-After": "2"})
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                return await asyncio.get_running_loop().run_in_executor(self._workers, work, reader)
        except OutOfTime:
            detail = "the history's disk is too slow for one step of a query: see inference.history.query_s"
            raise Problem(503, "history-slow", detail, headers={"Retry-After": "10"}) from None
        except (OSError, sqlite3.Error, LinesideError) as error:
            raise Problem(503, "history-unreadable", f"The history cannot be read: {error}") from None
        finally:
            self._waiting -= 1


def _is_shown(feed: LiveFeed, request_id: str) -> bool:
    part = feed.find(request_id)
    return part is not None and part.request_id == request_id and feed.image(request_id) is not None


def _ms(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)
