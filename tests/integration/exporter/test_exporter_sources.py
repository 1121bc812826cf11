"""The exporter as a process with peers that answer, fail, are slow, are away, or answer something wrong."""

import asyncio
import gzip
from pathlib import Path

import pytest

from tests.support.exporter_rig import (
    GOOD,
    Behaviour,
    Changing,
    answers,
    exporting,
    floods,
    hangs,
    peer,
    resets,
    trickles,
    until,
)

BOMB = gzip.compress(b"peer_value 42\n" * 1_000_000)


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (hangs, "no answer within 3 s"),
        (trickles, "no answer within 3 s"),
        (resets, "Connection reset by peer"),
        (floods, "sent more than 262144 bytes"),
        (answers("<!doctype html>\n<html></html>"), "line 1: not a sample"),
        (answers(GOOD, status="500 Internal Server Error"), "answered 500 Internal Server Error"),
        (answers(GOOD, status="302 Found", headers="Location: http://127.0.0.1:1/\r\n"), "answered 302 Found"),
        (answers(GOOD, status="204 No Content"), "answered 204"),
        (answers(BOMB, headers="Content-Encoding: gzip\r\n"), "sent its answer as 'gzip'"),
        (answers(GOOD.replace("gauge", "number")), "line 2: not a type"),
        (answers(GOOD + "peer_other 1e400\n"), "line 4: a number larger than any"),
        (answers("#\n" * 60_000), "60000 lines; 50000 are read at most"),
        (answers(GOOD + "lineside_exporter_source_up 1\n"), "is an exporter's own"),
        (answers(b"\xff\xfe\x00"), "answered no UTF-8"),
        (answers(""), "answered no metric at all"),
        (answers(GOOD[:-3], length=len(GOOD)), "without sending complete message body"),
        (answers(GOOD, status="2OO"), "illegal status line"),
    ],
    ids=[
        "hung",
        "trickle",
        "reset",
        "endless",
        "html",
        "error",
        "redirect",
        "empty status",
        "gzip",
        "wrong type",
        "beyond any number",
        "lines without end",
        "another exporter",
        "no text",
        "nothing",
        "cut off",
        "no HTTP",
    ],
)
async def test_a_peer_that_is_not_well_shows_nothing_and_costs_nothing(
    behaviour: Behaviour, says: str, tmp_path: Path
) -> None:
    ill = Changing(answers(GOOD))
    async with (
        peer(answers("other_value 1\n")) as other,
        peer(ill) as url,
        exporting(
            tmp_path, services={"ill": url, "well": other}, limits={"body_bytes": 262144}, timeout_s=3.0
        ) as scraper,
    ):

        async def shown() -> bool:
            return await scraper.value("peer_value", service="ill") == 42 and await scraper.up("ill") == 1

        async def refused() -> bool:
            said = await scraper.samples()
            assert said["other_value", frozenset({("service", "well")})] == 1, "the others are there all the time"
            return not [name for name, _ in said if name.startswith("peer_")] and await scraper.up("ill") == 0

        # The same peer through the same rig, well: what follows is about its illness.
        await until(shown, lambda: scraper.exporter.log)
        ill.behaviour = behaviour
        await until(refused, lambda: scraper.exporter.log)

        async def told() -> bool:
            link = await scraper.connection("ill")
            return link["state"] == "BACKOFF" and says in link["detail"]

        await until(told, lambda: scraper.exporter.log)
        ill.behaviour = answers(GOOD)
        await until(shown, lambda: scraper.exporter.log)
        assert (await scraper.connection("ill"))["state"] == "ONLINE"


async def test_a_scrape_does_not_wait_for_a_source_that_hangs(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await hangs(reader, writer)

    async with (
        peer(never) as hung,
        peer(answers(GOOD)) as url,
        # The hung source is waited for longer than this test may take: a scrape that waited too could not end in time.
        exporting(tmp_path, services={"hung": hung, "well": url}, timeout_s=60.0) as scraper,
    ):
        await asked.wait()

        async def shown() -> bool:
            return await scraper.value("peer_value", service="well") == 42

        await until(shown)
        answers_of_many = await asyncio.gather(*(scraper.text() for _ in range(20)))
        assert all('peer_value{service="well"} 42' in text for text in answers_of_many)
        assert await scraper.up("hung") == 0


async def test_of_two_questions_the_one_that_hangs_is_not_left_behind_when_the_other_fails(tmp_path: Path) -> None:
    open_now = refusals = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, refusals
        open_now += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/v2/repository/index" in head:
                refusals += 1
                await answers("no", status="500 Internal Server Error")(reader, writer)
            else:
                await hangs(reader, writer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            open_now -= 1
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, peer(answers(GOOD)) as well, exporting(tmp_path, triton={"url": url, "metrics_url": well}):

        async def refused() -> bool:
            return refusals >= 3

        await until(refused)
        assert open_now <= 1, "what is asked now, and nothing of before"


async def test_the_labels_and_bounds_of_a_source(tmp_path: Path) -> None:
    many = "".join(f'many{{n="{number}"}} 1\n' for number in range(50))
    async with (
        peer(answers('x{service="its own"} 1\n' + many + "after 1\n")) as url,
        exporting(tmp_path, services={"big": url}, limits={"series": 20}) as scraper,
    ):

        async def shown() -> bool:
            return await scraper.value("after", service="big") == 1

        await until(shown)
        said = await scraper.samples()
        assert said["x", frozenset({("service", "big"), ("exported_service", "its own")})] == 1
        assert not [name for name, _ in said if name == "many"], "never half of a metric"
        dropped = await scraper.value(
            "lineside_exporter_series_dropped_total", service="exporter", source="big", reason="too-many-series"
        )
        assert dropped is not None
        assert dropped >= 50
        assert dropped % 50 == 0


async def test_a_token_is_sent_and_a_changed_one_counts_at_once(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\nignored\n")
    wanted = b"Bearer second"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            ok = wanted in head
            body = GOOD if ok and b"/metrics" in head else '{"models": []}' if ok else ""
            status = "200 OK" if ok else "401 Unauthorized"
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
            )
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, exporting(tmp_path, services={"inference": url}, inference_token_file=str(token)) as scraper:

        async def refused() -> bool:
            return "401" in (await scraper.connection("inference"))["detail"]

        async def taken() -> bool:
            return await scraper.up("inference") == 1 and await scraper.up("models") == 1

        await until(refused)
        token.write_text("second\n")
        await until(taken)
        token.unlink()

        async def said() -> bool:
            return "token file" in (await scraper.connection("inference"))["detail"]

        await until(said)
