import asyncio

from lineside_topic_bridge.turns import Turns


class Asking:
    """Stations that ask, and the order in which they have their turn."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.order: list[str] = []
        self.go_on = asyncio.Event()

    def ask(self, station: str) -> asyncio.Task[bool]:
        async def one() -> bool:
            async with self._turns.one(station) as has_waited:
                self.order.append(station)
                await self.go_on.wait()
                return has_waited

        return asyncio.create_task(one())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_was_answered_before_comes_before_strangers() -> None:
    turns = Turns(1)
    turns.answered("line")
    asking = Asking(turns)
    tasks = [asking.ask(name) for name in ("first", "made up 1", "made up 2", "line")]
    await settle()
    asking.go_on.set()
    assert await asyncio.gather(*tasks) == [False, True, True, True]
    assert asking.order == ["first", "line", "made up 1", "made up 2"]


async def test_of_stations_with_as_many_turns_the_newest_is_next_where_the_settings_say_so() -> None:
    turns = Turns(1, "newest")
    asking = Asking(turns)
    tasks = []
    for name in ("first", "old", "new"):
        tasks.append(asking.ask(name))
        await settle()
    asking.go_on.set()
    await asyncio.gather(*tasks)
    assert asking.order == ["first", "new", "old"]


async def test_a_station_that_had_fewer_turns_is_before_one_that_waits_longer() -> None:
    turns = Turns(1)
    for _ in range(3):
        async with turns.one("busy"):
            pass
    asking = Asking(turns)
    tasks = []
    for name in ("first", "busy", "calm"):
        tasks.append(asking.ask(name))
        await settle()
    asking.go_on.set()
    await asyncio.gather(*tasks)
    assert asking.order == ["first", "calm", "busy"]


async def test_who_gives_up_passes_its_turn_on() -> None:
    turns = Turns(1)
    asking = Asking(turns)
    first, waiting, other = (asking.ask(name) for name in ("first", "waiting", "other"))
    await settle()
    waiting.cancel()
    asking.go_on.set()
    await asyncio.gather(first, other)
    assert asking.order == ["first", "other"]
    assert await asking.ask("again") is False


async def test_a_turn_given_to_one_who_is_gone_is_passed_on() -> None:
    turns = Turns(1)
    asking = Asking(turns)
    first = asking.ask("first")
    await settle()
    gone, other = asking.ask("gone"), asking.ask("other")
    await settle()
    asking.go_on.set()
    await first  # its turn went to `gone` in this very step
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert await other is True


async def test_many_names_push_out_the_oldest_only() -> None:
    turns = Turns(1)
    for number in range(1000):
        turns.answered("line")
        turns.answered(f"made up {number}")
    asking = Asking(turns)
    tasks = [asking.ask(name) for name in ("first", "made up 3", "line")]
    await settle()
    asking.go_on.set()
    await asyncio.gather(*tasks)
    assert asking.order == ["first", "line", "made up 3"]


async def test_strangers_have_a_quarter_of_the_turns_once_any_station_is_known() -> None:
    turns = Turns(8)
    early = Asking(turns)
    first = [early.ask(f"new {number}") for number in range(9)]
    await settle()
    assert len(early.order) == 8, "nobody is known yet"
    early.go_on.set()
    await asyncio.gather(*first)
    turns.answered("line")
    asking = Asking(turns)
    tasks = [asking.ask(f"made up {number}") for number in range(9)] + [asking.ask("line") for _ in range(3)]
    await settle()
    assert sorted(asking.order) == ["line", "line", "line", "made up 0", "made up 1"]
    asking.go_on.set()
    await asyncio.gather(*tasks)
    assert len(asking.order) == 12
