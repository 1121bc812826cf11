"""Parts, verdicts and faults in random order, and a checker that sees only what the PLC sees.

What always holds: each part gets exactly one done, from its own verdict or `unknown`; done is raised last; no part is
left alone; nothing is written that is not listed. `LINESIDE_RANDOM_SEEDS=200-300` runs other seeds than the few that
run always. A failure names its seed and shows the whole timeline.
"""

import asyncio
import contextlib
import hashlib
import os
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from lineside.contract import (
    REQUEST_TOPIC,
    RESULT_TOPIC,
    Context,
    ErrorReport,
    Request,
    Result,
    parse_request,
    reported_policy_topic,
    to_json,
    uuid7,
)

PATIENCE_S = 120.0
"""How long the PLC waits for done; longer than every fault with the deadline and the grace."""
DEADLINE_MS = 250
PARTS = 5
STATION = "Station1"
NODE = f"nsu=urn:lineside:test;s={STATION}"
LISTED = {"Verdict", "Confidence", "RequestId", "JudgedId", "Done", "Findings"}
MODES = {
    "edge-newest-plc": {"kind": "edge"},
    "edge-newest-bridge": {"kind": "edge", "clear_done": "bridge"},
    "edge-queue-plc": {"kind": "edge", "overrun": "queue"},
    "counter-newest-plc": {"kind": "counter"},
    "counter-newest-bridge": {"kind": "counter", "clear_done": "bridge"},
    "counter-queue-plc": {"kind": "counter", "overrun": "queue"},
    "counter-skip-plc": {"kind": "counter", "overrun": "skip"},
    "counter-queue-bridge": {"kind": "counter", "overrun": "queue", "clear_done": "bridge"},
}
BY_THE_PLC: ContextVar[bool] = ContextVar("by_the_plc", default=False)

What = Literal["rise", "asked", "left", "gave up", "lowered", "wrote", "fault"]


@dataclass(frozen=True)
class Entry:
    """One line of the timeline."""

    what: What
    part: int = 0
    tag: str = ""
    value: Any = None
    at: float = field(default=0.0, compare=False)


def verdict_of(part: int) -> tuple[str, float]:
    """What the judge says of a part: the confidence names it."""
    return ("pass" if part % 2 else "fail"), part / 1000


class Checker:
    """What a safety engineer would object to; `in_line`: the PLC takes the dones in the order of its parts."""

    def __init__(self, *, in_line: bool) -> None:
        self._in_line = in_line
        self._shown: dict[str, Any] = {}
        self._fresh: set[str] = set()
        """What the bridge wrote since the last done."""
        self._waiting: list[int] = []
        self._left: set[int] = set()
        self._asked: set[int] = set()
        self.found: list[str] = []

    def take(self, entry: Entry) -> None:
        match entry.what:
            case "rise":
                self._waiting = [*self._waiting, entry.part] if self._in_line else [entry.part]
            case "asked":
                self._asked.add(entry.part)
            case "left":
                self._left.add(entry.part)
            case "gave up":
                self._silent(part for part in self._waiting if part == entry.part)
                self._waiting = [part for part in self._waiting if part != entry.part]
            case "wrote" if entry.tag not in LISTED:
                self.found.append(f"{entry.tag} is not listed and was written")
            case "wrote" if entry.tag == "Done":
                if entry.value:
                    self._done()
            case "wrote":
                self._shown[entry.tag] = entry.value
                self._fresh.add(entry.tag)
                if entry.tag == "Verdict" and not self._waiting:
                    self.found.append("the verdict changed after done was raised")

    def end(self) -> None:
        self._silent(self._waiting)

    def _silent(self, parts: Iterable[int]) -> None:
        self.found += [f"silence: part {part} got no done" for part in parts if part not in self._left]

    def _done(self) -> None:
        if "Verdict" not in self._fresh:
            self.found.append("done before the verdict")
        self._fresh.clear()
        of = round((self._shown.get("Confidence") or 0.0) * 1000)
        if not self._waiting:
            self.found.append(f"a second done, or one for nobody: of part {of}")
            return
        part = self._waiting.pop(0)
        # A PLC that does not wait for done may get it while it asks for the next part: nobody can see that in time.
        crossed = not self._in_line and part not in self._asked and of in self._left and of == part - 1
        if self._shown.get("Verdict") != ("unknown" if of == 0 else verdict_of(of)[0]):
            self.found.append(f"part {part} got {self._shown.get('Verdict')} with the confidence of part {of}")
        if of not in {0, part} and not crossed:
            self.found.append(f"part {part} got the verdict of part {of}")
        judged = self._shown.get("JudgedId")
        unseen = not self._in_line and part not in self._asked
        if judged and judged != f"P-{of or part}" and not (of == 0 and unseen):
            self.found.append(f"part {part} got a verdict of part {of} that bears the id {judged}")


def violations(timeline: Iterable[Entry], *, in_line: bool) -> list[str]:
    checker = Checker(in_line=in_line)
    for entry in timeline:
        checker.take(entry)
    checker.end()
    return checker.found


class Program:
    """The PLC's program at one station, and the timeline of what happens there."""

    def __init__(self, plc: Any, wait_until: Any, random_: random.Random, mode: dict[str, str], *, hasty: bool) -> None:
        self.plc, self.until, self.random, self.hasty = plc, wait_until, random_, hasty
        self.counts = mode["kind"] == "counter"
        self.hands_back = mode.get("clear_done") == "bridge"
        self.in_line = mode.get("overrun", "newest") != "newest" and not self.hands_back
        self.timeline: list[Entry] = []
        self.risen: dict[datetime, int] = {}
        self.part = 0
        self._start = time.monotonic()
        plc.on_write = self._seen

    def note(self, what: What, part: int = 0, *, tag: str = "", value: Any = None) -> None:
        self.timeline.append(Entry(what, part, tag, value, round(time.monotonic() - self._start, 4)))

    def _seen(self, path: str, value: Any) -> None:
        if not BY_THE_PLC.get():
            self.note("wrote", tag=path.partition(".")[2], value=value)

    async def put(self, tag: str, value: Any, at: datetime | None = None) -> None:
        token = BY_THE_PLC.set(True)
        try:
            await self.plc.set(STATION, tag, value, at=at)
        finally:
            BY_THE_PLC.reset(token)

    def done(self) -> bool:
        return bool(self.plc.get(STATION, "Done"))

    async def rise(self, part: int) -> None:
        self.part = part
        await self.put("PartId", f"P-{part}")
        if self.counts and self.hands_back:
            await self.put("Request", value=True)
        now = datetime.now(UTC)
        self.risen[now] = part
        self.note("rise", part)
        if self.counts:
            await self.put("Counter", part, now)
        else:
            await self.put("PartPresent", value=True, at=now)

    async def lower(self) -> None:
        """End the part's signal."""
        if not self.counts:
            await self.put("PartPresent", value=False)
        if self.hands_back:
            await self.put("Request", value=False)

    async def run(self) -> None:
        if self.in_line and self.counts:
            await self._produce_and_consume()
            return
        for part in range(1, PARTS + 1):
            await self._one(part)
            await asyncio.sleep(self.random.uniform(0.02, 0.06))

    async def _one(self, part: int) -> None:
        if self.hands_back:
            await self.until(lambda: not self.done(), within=PATIENCE_S)
        else:
            await self.put("Done", value=False)
            await self.put("Verdict", "")
        await self.rise(part)
        manner = self.random.random()
        if self.hasty and manner < 0.3 and part < PARTS:
            self.note("left", part)
            await asyncio.sleep(self.random.uniform(0.0, DEADLINE_MS / 1000))
            await self.lower()
            return
        if manner < 0.5 and not self.hands_back:
            await asyncio.sleep(self.random.uniform(0.01, 0.1))
            if any(entry.what == "asked" and entry.part == part for entry in self.timeline):
                await self.lower()  # a pulse: the part still waits, and it was seen
        if not await self._answered():
            self.note("gave up", part)
        await asyncio.sleep(self.random.choice((0.0, 0.01, 0.1)))
        await self.lower()

    async def _produce_and_consume(self) -> None:
        open_parts: asyncio.Queue[int] = asyncio.Queue(4)

        async def produce() -> None:
            for part in range(1, PARTS + 1):
                await open_parts.put(part)
                await self.rise(part)
                await asyncio.sleep(self.random.choice((0.005, 0.02, 0.1)))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(produce(), name="produce")
            for part in range(1, PARTS + 1):
                if not await self._answered():
                    self.note("gave up", part)
                await asyncio.sleep(self.random.choice((0.0, 0.01, 0.1)))
                await self.put("Done", value=False)
                self.note("lowered", part)
                await open_parts.get()

    async def _answered(self) -> bool:
        with contextlib.suppress(AssertionError):
            await self.until(self.done, within=PATIENCE_S)
        return self.done()


class Judge:
    """Answers requests: in time, late, twice, out of order, for ids that nobody asked about, by an error, or never."""

    def __init__(self, program: Program, line: Any, random_: random.Random) -> None:
        self.program, self.line, self.random = program, line, random_
        self.problems: list[str] = []

    async def run(self) -> None:
        requests = self.line.bus.subscribe(REQUEST_TOPIC)
        async with self.line.bus, asyncio.TaskGroup() as tasks:
            async for message in requests:
                request = parse_request(message.payload)
                part = self._part_of(request)
                self.program.note("asked", part)
                tasks.create_task(self._answer(request, part), name=f"answer {part}")
                message.ack()

    def _part_of(self, request: Request) -> int:
        by_time = self.program.risen.get(request.time.source) if request.time.source else None
        by_id = int(request.context.part_id.removeprefix("P-")) if request.context.part_id else None
        if by_time and by_id and by_time != by_id:
            self.problems.append(f"the request of part {by_time} carries the id of part {by_id}")
        return by_time or by_id or self.program.part

    async def _answer(self, request: Request, part: int) -> None:
        manner = self.random.random()
        await asyncio.sleep(self.random.uniform(0, 0.8) * DEADLINE_MS / 1000)
        if manner < 0.1:
            return
        if manner < 0.25:
            await asyncio.sleep(DEADLINE_MS / 1000)
        if manner < 0.35:
            await self._result(uuid7(), part, request.context)
        if 0.35 <= manner < 0.45:
            digest = hashlib.sha256(to_json(request)).hexdigest()
            about = {"id": uuid7(), "request_id": request.id, "code": "x", "reason": "?", "topic": "x", "excerpt": ""}
            report = ErrorReport.model_validate(about | {"digest": digest})
            await self.line.bus.publish(f"{RESULT_TOPIC}/error", to_json(report))
        await self._result(request.id, part, request.context)
        if manner > 0.8:
            await asyncio.sleep(self.random.uniform(0, 0.3))
            await self._result(request.id, part + 1, request.context)

    async def _result(self, request_id: str, part: int, context: Context) -> None:
        verdict, confidence = verdict_of(part)
        finding = [{"label": "x", "confidence": confidence}]
        about = {"id": uuid7(), "request_id": request_id, "status": "ok", "verdict": verdict, "reason": "as told"}
        about["context"] = context.model_dump()
        await self.line.bus.publish(RESULT_TOPIC, to_json(Result.model_validate(about | {"findings": finding})))


class Chaos:
    """Faults, one after another; each ends before the next begins."""

    def __init__(self, program: Program, line: Any, proxy: Any, thing: str, random_: random.Random) -> None:
        self.program, self.line, self.proxy, self.thing, self.random = program, line, proxy, thing, random_

    async def run(self) -> None:
        faults = [self._cut_short, self._cut_long, self._lose_replies, self._restart, self._refuse, self._pause]
        while True:
            await self.program.until(lambda: self.line.service.is_ready, within=PATIENCE_S)
            await asyncio.sleep(self.random.uniform(0.05, 0.5))
            fault = self.random.choice(faults)
            self.program.note("fault", tag=fault.__name__)
            task = asyncio.create_task(fault(), name=fault.__name__)
            try:
                await asyncio.shield(task)
            finally:
                await task  # a line that is complete meanwhile still gets its PLC back
            self.program.note("fault", tag=f"{fault.__name__} is over")

    async def _cut_short(self) -> None:
        await self.proxy.down()
        await asyncio.sleep(self.random.uniform(0.0, 0.3))
        await self.proxy.up()

    async def _cut_long(self) -> None:
        await self.proxy.down()
        await asyncio.sleep(self.random.uniform(1.1, 1.6))
        await self.proxy.up()

    async def _lose_replies(self) -> None:
        self.proxy.mode = "lose-replies"
        await asyncio.sleep(self.random.uniform(0.05, 0.4))
        await self.proxy.down()
        self.proxy.mode = "pass"
        await self.proxy.up()

    async def _restart(self) -> None:
        await self.program.plc.stop()
        await asyncio.sleep(self.random.uniform(0.0, 0.3))
        await self.program.plc.start(other_namespaces=self.random.randint(0, 2))

    async def _refuse(self) -> None:
        tag = self.random.choice(("Verdict", "Done", "Findings"))
        await self.program.plc.lock(STATION, tag)
        await asyncio.sleep(self.random.uniform(0.02, 0.3))
        await self.program.plc.unlock(STATION, tag)

    async def _pause(self) -> None:
        topic = reported_policy_topic(self.thing)
        await self.line.bus.publish(topic, b'{"enabled": false}')
        await asyncio.sleep(self.random.uniform(0.05, 0.3))
        await self.line.bus.publish(topic, b'{"enabled": true}')


@contextlib.asynccontextmanager
async def beside(*coroutines: Any) -> AsyncIterator[None]:
    """Run what goes on for ever beside the body."""
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def seeds() -> list[int]:
    first, _, last = os.environ.get("LINESIDE_RANDOM_SEEDS", "1-1").partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.mark.parametrize(
    ("mode", "hasty"), [(mode, False) for mode in MODES] + [(mode, True) for mode in MODES if "edge-newest" in mode]
)
@pytest.mark.parametrize("seed", seeds())
async def test_each_part_gets_its_own_verdict_once_whatever_happens(
    plc: Any, proxy: Any, line_of: Any, configure: Any, wait_until: Any, seed: int, mode: str, hasty: bool
) -> None:
    about = MODES[mode]
    random_ = random.Random(f"{seed} {mode} {hasty}")  # noqa: S311 - it shall repeat
    trigger = plc.trigger(
        1,
        when={"kind": "edge", "node": f"{NODE}.PartPresent"}
        if about["kind"] == "edge"
        else {"kind": "counter", "node": f"{NODE}.Counter"},
        debounce_ms=0,
        deadline_ms=DEADLINE_MS,
        margin_ms=80,
        overrun=about.get("overrun", "newest"),
    )
    trigger["write_back"] |= {"findings": f"{NODE}.Findings", "part_id": f"{NODE}.JudgedId"}
    if about.get("clear_done") == "bridge":
        trigger["write_back"] |= {"clear_done": "bridge"}
        trigger["write_back"] |= {"request": f"{NODE}.Request"} if about["kind"] == "counter" else {}
    configured = configure(plc, trigger, endpoint=proxy.endpoint, lifetime_s=1, grace_ms=20_000)
    program = Program(plc, wait_until, random_, about, hasty=hasty)
    await plc.start()
    async with line_of(configured) as line:
        await line.ready()
        judge = Judge(program, line, random_)
        chaos = Chaos(program, line, proxy, configured.thing, random_)
        async with beside(judge.run()), beside(chaos.run()):
            await program.run()
    found = violations(program.timeline, in_line=program.in_line) + judge.problems
    assert not found, "\n".join([f"seed {seed}, {mode}", *found, *(repr(entry) for entry in program.timeline)])


def wrote(verdict: str, of: int) -> list[Entry]:
    content = {"Verdict": verdict, "Confidence": of / 1000}
    return [Entry("wrote", tag=tag, value=value) for tag, value in content.items()]


def bears(part: int) -> list[Entry]:
    return [Entry("wrote", tag="JudgedId", value=f"P-{part}")]


DONE = [Entry("wrote", tag="Done", value=True)]
GOOD = [Entry("rise", 1), *wrote("pass", 1), *DONE, Entry("rise", 2), *wrote("unknown", 0), *DONE]


def test_the_checker_has_nothing_against_a_good_line() -> None:
    assert violations(GOOD, in_line=False) == violations(GOOD, in_line=True) == []


@pytest.mark.parametrize(
    ("timeline", "says"),
    [
        ([*GOOD, Entry("rise", 3), *wrote("pass", 1), *DONE], "part 3 got the verdict of part 1"),
        ([*GOOD, Entry("rise", 3), *wrote("fail", 3), *DONE], "part 3 got fail with the confidence of part 3"),
        ([*GOOD, *wrote("unknown", 0), *DONE], "a second done"),
        ([*GOOD, *wrote("fail", 2)], "the verdict changed after done was raised"),
        ([*GOOD, Entry("rise", 3), *DONE, *wrote("pass", 3)], "done before the verdict"),
        ([*GOOD, Entry("rise", 3), *wrote("pass", 3)], "silence: part 3"),
        ([*GOOD, Entry("rise", 3), Entry("gave up", 3), Entry("rise", 4), *wrote("fail", 4), *DONE], "silence: part 3"),
        ([*GOOD, Entry("wrote", tag="Speed", value=0.0)], "Speed is not listed"),
        (
            [*GOOD, Entry("rise", 3), Entry("asked", 3), *wrote("pass", 3), *bears(2), *DONE],
            "part 3 got a verdict of part 3",
        ),
        (
            [*GOOD, Entry("rise", 3), Entry("asked", 3), *wrote("unknown", 0), *bears(2), *DONE],
            "part 3 got a verdict of part 0",
        ),
    ],
)
@pytest.mark.parametrize("in_line", [False, True])
def test_the_checker_sees_what_must_not_be(timeline: list[Entry], says: str, in_line: bool) -> None:
    assert any(each.startswith(says) for each in violations(timeline, in_line=in_line))


def test_the_checker_lets_a_done_cross_only_before_the_next_part_was_asked_about() -> None:
    left = [Entry("rise", 1), Entry("left", 1), Entry("rise", 2)]
    late = [*wrote("pass", 1), *DONE]
    assert violations([*left, *late], in_line=False) == []
    assert violations([*left, Entry("asked", 2), *late], in_line=False) == ["part 2 got the verdict of part 1"]
