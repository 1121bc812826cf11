"""The handshake with the PLC, from the answer to done: functions from (state, event) to (state, actions). Pure.

Nothing here reads, writes, waits or logs: `handshake_driver` executes the actions and reports how they ended.

A write that failed, or an answer that was held during an outage, is written only after a view of the PLC has shown that
the same part still waits (see `part_status`). Where parts are queued, the next verdict is written once done is low.
With `clear_done: bridge` the bridge lowers done as soon as the PLC has lowered its signal, and a verdict is written
only while the signal is high: a PLC that lowered it no longer wants the verdict.

Where nothing is written (no write-back, or `simulate`) a part is closed by its answer.

What ends each wait:

- a part without an answer: its result, or the timer of its deadline;
- an answer that is not in the PLC yet (done of the part before is high, the signal is low, a write was refused, a value
  is unreadable, a notification is on its way, ownership is unsure): a recheck after a pause, until deadline and grace;
- an answer behind other parts: the end of the part before;
- all that waits while the PLC is away: the next session, by its first values and by a recheck;
- a part that is not known, behind done: the value of done, which is subscribed where parts are queued;
- done that the bridge lowers: the value of the signal; while lowering is refused, a recheck after a pause;
- a station that another bridge serves: the change of ownership.
"""

from dataclasses import replace
from datetime import datetime

from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station.handshake_signal import ViewRead
from lineside_opcua_bridge.station.handshake_state import (
    MAX_PAUSE_S,
    Action,
    After,
    Assessment,
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
from lineside_opcua_bridge.station.part_status import (
    PartStatus,
    SettledRise,
    StationView,
    shows_last,
    status_by_signal,
    status_in_queue,
    status_without_signal,
)
from lineside_opcua_bridge.station.parts import Answer, Part, answer_in_time

# Events.


def attached(state: HandshakeState) -> Step:
    """There is a session with the PLC; a verdict that was held waits for a view, not for a value of the trigger."""
    state = replace(state, is_attached=True)
    return state, (RecheckLater(),) if state.first and state.first.answer else ()


def detached(state: HandshakeState) -> HandshakeState:
    """The session is lost; the parts that wait are kept."""
    return replace(state, is_attached=False, was_away=True)


def arrived(state: HandshakeState, part: Part, rules: HandshakeRules) -> Step:
    """A part arrived that the PLC shows now; too many drop the oldest, and the next may have its answer already."""
    actions: list[Action] = []
    while len(state.parts) >= rules.max_parts:
        state, dropped = _drop(state, state.parts[0], "overrun" if rules.queued else "superseded")
        actions.append(dropped)
    state = replace(state, parts=(*state.parts, part), settled=None)
    if actions and state.first and state.first.answer:
        actions.append(RecheckNext())
    if not rules.queued:
        state = replace(state, was_away=not state.is_attached)
    return state, tuple(actions)


def passed_over(state: HandshakeState, risen: datetime | None) -> HandshakeState:
    """The part whose signal rose then shall get no verdict from us."""
    return replace(state, passed_over=risen)


def signal_changed(state: HandshakeState, signal: Sample, rules: HandshakeRules, at: Situation) -> Step:
    """A value of the handshake signal came; its source timestamp is the instant by which it is known."""
    before, state = state.signal, replace(state, signal=signal, ahead_since=None)
    present = rules.signal.present(signal) if rules.signal else None
    newest, first = state.newest, state.first
    if present is False and state.settled and not _is_before(signal, state.settled):
        state = replace(state, settled=None)
    if rules.signal and rules.signal.role == "request" and present and newest and not newest.attempts:
        state = state.with_part(replace(newest, risen=signal.source, epoch=at.epoch))
    if not rules.bridge_clears_done or present is None:
        return state, ()
    if present:
        is_due = first is not None and first.answer is not None
    else:
        is_due = state.done_raised or before is None or state.was_away
    return state, (ReadView(),) if is_due else ()


def done_lowered(state: HandshakeState, since: datetime | None) -> Step:
    """Done was notified as low, since then by the PLC's clock; a view tells whether it still is, and who waits."""
    state = replace(state, done_low_since=since)
    is_due = state.is_behind_done or (state.first and state.first.answer)
    return state, (ReadView(),) if is_due else ()


def answered(state: HandshakeState, request_id: str, answer: Answer, rules: HandshakeRules, at: Situation) -> Step:
    """The answer to a request came. Only the first one for a part that still waits counts."""
    part = state.part(request_id)
    if part is None or part.answer is not None:
        return state, ()
    part = part.answered(answer)
    state = state.with_part(part)
    if not rules.writes:
        return state.without(part), (ClosePart(part, answer),)
    if not state.is_attached or part != state.first:
        return state, ()
    if rules.bridge_clears_done and state.done_raised and not rules.queued:
        return _clear_done(state, After.ANSWER, None, rules, at)
    return _answer_first(state, rules, at)


def viewed(state: HandshakeState, read: ViewRead, rules: HandshakeRules, at: Situation, *, recover: bool) -> Step:
    """A view of the station was read; a part that nobody asked about is asked about only with `recover`."""
    state, is_ahead = _check_ahead(state, read, at)
    if read.is_early and is_ahead:
        return state, (RecheckLater(),)
    assessed = Assessment(read.view, read.signal, is_ahead, recover and not is_ahead)
    is_of_part_before = rules.bridge_clears_done and read.view.done and state.done_raised
    if is_of_part_before and _is_asked_anew(state, read.view, rules):
        # The PLC raised its signal again before it saw done go low: this done is of the part before.
        return _clear_done(state, After.VIEW, assessed, rules, at)
    return _assess(state, assessed, rules, at)


def cleared(
    state: HandshakeState, action: ClearDone, rules: HandshakeRules, at: Situation, *, is_lowered: bool
) -> Step:
    """Lowering done has ended."""
    return _after_clear(
        replace(state, done_raised=state.done_raised and not is_lowered), action, rules, at, is_lowered=is_lowered
    )


def written(state: HandshakeState, request_id: str, end: WriteEnd, rules: HandshakeRules, at: Situation) -> Step:
    """Writing the verdict of a part has ended."""
    part = state.part(request_id)
    if part is None or part.answer is None:
        return state, ()
    answer, part = part.answer, replace(part, raising=end.raising, failure=end.failure)
    state = state.with_part(part)
    if end.done_raised:
        return _close_written(state, part, answer, rules, at)
    if end.is_session_lost:
        return replace(state, was_away=True), ()  # held until the PLC is back
    if at.now > part.deadline + rules.grace_s:
        return _drop_and_go_on(state, part, "write_failed", rules)
    return state, (RecheckLater(),)


# Decisions.


def risen_now(state: HandshakeState, rules: HandshakeRules, trigger: datetime | None) -> datetime | None:
    """Return when the signal of the part rose whose trigger is known by this instant; None where unknown."""
    if rules.signal is None:
        return None
    if rules.signal.role == "trigger":
        return trigger
    return state.signal.source if state.signal and rules.signal.present(state.signal) else None


def _answer_first(state: HandshakeState, rules: HandshakeRules, at: Situation) -> Step:
    """Write the first part's answer, or view the PLC first where it is not certain that this part still waits."""
    part = state.first
    if part is None or part.answer is None:
        return state, ()
    is_uncertain = state.was_away or at.now > part.deadline
    is_not_yet = rules.queued and state.done_raised
    if rules.bridge_clears_done:
        is_not_yet = is_not_yet or not (rules.signal and rules.signal.present(state.signal))
    if is_uncertain or is_not_yet:
        return state, (ReadView(),)
    return _write(state, part, part.answer, rules, at)


def _check_ahead(state: HandshakeState, read: ViewRead, at: Situation) -> tuple[HandshakeState, bool]:
    """Return whether a notification of the value that the view shows is still to come: waited for, but not for ever."""
    if not (read.is_on_its_way or read.is_early):
        return replace(state, ahead_since=None), False
    since = state.ahead_since or at.now
    return replace(state, ahead_since=since), at.now - since < 2 * max(at.notification_delay_s, MAX_PAUSE_S)


def _is_asked_anew(state: HandshakeState, view: StationView, rules: HandshakeRules) -> bool:
    """Whether the PLC raised its signal again since done was raised; a queued part may have waited before that."""
    if state.first is None:
        return view.present is True and state.settled is None
    if state.first.attempts:
        return False
    if not rules.queued:
        return True
    if not view.present or view.risen is None or state.served is None:
        return False
    risen, epoch = state.served
    return view.risen != risen and view.epoch in {None, epoch}


def _is_before(signal: Sample, settled: SettledRise) -> bool:
    return signal.source is not None and settled.risen is not None and signal.source <= settled.risen


def _status(state: HandshakeState, view: StationView, rules: HandshakeRules, at: Situation) -> PartStatus:
    status = _status_of_parts(state, view, rules, at)
    if status is PartStatus.NEW and state.settled and state.settled.is_shown(view, queued=rules.queued):
        return PartStatus.NOTHING
    return status


def _status_of_parts(state: HandshakeState, view: StationView, rules: HandshakeRules, at: Situation) -> PartStatus:
    if rules.queued:
        return status_in_queue(
            state.parts,
            view,
            at.now,
            has_signal=rules.signal is not None,
            grace_s=rules.grace_s,
            done_raised=state.done_raised,
            plc_clears_done=not rules.bridge_clears_done,
        )
    if rules.signal is None:
        return status_without_signal(state.first, view, at.now, grace_s=rules.grace_s)
    grace_s = 0.0 if rules.bridge_clears_done else rules.grace_s
    return status_by_signal(state.first, view, at.now, grace_s=grace_s)


def _assess(state: HandshakeState, assessed: Assessment, rules: HandshakeRules, at: Situation) -> Step:
    view = assessed.view
    status = _status(state, view, rules, at)
    actions: list[Action] = [CountView(status)]
    state = replace(state, was_away=state.was_away and status is PartStatus.UNREADABLE)
    state = _see_signal(state, view, rules, at)
    if view.done is False:
        state = replace(state, done_raised=False, done_low_since=view.done_since)
    elif (
        view.done and (rules.queued or rules.bridge_clears_done) and status in {PartStatus.NOTHING, PartStatus.ANSWERED}
    ):
        state = replace(
            state, done_raised=True
        )  # also by an earlier run of the bridge: the next part waits for its fall
    if view.present and not assessed.is_ahead:
        actions.append(MarkHandled(view.risen))
    if status is PartStatus.NEW and assessed.signal:
        state, more = _new_part(state, assessed, assessed.signal, rules, at)
    else:
        state, more = _known_part(state, view, status, rules, at)
    actions += more
    if rules.bridge_clears_done and view.done and view.present is False:
        state, more = _clear_done(state, After.NOTHING, None, rules, at)
        actions += more
    return state, tuple(actions)


def _see_signal(state: HandshakeState, view: StationView, rules: HandshakeRules, at: Situation) -> HandshakeState:
    """Return the state with what a view says of the signal: which rise is settled, and who is behind done."""
    if view.present is False:
        state = replace(state, settled=None)
    if not (view.present and view.done):
        return replace(state, is_behind_done=False)
    if not state.parts and state.settled is None and not state.done_raised:
        # Done is of an earlier run of the bridge, or of another bridge: it tells that this part was judged.
        state = replace(state, settled=SettledRise(view.risen, view.part_id))
    is_known = shows_last(state.parts, view, at.now, rules.grace_s)
    is_settled = state.settled is not None and state.settled.is_shown(view, queued=rules.queued)
    return replace(state, is_behind_done=rules.queued and not is_known and not is_settled)


def _new_part(
    state: HandshakeState, assessed: Assessment, signal: Sample, rules: HandshakeRules, at: Situation
) -> Step:
    view, first = assessed.view, state.first
    actions: list[Action] = []
    if view.risen is not None and view.risen == state.passed_over:
        if first and not rules.queued:
            state, dropped = _drop(state, first, "gone")
            actions.append(dropped)
    else:
        is_fresh = False
        if assessed.recover:
            state, is_fresh = _check_fresh(state, view, rules, at)
        if is_fresh or not assessed.recover:  # its own value is on its way
            return state, (RecheckLater(),)
        actions.append(RecoverPart(signal, view.risen))
    if rules.queued and first and first.answer:
        actions.append(RecheckLater())
    return state, tuple(actions)


def _check_fresh(
    state: HandshakeState, view: StationView, rules: HandshakeRules, at: Situation
) -> tuple[HandshakeState, bool]:
    """Return whether a request signal beside the trigger rose only now: its trigger may still come."""
    if rules.signal is None or rules.signal.role != "request":
        return state, False
    if state.first_viewed[0] != view.risen or view.risen is None:
        state = replace(state, first_viewed=(view.risen, at.now))
    return state, view.risen is not None and at.now - state.first_viewed[1] < MAX_PAUSE_S


def _known_part(
    state: HandshakeState, view: StationView, status: PartStatus, rules: HandshakeRules, at: Situation
) -> Step:
    part = state.first
    answer = part.answer if part else None
    if part and answer and answer.origin == "trigger" and status is PartStatus.UNREADABLE and view.done is False:
        return _write(state, part, answer, rules, at)  # the answer is that the trigger cannot be read
    if status in {PartStatus.UNREADABLE, PartStatus.TAKING}:
        return state, (RecheckLater(),)
    if part and status is PartStatus.GONE:
        return _let_go(state, part, view, rules)
    if part and status is PartStatus.ANSWERED:
        return _found_answered(state, part, view, rules, at)
    if part and answer and status is PartStatus.WAITING:
        return _write_if_wanted(state, part, answer, view, rules, at)
    return state, ()


def _write_if_wanted(
    state: HandshakeState, part: Part, answer: Answer, view: StationView, rules: HandshakeRules, at: Situation
) -> Step:
    """Write the answer of a part that waits; only the fail-safe where nothing proves that it is in time."""
    if rules.bridge_clears_done and not view.present:
        return state, (RecheckLater(),)  # until the PLC wants it, or the deadline
    is_shown = view.present and not rules.queued and view.epoch is None
    answer = answer_in_time(part, answer, at.now, risen=view.risen if is_shown else None)
    part = replace(part, answer=answer)
    return _write(state.with_part(part), part, answer, rules, at)


def _let_go(state: HandshakeState, part: Part, view: StationView, rules: HandshakeRules) -> Step:
    if rules.queued and view.done:
        return _drop_and_go_on(_settled(state, part, rules), part, "not_taken", rules)
    return _drop_and_go_on(state, part, "gone", rules)


def _found_answered(state: HandshakeState, part: Part, view: StationView, rules: HandshakeRules, at: Situation) -> Step:
    """Let go a part that the PLC shows as answered: by our own write, if one was begun and done is high."""
    if not (part.answer and part.attempts):
        return _drop_and_go_on(_settled(state, part, rules), part, "answered_elsewhere", rules)
    if view.done:
        return _close_written(state, part, part.answer, rules, at)
    # Done may have been raised, taken and lowered unseen.
    return _drop_and_go_on(_settled(replace(state, done_raised=False), part, rules), part, "unproven", rules)


def _write(state: HandshakeState, part: Part, answer: Answer, rules: HandshakeRules, at: Situation) -> Step:
    if at.ownership is not OwnershipState.OWNER:
        if at.ownership is OwnershipState.STANDBY or at.now > part.deadline + rules.grace_s:
            return _drop_and_go_on(state, part, "not_owner", rules)
        return state, (RecheckLater(),)
    part = replace(part, attempts=part.attempts + 1, low_since=state.done_low_since)
    return replace(state.with_part(part), done_low_since=None), (WriteVerdict(part, answer),)


def _close_written(state: HandshakeState, part: Part, answer: Answer, rules: HandshakeRules, at: Situation) -> Step:
    rose = state.signal.source if state.signal and rules.signal else None
    part = replace(part, written=at.utc, written_late=at.now > part.deadline)
    state = replace(_settled(state, part, rules), done_raised=True, served=(rose, at.epoch) if rose else None)
    state = state.without(part)
    return state, (ClosePart(part, answer), *_go_on(state, rules))


def _settled(state: HandshakeState, part: Part, rules: HandshakeRules) -> HandshakeState:
    """Return the state once a part is settled: where that is the newest part, the signal may still be its own."""
    rise = SettledRise(part.risen, part.part_id)
    is_low = rules.signal is not None and rules.signal.present(state.signal) is False
    has_fallen = is_low and state.signal is not None and not _is_before(state.signal, rise)
    is_newest = state.newest is not None and state.newest.request_id == part.request_id
    return replace(state, settled=rise) if is_newest and not has_fallen else state


def _drop_and_go_on(state: HandshakeState, part: Part, reason: str, rules: HandshakeRules) -> Step:
    state, dropped = _drop(state, part, reason)
    return state, (dropped, *_go_on(state, rules))


def _drop(state: HandshakeState, part: Part, reason: str) -> tuple[HandshakeState, DropPart]:
    return state.without(part), DropPart(replace(part, lost=reason))


def _go_on(state: HandshakeState, rules: HandshakeRules) -> tuple[Action, ...]:
    """Recheck where the next part has its answer already, or where the PLC lowered its signal."""
    signal_lowered = rules.bridge_clears_done and rules.signal and rules.signal.present(state.signal) is False
    return (RecheckNext(),) if signal_lowered or (state.first and state.first.answer) else ()


def _clear_done(
    state: HandshakeState, after: After, assessed: Assessment | None, rules: HandshakeRules, at: Situation
) -> Step:
    action = ClearDone(after, assessed)
    if at.ownership is OwnershipState.OWNER:
        return state, (action,)
    # On standby the other bridge lowers done; while ownership is unknown nobody does.
    return _after_clear(state, action, rules, at, is_lowered=at.ownership is OwnershipState.STANDBY)


def _after_clear(
    state: HandshakeState, action: ClearDone, rules: HandshakeRules, at: Situation, *, is_lowered: bool
) -> Step:
    first = state.first
    if not is_lowered and not (action.after is After.VIEW and first and at.now > first.deadline + rules.grace_s):
        return state, (RecheckLater(),)
    if action.after is After.VIEW and action.assessed:
        assessed = replace(action.assessed, view=replace(action.assessed.view, done=not is_lowered))
        return _assess(state, assessed, rules, at)
    return _answer_first(state, rules, at) if action.after is After.ANSWER else (state, ())
