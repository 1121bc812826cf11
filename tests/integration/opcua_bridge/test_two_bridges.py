"""Two bridges at one station: one writes, the other asks nothing, says so, and takes the place of one that ended."""

from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

from lineside.bus.memory import MemoryBroker
from lineside.connections import State
from lineside.contract import CameraSource, Request, uuid7

OTHER = {"port": 8083, "drain_s": 0.5}
MARK = "Station1.Owner"


def marked(plc: Any, **changes: Any) -> dict[str, Any]:
    made = plc.trigger(1, **changes)
    made["write_back"]["owner"] = f"nsu=urn:lineside:test;s={MARK}"
    return made


def owner_of(line: Any) -> Any:
    return line.service.connections.get("owner station-1")


def owns(line: Any) -> bool:
    return line.metric("owner", trigger="station-1") == 1


def asked(line: Any) -> Counter[str | None]:
    """Return how often each part was asked about, by whomever."""
    return Counter(request.context.part_id for request in line.requests())


def dones(plc: Any) -> list[str]:
    """Return the request ids for which done was raised, in order."""
    found, shown = [], ""
    for path, value in plc.writes:
        shown = value if path == "Station1.RequestId" else shown
        if path == "Station1.Done" and value is True:
            found.append(shown)
    return found


async def serve(plc: Any, line: Any, wait_until: Any, part_id: str) -> None:
    """Bring a part, and answer each request about it until it has its verdict."""
    before, answered = plc.dones("Station1"), set()

    async def has_its_verdict() -> bool:
        for request in line.requests():
            if request.context.part_id == part_id and request.id not in answered:
                answered.add(request.id)
                await line.answer(request, "pass", model={"name": "surface-defect", "version": "1"})
        return plc.dones("Station1") > before

    await plc.part("Station1", part_id)
    await wait_until(has_its_verdict)
    await plc.leave("Station1")


async def test_by_the_mark_one_writes_and_the_other_takes_its_place_in_an_outage(
    plc: Any, proxy: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    broker = MemoryBroker()
    trigger = marked(plc)
    async with line_of(configure(plc, trigger, endpoint=proxy.endpoint), broker) as one:
        await wait_until(lambda: one.service.is_ready)
        await serve(plc, one, wait_until, "P-1")
        async with line_of(configure(plc, trigger, http=OTHER), broker) as two:
            await wait_until(lambda: ":8082 writes to it" in owner_of(two).detail)
            assert (owner_of(two).state, two.service.is_ready) == (State.BACKOFF, False)
            assert "this one asks nothing and writes nothing" in owner_of(two).detail
            await serve(plc, one, wait_until, "P-2")
            await wait_until(lambda: two.metric("triggers_total", trigger="station-1", kind="not_owner") == 1)
            assert (one.service.is_ready, owns(one), owns(two)) == (True, True, False)
            await proxy.down()
            await wait_until(lambda: two.service.is_ready)
            await serve(plc, one, wait_until, "P-3")
            await proxy.up()
            await wait_until(lambda: ":8083 writes to it" in owner_of(one).detail)
            await serve(plc, one, wait_until, "P-4")
            assert (one.service.is_ready, two.service.is_ready) == (False, True)
        await wait_until(lambda: one.service.is_ready, "the other gave the mark back")
        await serve(plc, one, wait_until, "P-5")
        assert asked(one) == {f"P-{number}": 1 for number in range(1, 6)}
        assert dones(plc) == [request.id for request in one.requests()]
    assert plc.get("Station1", "Owner") == ""


async def test_a_bridge_that_was_killed_goes_on_with_its_own_mark_and_finds_the_part_that_waits(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    async with line_of(configure(plc, marked(plc))) as line:
        await wait_until(lambda: line.service.is_ready)
        await wait_until(lambda: plc.get("Station1", "Owner").endswith(" 3"))
        left = plc.get("Station1", "Owner")
    await plc.set("Station1", "Owner", left)
    await plc.part("Station1", "P-1")
    async with line_of(configure(plc, marked(plc))) as line:
        await line.answer(await line.request(), "pass")
        await wait_until(lambda: plc.dones("Station1") == 1)
        assert (line.service.is_ready, owns(line)) == (True, True)
    everything = [value for path, value in plc.writes if path == MARK]
    after = everything[everything.index(left, everything.index("")) :]
    assert after[1].endswith(" 1"), "nobody was waited for"


async def test_without_a_mark_the_later_one_gives_way_and_comes_back_when_the_other_is_gone(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    broker = MemoryBroker()
    trigger = plc.trigger(1, deadline_ms=1000)
    async with AsyncExitStack() as of_one:
        one = await of_one.enter_async_context(line_of(configure(plc, trigger), broker))
        await wait_until(lambda: one.service.is_ready)
        await serve(plc, one, wait_until, "P-1")
        async with line_of(configure(plc, trigger, http=OTHER), broker) as two:
            await wait_until(lambda: two.service.is_ready)
            await serve(plc, one, wait_until, "P-2")
            await wait_until(lambda: not two.service.is_ready)
            assert "serves station 'station-1' already; this one asks nothing" in owner_of(two).detail
            for number in (3, 4):
                await serve(plc, one, wait_until, f"P-{number}")
            assert (one.service.is_ready, owns(one), owns(two)) == (True, True, False)
            assert asked(one) == {"P-1": 1, "P-2": 2, "P-3": 1, "P-4": 1}
            names = {request.id: request.context.part_id for request in one.requests()}
            each = Counter(names[name] for name in dones(plc))
            assert (each["P-1"], each["P-3"], each["P-4"]) == (1, 1, 1)
            await of_one.aclose()
            await serve(plc, two, wait_until, "P-5")
            assert (two.service.is_ready, owns(two), asked(two)["P-5"]) == (True, True, 1)


async def test_what_was_asked_before_the_start_or_by_people_is_no_second_bridge(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    earlier, before = uuid7(), uuid7()
    async with line_of(configure(plc, plc.trigger(1))) as line:
        await wait_until(lambda: line.service.is_ready)

        async def seen(number: int, **context: Any) -> None:
            source = CameraSource(camera="station-1")
            about = {"station": "station-1"} | context.pop("about", {})
            request = Request.new(model="surface-defect", source=source, context=about)
            await line.answer(request.model_copy(update=context))
            await wait_until(lambda: line.metric("results_total", kind="unasked") == number)

        await seen(1, id=before, about={"bridge": earlier})
        await seen(2)
        assert (line.service.is_ready, owns(line)) == (True, True)
        assert owner_of(line) is None
        await seen(3, about={"bridge": uuid7()})
        assert (line.service.is_ready, owns(line)) == (True, True), "the later one gives way, not this one"
        await seen(4, about={"bridge": earlier})
        await wait_until(lambda: not line.service.is_ready)
        assert not owns(line)
