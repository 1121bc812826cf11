"""The page's feed: what is kept, what is forgotten, who watches, and what it costs."""

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from prometheus_client import CollectorRegistry

from lineside.contract import (
    TRY_STATION,
    CameraSource,
    InlineSource,
    Request,
    Result,
    Tensor,
    TensorsSource,
    UrlSource,
    to_json,
    uuid7,
)
from lineside_inference.api import page, parts, problems
from lineside_inference.api.parts import EventStream
from lineside_inference.dataplane.admission import Capacity
from lineside_inference.dataplane.judged import Judged
from lineside_inference.dataplane.request_summary import summarize
from lineside_inference.errors import ImageTooLarge, ImageUndecodable
from lineside_inference.imaging.thumbnail import thumbnail
from lineside_inference.live.live_feed import LiveFeed
from lineside_inference.live.minute_counts import MINUTES, MinuteCounts, percentile
from lineside_inference.live.thumbnails import Thumbnails
from lineside_inference.settings import PageSettings
from lineside_inference.usecases.metrics import Metrics
from tests.support.clocks import ManualClock
from tests.support.image_files import plain_jpeg
from tests.support.page_events import read_events
from tests.support.waiting import HANG_S, until

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def make_feed(
    clock: Callable[[], datetime] = lambda: NOON, registry: CollectorRegistry | None = None, **bounds: int
) -> LiveFeed:
    return LiveFeed(PageSettings.model_validate(bounds), registry or CollectorRegistry(), now=clock)


def judged(
    verdict: str = "pass", *, total: float = 5.0, status: str = "ok", station: str = "s1"
) -> tuple[Request, Result]:
    request = Request.new(model="m", source=CameraSource(camera="c"), context={"station": station})
    document = {
        "id": uuid7(),
        "request_id": request.id,
        "status": status,
        "verdict": verdict,
        "reason": "because",
        "timing_ms": {"total": total},
        "context": request.context,
    }
    return request, Result.model_validate(document)


def give(feed: LiveFeed, verdict: str = "pass", image: bytes | None = None, **more) -> str:
    request, result = judged(verdict, **more)
    feed.offer(Judged(request, result, image=image), to_json(result))
    return result.id


def test_the_oldest_results_and_images_make_room() -> None:
    feed = make_feed(parts=5, images=2)
    ids = [give(feed, image=b"\xff\xd8\xff" + bytes(10)) for _ in range(8)]
    kept, more = feed.parts(limit=100)
    assert [part.result_id for part in kept] == ids[:2:-1]
    assert [part.number for part in kept] == [8, 7, 6, 5, 4]
    assert not more
    assert feed.find(ids[2]) is None
    assert [feed.image(one) is not None for one in ids] == [False] * 6 + [True] * 2


def test_bytes_are_bounded_too() -> None:
    registry = CollectorRegistry()
    feed = make_feed(registry=registry, part_bytes=2000, image_bytes=1000)
    ids = [give(feed, image=bytes(300)) for _ in range(10)]
    kept, _ = feed.parts(limit=100)
    assert 0 < len(kept) < 10
    assert sum(len(part.body) for part in kept) <= 2000
    assert sum(feed.image(one) is not None for one in ids) == 3
    large = give(feed, image=bytes(501))
    assert feed.image(large) is None
    assert json.loads(feed.find(large).body)["picture"] is False
    assert registry.get_sample_value("lineside_inference_page_dropped_total", {"what": "image"}) == 1


def test_parts_are_listed_newest_first_by_verdict_and_page_by_page() -> None:
    feed = make_feed()
    for verdict in ("pass", "fail", "pass", "unknown", "fail"):
        give(feed, verdict)
    kept, more = feed.parts(limit=2, verdicts=frozenset({"fail", "unknown"}))
    assert ([part.number for part in kept], more) == ([5, 4], True)
    kept, more = feed.parts(limit=2, verdicts=frozenset({"fail", "unknown"}), before=4)
    assert ([part.number for part in kept], more) == ([2], False)


def test_a_request_is_kept_without_its_pixels_and_numbers() -> None:
    pixels = Request.new(model="m", source=InlineSource(content_type="image/jpeg", data=bytes(5000)))
    assert summarize(pixels)["source"] == {"kind": "inline", "content_type": "image/jpeg", "bytes": 5000}
    tensor = Tensor(name="t", datatype="FP32", shape=(2,), values=[1.0, 2.0])
    numbers = Request.new(model="m", source=TensorsSource(tensors=(tensor,)))
    assert summarize(numbers)["source"]["tensors"] == [{"name": "t", "datatype": "FP32", "shape": (2,)}]


def test_a_request_is_kept_without_what_may_be_a_secret_in_its_address() -> None:
    signed = Request.new(model="m", source=UrlSource(url="http://user:word@store/a.jpg?X-Signature=0123"))
    assert summarize(signed)["source"] == {"kind": "url", "url": "http://...@store/a.jpg?..."}
    plain = Request.new(model="m", source=UrlSource(url="http://store/a.jpg"))
    assert summarize(plain)["source"] == {"kind": "url", "url": "http://store/a.jpg"}


def test_what_is_tried_on_the_page_is_no_part_of_the_line() -> None:
    feed = make_feed()
    give(feed, "fail", station=TRY_STATION)
    assert feed.parts(limit=10) == ([], False)
    assert feed.counts.since(None)["failed"] == 0


async def test_a_watcher_is_greeted_and_told_every_part() -> None:
    feed = make_feed()
    with feed.watch("me") as watcher:
        (greeting,) = await read_events(watcher)
        assert greeting[0] == "hello"
        assert greeting[2]["resumed"] is False
        result_id = give(feed, "fail")
        ((event, number, part),) = await read_events(watcher)
    assert (event, number) == ("part", f"{feed.run}.1")
    assert (part["result"]["id"], part["result"]["verdict"], part["request"]["model"]) == (result_id, "fail", "m")


async def test_who_comes_back_gets_what_was_missed() -> None:
    feed = make_feed()
    for _ in range(5):
        give(feed)
    with feed.watch("me", after=f"{feed.run}.3") as watcher:
        greeting, *missed = await read_events(watcher)
    assert greeting[2]["resumed"] is True
    assert [part["number"] for _, _, part in missed] == [4, 5]


@pytest.mark.parametrize("after", ["", "nonsense", "1", "{run}.99", "{run}.x", "{run}.0", "other.3", "{run}.²"])
async def test_who_missed_more_than_is_kept_reads_the_list_anew(after: str) -> None:
    feed = make_feed(parts=2)
    for _ in range(5):
        give(feed)
    with feed.watch("me", after=after.format(run=feed.run)) as watcher:
        events = await read_events(watcher)
    assert [event for event, _, _ in events] == ["hello"]
    assert events[0][2]["resumed"] is False


async def test_a_watcher_that_falls_behind_is_dropped_and_counted() -> None:
    registry = CollectorRegistry()
    feed = make_feed(registry=registry, backlog=3)
    with feed.watch("slow") as slow, feed.watch("quick") as quick:
        for _ in range(6):
            give(feed)
            await quick.read(0.1)
        assert slow.fell_behind.is_set()
        assert not quick.fell_behind.is_set()
        assert registry.get_sample_value("lineside_inference_page_watchers") == 1
    assert registry.get_sample_value("lineside_inference_page_watchers") == 0
    assert registry.get_sample_value("lineside_inference_page_dropped_total", {"what": "watcher"}) == 1


async def test_offering_costs_the_loop_less_than_a_tenth_of_a_millisecond() -> None:
    feed = make_feed()
    image = bytes(100_000)
    batch = [
        (Judged(request, result, image=image), to_json(result)) for request, result in (judged() for _ in range(200))
    ]
    with feed.watch("me") as watcher:

        def run() -> float:
            start = time.perf_counter()
            for one, body in batch:
                feed.offer(one, body)
            return (time.perf_counter() - start) / len(batch)

        spent = []
        for _ in range(10):
            spent.append(run())
            await watcher.read(0.1)
    assert min(spent) < 0.000_1, f"{min(spent) * 1e6:.0f} us"


def test_counts_are_by_minute_and_from_an_instant() -> None:
    clock = ManualClock(NOON)
    feed = make_feed(clock)
    give(feed, "pass")
    clock.now += timedelta(minutes=2)
    give(feed, "fail")
    give(feed, "unknown", status="failed")
    give(feed, "unknown", status="disabled")
    assert feed.counts.since(None) == {"passed": 1, "failed": 1, "unknown": 1, "disabled": 1}
    assert feed.counts.since(NOON + timedelta(minutes=1)) == {"passed": 0, "failed": 1, "unknown": 1, "disabled": 1}


def test_a_day_of_minutes_is_kept_and_a_clock_set_back_loses_nothing() -> None:
    counts = MinuteCounts()
    for minute in range(MINUTES + 60):
        counts.count("passed", NOON + timedelta(minutes=minute))
    assert counts.since(None)["passed"] == MINUTES
    counts.count("failed", NOON)
    assert counts.since(NOON + timedelta(minutes=MINUTES + 59)) == {
        "passed": 1,
        "failed": 1,
        "unknown": 0,
        "disabled": 0,
    }


def test_the_trend_has_the_p95_of_every_minute_with_parts() -> None:
    counts = MinuteCounts()
    for at, total in ((0, 10.0), (0, 20.0), (3, 7.0)):
        counts.count("passed", NOON + timedelta(minutes=at))
        counts.time(judged(total=total)[1], NOON + timedelta(minutes=at))
    trend = counts.trend(60, NOON + timedelta(minutes=3))
    assert [(minute["parts"], minute["p95_ms"]) for minute in trend] == [(2, 20.0), (1, 7.0)]
    assert counts.trend(2, NOON + timedelta(minutes=3)) == trend[1:]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([3.0], 3.0),
        ([float(value) for value in range(100)], 94.0),
        ([float(value) for value in range(20)], 18.0),
    ],
)
def test_percentile(values: list[float], expected: float | None) -> None:
    assert percentile(values, 0.95) == expected


def test_a_thumbnail_is_small_and_never_larger_than_the_image() -> None:
    small = cv2.imdecode(np.frombuffer(thumbnail(plain_jpeg(), 100, 10**6), np.uint8), cv2.IMREAD_COLOR)
    assert small.shape == (75, 100, 3)
    same = cv2.imdecode(np.frombuffer(thumbnail(plain_jpeg(50, 40), 100, 10**6), np.uint8), cv2.IMREAD_COLOR)
    assert same.shape == (40, 50, 3)


def test_a_thumbnail_is_not_made_of_a_bomb_or_of_rubbish() -> None:
    with pytest.raises(ImageTooLarge):
        thumbnail(plain_jpeg(), 100, 1000)
    with pytest.raises(ImageUndecodable):
        thumbnail(b"no image", 100, 1000)


@pytest.fixture
def served():
    """The routes over ASGI, without a socket, and their feed."""
    feed = make_feed(images=5)
    app = FastAPI()
    problems.install(app, Metrics(CollectorRegistry(), []))
    workers = ThreadPoolExecutor(1)
    thumbnails = Thumbnails(workers, Capacity(10**9, kept=0), max_pixels=10**6)
    app.include_router(parts.router(feed, thumbnails, is_draining=lambda: False))
    app.include_router(page.router())
    yield feed, AsyncClient(transport=ASGITransport(app), base_url="http://test")
    workers.shutdown()


async def test_the_routes_of_parts(served) -> None:
    feed, client = served
    async with client:
        result_id = give(feed, "fail", image=plain_jpeg())
        bare = give(feed)
        listed = (await client.get("/v1/parts", params={"verdict": "fail,unknown"})).json()
        assert [part["result"]["id"] for part in listed["parts"]] == [result_id]
        assert (listed["run"], listed["more"]) == (feed.run, False)
        assert (await client.get(f"/v1/parts/{result_id}")).json() == listed["parts"][0]
        image = await client.get(f"/v1/parts/{result_id}/image")
        assert (image.headers["content-type"], image.content) == ("image/jpeg", plain_jpeg())
        small = await client.get(f"/v1/parts/{result_id}/image", params={"width": 64})
        assert len(small.content) < len(image.content)
        assert (await client.get(f"/v1/parts/{result_id}/image", params={"width": 64})).content == small.content
        assert (await client.get("/v1/counts")).json()["failed"] == 1
        for path, code in (
            ("/v1/parts/none", "part-unknown"),
            (f"/v1/parts/{bare}/image", "image-unknown"),
            ("/v1/parts?verdict=good", "message-invalid"),
            ("/v1/parts?limit=0", "message-invalid"),
            ("/v1/parts?before=x", "message-invalid"),
        ):
            answer = await client.get(path)
            assert answer.json()["code"] == code
            assert answer.status_code in {404, 422}


async def test_what_cannot_be_shown_is_said_so(served) -> None:
    feed, client = served
    async with client:
        result_id = give(feed, image=b"rubbish")
        assert (await client.get(f"/v1/parts/{result_id}/image")).status_code == 404
        assert (await client.get(f"/v1/parts/{result_id}/image?width=64")).status_code == 404
        huge = give(feed, image=plain_jpeg(2000, 1000))
        assert "2000 x 1000" in (await client.get(f"/v1/parts/{huge}/image?width=64")).json()["detail"]


async def test_the_page_and_its_files_are_served_and_nothing_else(served) -> None:
    _, client = served
    async with client:
        index = await client.get("/")
        assert index.headers["content-type"].startswith("text/html")
        for piece in ("src=", "href="):
            assert "http" not in "".join(part[:8] for part in index.text.split(piece)[1:])
        script = await client.get("/page/js/main.js")
        assert script.headers["content-type"].startswith("text/javascript")
        again = await client.get("/page/js/main.js", headers={"if-none-match": script.headers["etag"]})
        assert again.status_code == 304
        for path in ("/page/../feed.py", "/page/%2e%2e/feed.py", "/page/js", "/page/none.js"):
            assert (await client.get(path)).status_code == 404


class Line:
    """The ASGI ends of one stream: what was sent, and a switch to go away or to stop reading."""

    def __init__(self) -> None:
        self.sent: list[dict] = []
        self.gone = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()

    async def receive(self) -> dict:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict) -> None:
        await self.reads.wait()
        self.sent.append(message)


async def stream(feed: LiveFeed, line: Line, is_draining: Callable[[], bool] = lambda: False) -> None:
    await EventStream(feed, "me", None, is_draining)({"type": "http"}, line.receive, line.send)


async def test_a_stream_ends_when_its_client_goes() -> None:
    feed, line = make_feed(), Line()
    running = asyncio.ensure_future(stream(feed, line))
    await until(lambda: len(line.sent) == 2)
    give(feed)
    await until(lambda: len(line.sent) == 3)
    assert line.sent[0]["status"] == 200
    line.gone.set()
    await asyncio.wait_for(running, HANG_S)
    assert not feed.is_full


async def test_a_stream_ends_when_its_client_stops_reading() -> None:
    feed, line = make_feed(backlog=2), Line()
    running = asyncio.ensure_future(stream(feed, line))
    await until(lambda: len(line.sent) == 2)
    line.reads.clear()
    for _ in range(5):
        give(feed)
        await asyncio.sleep(0)
    await asyncio.wait_for(running, HANG_S)


async def test_a_stream_ends_in_order_when_the_service_stops() -> None:
    feed, line = make_feed(), Line()
    stopping = []
    running = asyncio.ensure_future(stream(feed, line, lambda: bool(stopping)))
    await until(lambda: len(line.sent) == 2)
    stopping.append(True)
    await asyncio.wait_for(running, HANG_S)
    assert line.sent[-1] == {"type": "http.response.body", "body": b""}


async def test_only_so_many_may_watch(served) -> None:
    feed, client = served
    watching = [feed.watch(str(number)) for number in range(feed.settings.watchers)]
    for one in watching:
        one.__enter__()
    async with client:
        answer = await client.get("/v1/events")
    assert (answer.status_code, answer.json()["code"]) == (503, "watchers-full")
    assert answer.headers["retry-after"] == "10"
    for one in watching:
        one.__exit__(None, None, None)


async def test_a_thumbnail_waits_for_memory_as_every_image_does() -> None:
    feed, memory = make_feed(images=5), Capacity(100, kept=0)
    app, workers = FastAPI(), ThreadPoolExecutor(1)
    thumbnails = Thumbnails(workers, memory, max_pixels=10**6)
    app.include_router(parts.router(feed, thumbnails, is_draining=lambda: False))
    result_id = give(feed, "fail", image=plain_jpeg())
    assert memory.take(100, line=False)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        asking = asyncio.create_task(client.get(f"/v1/parts/{result_id}/image?width=64"))
        await until(lambda: memory.waiting(line=False))
        memory.give(100, line=False)
        assert (await asking).status_code == 200
    workers.shutdown()
    await until(lambda: not memory.used)
