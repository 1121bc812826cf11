"""Checks that the running bridge gets results: a broker may grant a subscription and deliver nothing, as mosquitto may.

A request whose deadline has long passed is published, as by the topic-bridge's own check; its result is for a station
that is not on the line, and the bridge counts it as that of another bridge.
"""

import asyncio
import http.client
from datetime import timedelta
from functools import partial

from lineside.bus.opening import open_bus
from lineside.checks import Check, ask, fail, ok, skip
from lineside.connections import Connection
from lineside.contract import TRY_STATION, CameraSource, Context, Request, Times, parse_result, to_json, utc_now
from lineside.settings import BusSettings, HttpSettings
from lineside.threads import run_abandonable

NAME = "results heard"
_ANSWER_S = 5.0
_POLL_S = 0.05


async def check(bus: BusSettings, own: HttpSettings) -> Check:
    """Return whether a result that we get is delivered to the bridge too."""
    try:
        before = await _results(own)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return skip(NAME, f"the opcua-bridge does not answer on {own.host}:{own.port}: {error}")
    now = utc_now()
    request = Request.new(
        model="none",
        source=CameraSource(camera="doctor"),
        context=Context(station=TRY_STATION),
        time=Times(received=now - timedelta(hours=1), published=now),
        deadline_ms=1.0,
    )
    came = False
    try:
        async with asyncio.timeout(_ANSWER_S):
            await _there_and_back(bus, request)
            came = True
            while await _results(own) <= before:  # noqa: ASYNC110 - it is another process that counts
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        if not came:
            return skip(NAME, "needs: topics end to end")
        what = f"a result on {bus.result_topic} came to us and not to the opcua-bridge, whatever its connection says"
        return fail(NAME, what, "let its account read that topic at the broker, where an ACL can forbid it in silence")
    return ok(NAME, f"the opcua-bridge hears {bus.result_topic}")


async def _there_and_back(settings: BusSettings, request: Request) -> None:
    """Return when the result of the request has come."""
    link = Connection("bus", settings.url)
    bus = open_bus(settings, client=f"doctor-{request.id[-12:]}", connection=link, keep=False)
    results = bus.subscribe(settings.result_topic)
    async with bus:
        while not link.is_online:  # noqa: ASYNC110 - a Connection is for people to look at, it wakes nobody
            await asyncio.sleep(_POLL_S)
        await bus.publish(settings.request_topic, to_json(request))
        async for message in results:
            message.ack()
            try:
                if parse_result(message.payload).request_id == request.id:
                    return
            except ValueError:
                continue


async def _results(own: HttpSettings) -> float:
    """Return how many results the bridge got; raises OSError, HTTPException, ValueError."""
    _where, _status, body = await run_abandonable(partial(ask, "opcua_bridge", own, "/metrics"))
    rows = (row for row in body.decode().splitlines() if row.startswith("lineside_opcua_bridge_results_total{"))
    return sum(float(row.rpartition(" ")[2]) for row in rows)
