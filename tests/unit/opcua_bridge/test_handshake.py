"""What follows from each event of the handshake; and, for random sequences of events, that a part gets one done.

The table names one state, one view of the PLC and the actions; `Rig` is a PLC that keeps the agreement, and executes
the actions at once. Time is handed in.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station import handshake
from lineside_opcua_bridge.station.handshake_signal import HandshakeSignal, ViewRead
from lineside_opcua_bridge.station.handshake_state import (
    Action,
    After,
    ClearDone,
    ClosePart,
    CountView,
    DropPart,
    HandshakeRules,
    HandshakeState,
    MarkHandled,
    ReadView,
    RecheckLater,
    RecheckNext,
    RecoverPart,
    Situation,
    Step,
    WriteEnd,
    WriteVerdict,
)
from lineside_opcua_bridge.station.lease import OwnershipState
from lineside_opcua_bridge.station.part_status import PartStatus, SettledRise, StationView
from lineside_opcua_bridge.station.parts import Answer, Part, unknown

START = datetime(2026, 1, 1, tzinfo=UTC)
ROSE, LATER = START, START + timedelta(seconds=5)
NOW, LATE, TOO_LATE = 10.1, 10.9, 99.0
"""Before the deadline, after it within the grace, and after that."""
DEADLINE_S, GRACE_S = 0.4, 1.0
PASS = Answer("pass", 0.9, "result", "good")
RULES = HandshakeRules(
    signal=HandshakeSignal("trigger"),
    writes=True,
    bridge_clears_done=False,
    queued=False,
    max_parts=1,
    grace_s=GRACE_S,
)
QUEUED = replace(RULES, queued=True, max_parts=4)
CLEARS = replace(RULES, bridge_clears_done=True)
QUEUED_CLEARS = replace(QUEUED, bridge_clears_done=True)


def at(now: float = NOW, **changes: Any) -> Situation:
    return Situation(now, START, **changes)


def part(request_id: str = "r-1", risen: datetime | None = ROSE, **changes: Any) -> Part:
    made = Part.arrived(request_id, seen=10.0, deadline_s=DEADLINE_S, margin_s=0.02, part_id="P-1", risen=risen)
    return replace(made, **changes)


def signal(*, high: bool = True, risen: datetime | None = ROSE) -> Sample:
    return Sample(high, "good", risen, None, START, 10.0)


def state(*parts: Part, **changes: Any) -> HandshakeState:
    return HandshakeState(parts=parts, is_attached=True, signal=signal(), **changes)


def read(
    *,
    present: bool | None = True,
    done: bool | None = False,
    risen: Any = ROSE,
    part_id: str | None = "P-1",
    epoch: int | None = None,
    **changes: Any,
) -> ViewRead:
    view = StationView(present=present, done=done, part_id=part_id, risen=risen, epoch=epoch)
    return ViewRead(view, signal(high=bool(present), risen=risen), **changes)


def names(actions: tuple[Action, ...]) -> list[str]:
    return [type(action).__name__ for action in actions if not isinstance(action, CountView | MarkHandled)]


ANSWERED = part(answer=PASS)
ATTEMPTED = part(answer=PASS, attempts=1)
SETTLED = SettledRise(ROSE, "P-1")


@pytest.mark.parametrize(
    ("before", "seen", "rules", "when", "expected"),
    [
        # Nothing is known, and the PLC shows a part or none.
        (state(), read(), RULES, at(), ["RecoverPart"]),
        (state(), read(present=False), RULES, at(), []),
        (state(), read(done=True), RULES, at(), []),
        (state(passed_over=ROSE), read(), RULES, at(), []),
        # The part that we know waits.
        (state(part()), read(), RULES, at(), []),
        (state(ANSWERED), read(), RULES, at(), ["WriteVerdict"]),
        (state(ANSWERED), read(), RULES, at(LATE), ["WriteVerdict"]),
        (state(ANSWERED), read(done=None), RULES, at(), ["RecheckLater"]),
        # It was answered: by our write, by one whose end is not known, or by somebody else.
        (state(ATTEMPTED), read(done=True), RULES, at(), ["ClosePart"]),
        (state(ANSWERED), read(done=True), RULES, at(), ["DropPart"]),
        # Another part is there: the one that we know is superseded when that arrives.
        (state(ANSWERED), read(risen=LATER), RULES, at(LATE), ["RecoverPart"]),
        (state(ANSWERED), read(present=False), RULES, at(TOO_LATE), ["DropPart"]),
        # A trigger that cannot be read is told to the PLC where done can be read.
        (state(part(answer=unknown("trigger", "bad"))), read(present=None), RULES, at(), ["WriteVerdict"]),
        # In a queue the next verdict waits until done is low.
        (state(ANSWERED, done_raised=True), read(done=True), QUEUED, at(), ["RecheckLater"]),
        (state(ANSWERED, done_raised=True), read(done=True), QUEUED, at(TOO_LATE), ["DropPart"]),
        (state(ANSWERED, done_raised=True), read(), QUEUED, at(), ["WriteVerdict"]),
        (state(replace(ATTEMPTED, raising=True)), read(), QUEUED, at(), ["DropPart"]),
        # With clear_done: bridge done is lowered once the signal is low, and a verdict written while it is high.
        (state(), read(present=False, done=True), CLEARS, at(), ["ClearDone"]),
        (state(ANSWERED), read(present=False), CLEARS, at(), ["RecheckLater"]),
        (state(ANSWERED, done_raised=True), read(done=True), CLEARS, at(), ["ClearDone"]),
        # One rise is one part, also once done is low again; another part id, or another rise, is another part.
        (state(settled=SETTLED), read(), RULES, at(), []),
        (state(settled=SETTLED), read(risen=LATER), RULES, at(), ["RecoverPart"]),
        (state(settled=SETTLED), read(risen=LATER, epoch=1), RULES, at(), ["RecoverPart"]),
        (state(settled=SETTLED), read(), QUEUED, at(), []),
        (state(settled=SETTLED), read(part_id=None), QUEUED, at(), []),
        (state(settled=SETTLED), read(part_id="P-2"), QUEUED, at(), ["RecoverPart"]),
        (state(settled=SETTLED), read(risen=LATER), QUEUED, at(), []),
        (state(settled=SETTLED), read(risen=LATER, part_id=None), QUEUED, at(), ["RecoverPart"]),
        (state(settled=SETTLED), read(risen=LATER, epoch=1), QUEUED, at(), []),
        (state(settled=SETTLED), read(risen=LATER, epoch=1, part_id="P-2"), QUEUED, at(), ["RecoverPart"]),
        # A PLC that raised its signal anew before done was lowered, unseen.
        (state(settled=SETTLED, done_raised=True), read(done=True), CLEARS, at(), []),
        (state(settled=SETTLED, done_raised=True), read(done=True, risen=LATER), CLEARS, at(), []),
        (state(done_raised=True), read(done=True), CLEARS, at(), ["ClearDone"]),
        # Only the owner writes.
        (state(ANSWERED), read(), RULES, at(ownership=OwnershipState.UNSURE), ["RecheckLater"]),
        (state(ANSWERED), read(), RULES, at(TOO_LATE, ownership=OwnershipState.UNSURE), ["DropPart"]),
        (state(ANSWERED), read(), RULES, at(ownership=OwnershipState.STANDBY), ["DropPart"]),
        # A view that is ahead of the notifications waits for them, but not for ever.
        (state(), read(is_early=True), RULES, at(), ["RecheckLater"]),
        (state(), read(is_on_its_way=True), RULES, at(), ["RecheckLater"]),
        (state(ahead_since=NOW - 1), read(is_on_its_way=True), RULES, at(), ["RecoverPart"]),
    ],
)
def test_what_follows_from_a_view(
    before: HandshakeState, seen: ViewRead, rules: HandshakeRules, when: Situation, expected: list[str]
) -> None:
    _after, actions = handshake.viewed(before, seen, rules, when, recover=True)
    assert names(actions) == expected


@pytest.mark.parametrize(
    ("before", "rules", "when", "expected"),
    [
        (state(part()), RULES, at(), ["WriteVerdict"]),
        (state(part()), RULES, at(LATE), ["ReadView"]),
        (state(part(), was_away=True), RULES, at(), ["ReadView"]),
        (replace(state(part()), is_attached=False), RULES, at(), []),
        (state(part()), replace(RULES, writes=False), at(), ["ClosePart"]),
        (state(ANSWERED), RULES, at(), []),
        (state(part("r-0"), part()), QUEUED, at(), []),
        (state(part(), done_raised=True), QUEUED, at(), ["ReadView"]),
        (state(part(), done_raised=True), CLEARS, at(), ["ClearDone"]),
        (replace(state(part()), signal=signal(high=False)), CLEARS, at(), ["ReadView"]),
        (state(part()), RULES, at(ownership=OwnershipState.UNSURE), ["RecheckLater"]),
    ],
)
def test_what_follows_from_an_answer(
    before: HandshakeState, rules: HandshakeRules, when: Situation, expected: list[str]
) -> None:
    _after, actions = handshake.answered(before, "r-1", PASS, rules, when)
    assert names(actions) == expected


def test_an_answer_to_a_part_that_waits_no_longer_changes_nothing() -> None:
    before = state(part("r-2"))
    assert handshake.answered(before, "r-1", PASS, RULES, at()) == (before, ())


@pytest.mark.parametrize(
    ("end", "when", "expected"),
    [
        (WriteEnd(done_raised=True, raising=False, failure=None), at(), ["ClosePart"]),
        (WriteEnd(done_raised=False, raising=False, failure="refused"), at(), ["RecheckLater"]),
        (WriteEnd(done_raised=False, raising=False, failure="refused"), at(TOO_LATE), ["DropPart"]),
        (WriteEnd(done_raised=False, raising=True, failure="cut", is_session_lost=True), at(), []),
    ],
)
def test_what_follows_from_a_write(end: WriteEnd, when: Situation, expected: list[str]) -> None:
    after, actions = handshake.written(state(ATTEMPTED), "r-1", end, RULES, when)
    assert names(actions) == expected
    assert after.was_away is end.is_session_lost
    assert after.done_raised is end.done_raised


def test_after_the_deadline_a_verdict_is_written_only_for_the_very_rise() -> None:
    """docs/decisions/0007-the-late-verdict.md."""
    proven = handshake.viewed(state(ANSWERED), read(), RULES, at(LATE), recover=True)[1]
    assert [action.answer.verdict for action in proven if isinstance(action, WriteVerdict)] == ["pass"]
    seen = read(present=None)
    without = replace(RULES, signal=None)
    unproven = handshake.viewed(state(ANSWERED), seen, without, at(LATE), recover=True)[1]
    late = [action.answer for action in unproven if isinstance(action, WriteVerdict)]
    assert [(answer.verdict, answer.code) for answer in late] == [("unknown", "late")]


def test_a_newer_part_supersedes_the_one_that_waits_and_a_full_queue_drops_the_oldest() -> None:
    after, actions = handshake.arrived(state(part()), part("r-2"), RULES)
    assert [each.request_id for each in after.parts] == ["r-2"]
    assert [(each.part.request_id, each.part.lost) for each in actions if isinstance(each, DropPart)] == [
        ("r-1", "superseded")
    ]
    full = state(*(part(f"r-{number}") for number in range(4)))
    after, actions = handshake.arrived(full, part("r-4"), QUEUED)
    assert [each.request_id for each in after.parts] == ["r-1", "r-2", "r-3", "r-4"]
    assert [each.part.lost for each in actions if isinstance(each, DropPart)] == ["overrun"]


def test_a_full_queue_writes_the_answer_that_is_there_once_the_oldest_part_is_dropped() -> None:
    full = state(part("r-0"), *(part(f"r-{number}", answer=PASS) for number in range(1, 4)))
    after, actions = handshake.arrived(full, part("r-4"), QUEUED)
    assert [each.request_id for each in after.parts] == ["r-1", "r-2", "r-3", "r-4"]
    assert names(actions) == ["DropPart", "RecheckNext"]


@pytest.mark.parametrize(("held", "expected"), [((), []), ((part(),), []), ((ANSWERED,), ["RecheckLater"])])
def test_a_session_looks_for_the_part_whose_verdict_was_held(held: tuple[Part, ...], expected: list[str]) -> None:
    away = handshake.detached(state(*held))
    after, actions = handshake.attached(away)
    assert after.is_attached
    assert names(actions) == expected


def seen(before: HandshakeState, view: ViewRead, rules: HandshakeRules) -> tuple[HandshakeState, list[str]]:
    after, actions = handshake.viewed(before, view, rules, at(), recover=True)
    return after, names(actions)


@pytest.mark.parametrize(
    "before", [state(done_raised=True, settled=SETTLED), state(done_raised=True), state(ATTEMPTED)]
)
def test_a_part_that_rose_unseen_behind_done_is_asked_about_once_done_is_low(before: HandshakeState) -> None:
    after, _actions = seen(before, read(done=True, risen=LATER, part_id="P-2"), QUEUED)
    assert after.first is None
    after, actions = handshake.done_lowered(after, LATER)
    assert names(actions) == ["ReadView"]
    assert seen(after, read(risen=LATER, part_id="P-2"), QUEUED)[1] == ["RecoverPart"]


@pytest.mark.parametrize("rules", [RULES, QUEUED])
def test_a_signal_that_stays_high_over_the_fall_of_done_is_the_same_part(rules: HandshakeRules) -> None:
    after, actions = handshake.written(
        state(ATTEMPTED), "r-1", WriteEnd(done_raised=True, raising=False, failure=None), rules, at()
    )
    assert names(actions) == ["ClosePart"]
    for view in (read(done=True), read(), read()):
        after, actions = seen(after, view, rules)
        assert actions == []
    low = signal(high=False, risen=LATER)
    after, _actions = handshake.signal_changed(after, low, rules, at())
    assert seen(after, read(risen=LATER + timedelta(seconds=1)), rules)[1] == ["RecoverPart"]


@pytest.mark.parametrize("rules", [RULES, QUEUED])
def test_a_part_that_is_there_with_done_at_the_start_was_judged_by_an_earlier_run(rules: HandshakeRules) -> None:
    after, actions = seen(state(), read(done=True), rules)
    assert actions == []
    after, actions = handshake.done_lowered(after, LATER)
    assert actions == ()
    assert seen(after, read(), rules)[1] == []
    after, _actions = seen(after, read(present=False), rules)
    assert seen(after, read(), rules)[1] == ["RecoverPart"]


def test_the_low_value_of_a_rise_before_does_not_make_the_signal_a_new_part() -> None:
    before = state(settled=SettledRise(LATER, None))
    after, _actions = handshake.signal_changed(before, signal(high=False, risen=ROSE), QUEUED, at())
    assert after.settled == before.settled
    after, _actions = handshake.signal_changed(before, signal(high=False, risen=None), QUEUED, at())
    assert after.settled is None


# Whatever the handshake waits for wakes it.

WAKING = {"ReadView", "RecheckLater", "RecheckNext", "WriteVerdict", "ClearDone", "RecoverPart"}
"""After these the handshake goes on by itself: by a timer, or by how a call to the PLC ends."""
ALL_RULES = [RULES, CLEARS, QUEUED, QUEUED_CLEARS, replace(RULES, signal=None), replace(QUEUED, signal=None)]
SITUATIONS = [at(), at(TOO_LATE), at(ownership=OwnershipState.UNSURE), at(ownership=OwnershipState.STANDBY)]


def states() -> Iterator[HandshakeState]:
    """Every kind of state: what waits, and what is known of done and of the rise before."""
    waiting: list[tuple[Part, ...]] = [
        *((), (part(),), (ANSWERED,), (ATTEMPTED,), (replace(ATTEMPTED, raising=True),)),
        *((part("r-0"), ANSWERED), (part("r-0", answer=PASS), part()), (part("r-0", answer=PASS), ANSWERED)),
    ]
    for parts, done_raised, settled, was_away in product(waiting, (False, True), (None, SETTLED), (False, True)):
        if not (parts and settled):
            yield state(*parts, done_raised=done_raised, settled=settled, was_away=was_away)


def views() -> Iterator[ViewRead]:
    known = (True, False, None)
    for present, done, risen, epoch, early in product(known, known, (ROSE, LATER), (None, 1), (False, True)):
        yield read(present=present, done=done, risen=risen, epoch=epoch, is_early=early)


def is_held(after: HandshakeState) -> bool:
    """Whether the part whose turn it is has its answer; one without is woken by the result or by its deadline."""
    return after.first is not None and after.first.answer is not None


@pytest.mark.parametrize("rules", ALL_RULES)
def test_an_answer_that_is_not_in_the_plc_yet_is_never_left_without_a_next_step(rules: HandshakeRules) -> None:
    ends = [
        WriteEnd(done_raised=True, raising=False, failure=None),
        WriteEnd(done_raised=False, raising=False, failure="refused"),
    ]
    for before, when in product(states(), SITUATIONS):
        steps = [
            handshake.viewed(before, view, rules, when, recover=again) for view in views() for again in (True, False)
        ]
        if before.first and before.first.answer is None:
            steps.append(handshake.answered(before, before.first.request_id, PASS, rules, when))
        if before.first and before.first.attempts:
            steps += [handshake.written(before, before.first.request_id, end, rules, when) for end in ends]
        for lowered, after_clear in product((True, False), (After.ANSWER, After.VIEW, After.NOTHING)):
            assessed = handshake.Assessment(read(done=True).view, signal(), is_ahead=False, recover=True)
            if is_held(before) and after_clear is not After.NOTHING:
                clear = ClearDone(after_clear, assessed)
                steps.append(handshake.cleared(before, clear, rules, when, is_lowered=lowered))
        if rules.queued:
            small = replace(rules, max_parts=max(1, len(before.parts)))
            after, actions = handshake.arrived(before, part("r-9"), small)
            if after.first != before.first:
                steps.append((after, actions))
        steps.append(handshake.attached(handshake.detached(before)))
        for after, actions in steps:
            assert not is_held(after) or WAKING & set(names(actions)), (before, after, actions)


@pytest.mark.parametrize("rules", ALL_RULES)
def test_what_the_handshake_rests_on_is_announced(rules: HandshakeRules) -> None:
    """If a view after a change in the PLC would have something to do, then the notification of it reads one.

    Done is notified where parts wait in line; without a line the PLC lowers it before the next part, and where the
    bridge lowers done nobody else does. A rise is notified to the trigger's detector, which asks about it.
    """
    at_rest = 0
    for before, view, when in product(states(), views(), SITUATIONS):
        resting, actions = handshake.viewed(before, view, rules, when, recover=True)
        if WAKING & set(names(actions)) or resting.first:
            continue
        at_rest += 1
        changes: list[tuple[Step, ViewRead]] = []
        if view.view.done and rules.queued and not rules.bridge_clears_done:
            low = replace(view, view=replace(view.view, done=False))
            changes.append((handshake.done_lowered(resting, None), low))
        if view.view.present and rules.signal:
            fallen = LATER + timedelta(seconds=1)
            gone = read(present=False, done=view.view.done, risen=fallen)
            changes.append((handshake.signal_changed(resting, gone.signal or signal(), rules, when), gone))
        for (notified, follows), later in changes:
            _after, due = handshake.viewed(notified, later, rules, when, recover=True)
            assert not WAKING & set(names(due)) or names(follows) == ["ReadView"], (before, view, resting, due)
    assert at_rest


def test_done_that_could_not_be_lowered_is_tried_again_while_the_part_may_still_be_answered() -> None:
    before = state(ANSWERED, done_raised=True)
    before, (clear,) = handshake.viewed(before, read(done=True), CLEARS, at(), recover=True)
    assert isinstance(clear, ClearDone)
    assert clear.after is After.VIEW
    after, actions = handshake.cleared(before, clear, CLEARS, at(), is_lowered=False)
    assert names(actions) == ["RecheckLater"]
    assert after.first
    _after, actions = handshake.cleared(before, clear, CLEARS, at(), is_lowered=True)
    assert names(actions) == ["WriteVerdict"]


def test_each_view_is_counted_by_its_status() -> None:
    _after, actions = handshake.viewed(state(), read(), RULES, at(), recover=True)
    assert [action.status for action in actions if isinstance(action, CountView)] == [PartStatus.NEW]


# A PLC that keeps the agreement, and random events.

WriteFault = Literal["none", "refused", "cut before", "cut after"]
STEP_S = 0.05
PATIENCE_S = 1000.0
"""How long the PLC waits for done; longer than every sequence."""


@dataclass
class Rig:
    """The handshake with a simulated PLC; each operation is one event, its actions are executed at once."""

    rules: HandshakeRules
    state: HandshakeState = field(default_factory=HandshakeState)
    now: float = 10.0
    high: bool = False
    risen: datetime = START
    done: bool = False
    done_since: datetime = START
    shown: tuple[int, str] | None = None
    """The verdict in the PLC: of which part, and which."""
    waiting: list[int] = field(default_factory=list)
    """The parts that wait for done, in order."""
    count: int = 0
    asked: dict[str, int] = field(default_factory=dict)
    """The part of each request."""
    got: dict[int, list[str]] = field(default_factory=dict)
    """The verdicts that each part got with a done."""
    lost: dict[int, str] = field(default_factory=dict)
    """Parts that the bridge let go, and why."""
    is_proven: bool = True
    """Whether the PLC's clock tells rises apart over a gap; else the part ids do."""
    epoch: int = 0
    fault: WriteFault = "none"
    is_recheck_due: bool = False

    # Operations.

    def rise(self) -> None:
        must_wait = self.done if self.rules.bridge_clears_done else self.waiting and not self.rules.queued
        if self.high or must_wait:
            return
        if self.done and not self.rules.queued:
            self._set_done(high=False)
        self.count += 1
        self.high, self.risen = True, self._instant()
        self.waiting.append(self.count)
        if self.state.is_attached:
            self._notify_signal()
            self._admit()

    def fall(self) -> None:
        """A PLC that queues lowers its signal some time after its part was asked about, another one after done."""
        is_asked = self.count in self.asked.values()
        if self.high and (is_asked if self.rules.queued and not self.rules.bridge_clears_done else not self.waiting):
            self._lower_signal()

    def look(self) -> None:
        """A gap in the values, or the end of a debounce, is a reason to read the view."""
        if self.state.is_attached:
            self._recheck()

    def take(self) -> None:
        """The PLC sees done, and is through with its first part; in a queue it clears done at once."""
        if not self.done or self.shown is None:
            return
        self.got.setdefault(self.waiting.pop(0), []).append(self.shown[1])
        self.shown = None
        if self.rules.bridge_clears_done:
            self._lower_signal()
        elif self.rules.queued:
            self._set_done(high=False)

    def answer(self) -> None:
        """The result of the oldest request without one."""
        if open_part := next((each for each in self.state.parts if each.answer is None), None):
            verdict: Any = "pass" if self.asked[open_part.request_id] % 2 else "fail"
            self._answer(open_part, Answer(verdict, 0.9, "result", "judged"))

    def pass_time(self) -> None:
        self.now += DEADLINE_S
        for each in self.state.parts:
            if each.answer is None and self.now > each.answer_by:
                self._answer(each, unknown("deadline", "late"))

    def cut(self) -> None:
        self.state = handshake.detached(self.state)
        self.is_recheck_due = False
        self.epoch += 1

    def come_back(self) -> None:
        """A session begins: the first value of each tag, and a view where a part may wait."""
        if not self.state.is_attached:
            self._follow(handshake.attached(self.state))
            self._notify_signal()
            self._notify_done()
            if self.state.newest or self.high:
                self._recheck()

    def recheck(self) -> None:
        if self.is_recheck_due and self.state.is_attached:
            self.is_recheck_due = False
            self._recheck()

    def settle(self) -> None:
        """No more faults: all that is due happens, and each part has had its done or was let go.

        A view is read only where the handshake asks for it: what it waits for must wake it.
        """
        self.fault = "none"
        self.come_back()
        for _ in range(20 * (len(self.waiting) + 1)):
            for operation in (self.answer, self.recheck, self.take, self.fall):
                self.now += STEP_S
                operation()
        for number in range(1, self.count + 1):
            verdicts = self.got.get(number, [])
            assert len(verdicts) <= 1
            assert set(verdicts) <= {"unknown", "pass" if number % 2 else "fail"}
            # A queued part may go without: one done that cannot be proven is better than two (decision 0007).
            assert verdicts or (self.rules.queued and number in self.lost), f"part {number} got no done"

    # The bridge's side.

    def _answer(self, of: Part, answer: Answer) -> None:
        self._follow(handshake.answered(self.state, of.request_id, answer, self.rules, self._situation()))

    def _admit(self) -> None:
        request_id = f"r-{len(self.asked)}"
        self.asked[request_id] = self.count
        new = Part.arrived(
            request_id,
            seen=self.now,
            deadline_s=DEADLINE_S,
            margin_s=0.02,
            part_id=self._part_id(),
            risen=self.risen,
            epoch=self.epoch,
        )
        self._follow(handshake.arrived(self.state, new, self.rules))

    def _recheck(self) -> None:
        view = StationView(
            present=self.high,
            done=self.done,
            part_id=self._part_id(),
            risen=self.risen,
            done_since=self.done_since,
            epoch=None if self.is_proven else self.epoch,
        )
        seen = ViewRead(view, self._signal())
        self._follow(handshake.viewed(self.state, seen, self.rules, self._situation(), recover=True))

    def _notify_done(self) -> None:
        if self.rules.queued and not self.done and self.state.is_attached:
            self._follow(handshake.done_lowered(self.state, self.done_since))

    def _notify_signal(self) -> None:
        self._follow(handshake.signal_changed(self.state, self._signal(), self.rules, self._situation()))

    def _follow(self, step: Step) -> None:
        self.state, actions = step
        due = deque(actions)
        while due:
            self._execute(due.popleft())

    def _execute(self, action: Action) -> None:
        match action:
            case ReadView() if self.state.is_attached:
                self._recheck()
            case RecheckLater() | RecheckNext():
                self.is_recheck_due = self.state.is_attached
            case WriteVerdict(of, answer):
                self._write(of, answer)
            case ClearDone():
                if self.state.is_attached:
                    self._set_done(high=False)
                is_lowered = self.state.is_attached
                situation = self._situation()
                self._follow(handshake.cleared(self.state, action, self.rules, situation, is_lowered=is_lowered))
            case DropPart(of):
                self.lost[self.asked[of.request_id]] = of.lost or ""
            case RecoverPart():
                self._admit()
            case ClosePart() | MarkHandled() | CountView() | ReadView():
                pass

    def _write(self, of: Part, answer: Answer) -> None:
        fault, self.fault = self.fault, "none"
        is_cut = fault in {"cut before", "cut after"}
        if fault in {"none", "cut after"}:
            number = self.asked[of.request_id]
            while self.waiting and self.lost.get(self.waiting[0]) == "overrun":
                self.waiting.pop(0)  # too many waited: the part id tells the PLC that this verdict is a later part's
            assert self.waiting, f"a done for nobody, of part {number}"
            assert self.waiting[0] == number, f"part {self.waiting[0]} gets the verdict of part {number}"
            assert not self.done, "done is raised over done"
            self.shown = number, answer.verdict
            self._set_done(high=True)
        if is_cut:
            self.cut()
        end = WriteEnd(
            done_raised=fault == "none",
            raising=fault == "cut after",
            failure=None if fault == "none" else fault,
            is_session_lost=is_cut,
        )
        self._follow(handshake.written(self.state, of.request_id, end, self.rules, self._situation()))

    # The PLC's side.

    def _set_done(self, *, high: bool) -> None:
        self.done, self.done_since = high, self._instant()
        self._notify_done()

    def _lower_signal(self) -> None:
        if not self.high:
            return
        self.high, self.risen = False, self._instant()
        if self.state.is_attached:
            self._notify_signal()

    def _signal(self) -> Sample:
        return Sample(self.high, "good", self.risen, None, START, self.now)

    def _instant(self) -> datetime:
        self.now += 0.001
        return START + timedelta(seconds=self.now)

    def _situation(self) -> Situation:
        return Situation(self.now, START, epoch=self.epoch)

    def _part_id(self) -> str | None:
        return None if self.is_proven else f"P-{self.count}"


OPERATIONS = (
    "rise",
    "rise",
    "rise",
    "fall",
    "fall",
    "answer",
    "take",
    "answer",
    "pass_time",
    "cut",
    "come_back",
    "recheck",
    "look",
    "settle",
)
FAULTS: tuple[WriteFault, ...] = ("refused", "cut before", "cut after")


@pytest.mark.parametrize("is_proven", [True, False])
@pytest.mark.parametrize("rules", [RULES, CLEARS, QUEUED, QUEUED_CLEARS])
@given(sequence=st.lists(st.sampled_from(OPERATIONS + FAULTS), min_size=40, max_size=80))
@settings(deadline=None, max_examples=300)
def test_in_any_sequence_of_events_each_part_gets_exactly_one_done_of_its_own(
    rules: HandshakeRules, is_proven: bool, sequence: list[str]
) -> None:
    rig = Rig(replace(rules, grace_s=PATIENCE_S), is_proven=is_proven)
    rig.come_back()
    for step in sequence:
        rig.now += STEP_S
        if step in FAULTS:
            rig.fault = step  # type: ignore[assignment]
        else:
            getattr(rig, step)()
    rig.settle()
