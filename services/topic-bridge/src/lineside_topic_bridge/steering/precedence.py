"""Which policy follows from the wishes of several sources, as a function from state and event to state and work.

The sources stand in an order. What the first of them names wins, name by name: a threshold of one label, the version of
one model, a field of `capture`. What it does not name is the next one's, and what nobody names has its default. A
source whose newest wish is wrong keeps the last one that was good.

Before every source that is waited for was heard, or given up, nothing is applied: a bridge that starts would else put
what the topic says into force for the moment until the shadow is read, and judging could flicker on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lineside_topic_bridge.steering.wishes import Answer, Document, Origin, Wish


@dataclass(frozen=True)
class Side:
    """What is known of one source."""

    good: Document | None = None
    """What it wished last that was taken; None: nothing."""
    new: Document | None = None
    """What it wishes now and nobody answered yet; only where `is_new`."""
    is_new: bool = False
    errors: tuple[str, ...] = ()
    """What was wrong with its newest wish."""
    refused: Document | None = None
    """Its newest wish, where that was the inference service's refusal."""

    @property
    def wished(self) -> Document | None:
        """What counts of it now."""
        return self.new if self.is_new else self.good


@dataclass(frozen=True)
class State:
    """What all sources wish, and what was applied of it."""

    order: tuple[Origin, ...]
    """The sources, the first comes first."""
    awaited: frozenset[Origin] = frozenset()
    """Those without which nothing is applied yet."""
    sides: Mapping[Origin, Side] = field(default_factory=dict)
    applied: Document | None = None
    """The policy that the inference service took last; None: none since our start."""

    def side(self, origin: Origin) -> Side:
        """Return what is known of a source."""
        return self.sides.get(origin, Side())

    @property
    def steering(self) -> tuple[Origin, ...]:
        """The sources that wish something, the first first."""
        return tuple(origin for origin in self.order if self.side(origin).wished is not None)

    @property
    def errors(self) -> dict[Origin, tuple[str, ...]]:
        """What is wrong with the newest wish of each source, where something is."""
        return {origin: self.side(origin).errors for origin in self.order if self.side(origin).errors}


@dataclass(frozen=True)
class Step:
    """What follows from an event."""

    state: State
    put: Document | None = None
    """The policy to ask the inference service for; None: nothing is to be changed."""
    answers: Mapping[Origin, Answer] = field(default_factory=dict)
    """What is to be told to which source."""
    is_repeated: bool = False
    """Whether the wish was there already."""


def hear(state: State, wish: Wish) -> Step:
    """Take a wish. The policy to apply follows from all of them."""
    side = state.side(wish.origin)
    heard = replace(state, awaited=state.awaited - {wish.origin})
    if wish.errors and wish.errors == side.errors and not side.is_new:
        return replace(_next(heard), answers={wish.origin: Answer("refused", wish.errors)}, is_repeated=True)
    if wish.errors:
        good = side.good if side.good is not None else wish.stands
        stands = replace(side, good=good, new=None, is_new=False, errors=wish.errors, refused=None)
        return _next(_with(heard, wish.origin, stands), {wish.origin: Answer("refused", wish.errors)})
    if wish.document is None:
        return _next(_with(heard, wish.origin, Side()))
    if wish.document == side.wished and not side.errors:
        step = _next(heard)
        # Asked again it is answered again: who restarts does not know what became of it.
        known = {} if side.is_new else {wish.origin: Answer("applied")}
        return replace(step, answers=known, is_repeated=True)
    if side.errors and not side.is_new and wish.document == side.refused:
        return replace(_next(heard), answers={wish.origin: Answer("refused", side.errors)}, is_repeated=True)
    return _next(_with(heard, wish.origin, replace(side, new=wish.document, is_new=True)))


def give_up(state: State, origin: Origin) -> Step:
    """Wait no longer for a source that was not heard since the start."""
    return _next(replace(state, awaited=state.awaited - {origin}))


def interrupted(state: State) -> State:
    """Know that a policy was asked for whose answer nobody waits for any more: it may be in force or not."""
    return replace(state, applied=None)


def settle(state: State, put: Document, errors: tuple[str, ...]) -> Step:
    """Take the inference service's answer to a policy: applied where there are no errors.

    Of a refused one those sources are to blame that name what is wrong; they are back at their last good wish, and the
    others' are tried again without them.
    """
    pending = tuple(origin for origin in state.order if state.side(origin).is_new)
    if not errors:
        taken = {origin: Side(good=state.side(origin).new) for origin in pending}
        done = replace(state, sides={**state.sides, **taken}, applied=put)
        return _next(done, dict.fromkeys(pending, Answer("applied")))
    blamed = blame(errors, {origin: state.side(origin).wished for origin in state.order})
    loose = tuple(error for error in errors if all(error not in found for found in blamed.values()))
    if loose or not any(origin in blamed for origin in pending):
        for origin in pending:
            blamed[origin] = errors
    sides = dict(state.sides)
    for origin, found in blamed.items():
        side = state.side(origin)
        sides[origin] = Side(good=side.good, errors=found, refused=side.wished)
    answers = {origin: Answer("refused", found) for origin, found in blamed.items()}
    step = _next(replace(state, sides=sides), answers)
    if step.put != put:
        return step
    # Without the blamed wishes it is the same policy, refused again for ever: what is new waits no more.
    left = [origin for origin in pending if origin not in blamed]
    for origin in left:
        sides[origin] = Side(good=state.side(origin).good, errors=errors, refused=state.side(origin).wished)
    answers |= dict.fromkeys(left, Answer("refused", errors))
    return Step(replace(state, sides=sides), None, answers)


def merged(state: State) -> dict[str, Any]:
    """Return the policy that follows from all wishes, with only what is named."""
    whole: dict[str, Any] = {}
    for origin in reversed(state.order):
        for name, value in (state.side(origin).wished or {}).items():
            below = whole.get(name)
            whole[name] = {**below, **value} if isinstance(below, dict) and isinstance(value, Mapping) else value
    return whole


def blame(errors: Iterable[str], wishes: Mapping[Origin, Document | None]) -> dict[Origin, tuple[str, ...]]:
    """Return the errors by the source that caused them: the first that names the place at which an error begins.

    An error begins with its place, such as `policy.thresholds.scratch`; one that no source names is left out.
    """
    found: dict[Origin, tuple[str, ...]] = {}
    for error in errors:
        named = next((origin for origin, wish in wishes.items() if _names(wish, error)), None)
        if named is not None:
            found[named] = (*found.get(named, ()), error)
    return found


def _names(wish: Document | None, error: str) -> bool:
    for name, value in (wish or {}).items():
        if isinstance(value, Mapping):
            if any(error.startswith((f"policy.{name}.{inner}:", f"policy.{name}.{inner}.")) for inner in value):
                return True
        elif error.startswith((f"policy.{name}:", f"policy.{name}.")):
            return True
    return False


def _with(state: State, origin: Origin, side: Side) -> State:
    return replace(state, sides={**state.sides, origin: side})


def _next(state: State, answers: Mapping[Origin, Answer] | None = None) -> Step:
    """Return the step to a state.

    The policy of it is put where it is not what was applied last, and where a wish waits for its answer: also where
    another source overrules all that it changes, for the answer says that it is no mistake.
    """
    wanted = merged(state) if state.steering and not state.awaited else None
    is_due = wanted != state.applied or any(side.is_new for side in state.sides.values())
    return Step(state, wanted if is_due else None, answers or {})
