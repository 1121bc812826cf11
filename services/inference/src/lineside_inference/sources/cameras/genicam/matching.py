"""Which frame belongs to which part: by the time of the exposure and that of the part's trigger, one to one.

The promise: exposures are `apart_s` or more apart, and the exposure of a part is at most `within_s` away from its
trigger and `delay_s`. Then a frame that fits a part and is another's would be at most 2 * (within_s + error) away from
the part's own, which is less than `apart_s`: it does not exist, in whatever order the two come, and whatever is lost.
A frame whose instant is not known well enough for that is given to nobody, and a part that it fits gets no other: the
clock is at fault then, and not the line. Nor is a frame given where the line does not keep the promise. What comes
later than a window's end shows that nothing of it comes any more: a camera sends in order.
"""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
Cause = Literal["lost", "incomplete", "ambiguous", "inexact", "forgotten"]
"""Why a part gets no frame: none came; not whole; several fit, or one fits several; its instant is not known well
enough; it was let go before the part was asked about."""

COUNTED = ("matched", "without_request", "without_frame", "incomplete", "ambiguous", "inexact", "late")
_LET_GO_FOR: dict[str, Cause] = {"ambiguous": "ambiguous", "inexact": "inexact"}
_MOST_REMEMBERED = 4096


@dataclass(frozen=True)
class Rule:
    """What the settings promise of the line; all in seconds."""

    delay_s: float
    """From the part's trigger to its exposure."""
    within_s: float
    """By how much the exposure may come earlier or later than that."""
    apart_s: float
    """The least time between two exposures."""
    keep_s: float
    """How long a frame waits for its request."""
    most_kept: int
    """How many frames wait at most."""


@dataclass(frozen=True)
class Exposure(Generic[T]):
    """A frame by its instant, of time.monotonic(), and the error of that; `frame` is None where it is not whole."""

    at: float
    error_s: float
    frame: T | None


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What came of one part: its frame and the exposure's instant less the expected one, in seconds; or the cause."""

    part: Hashable
    exposure: Exposure[T] | None = None
    off_s: float = 0.0
    cause: Cause | None = None


class _Asked:
    """A part: open as long as somebody waits for its frame."""

    def __init__(self, part: Hashable, expected: float, since: float) -> None:
        self.part, self.expected, self.since = part, expected, since
        self.is_open = True
        self.has_given_up = False
        self.was_inexact = False


class _Seen(Generic[T]):
    """A frame: its instant is remembered when its pixels are given, spent or let go."""

    def __init__(self, exposure: Exposure[T], since: float) -> None:
        self.at, self.error_s, self.frame, self.since = exposure.at, exposure.error_s, exposure.frame, since
        self.cause: Cause = "incomplete"
        """Why it is given to nobody, where it has no pixels (any more)."""

    def end(self, cause: Cause) -> None:
        self.frame, self.cause = None, cause


class Matcher(Generic[T]):
    """Parts that were asked about and frames that came, each remembered for a while; `now` is never decided by."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._asked: list[_Asked] = []
        self._seen: list[_Seen[T]] = []
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))

    def ask(self, part: Hashable, trigger: float, now: float) -> list[Answer[T]]:
        """Take a part by the instant of its trigger, of time.monotonic(); return what can be said now, of any part."""
        self.tidy(now)
        asked = _Asked(part, trigger + self._rule.delay_s, now)
        self._asked.append(asked)
        return self._settle(asked)

    def expose(self, exposure: Exposure[T], now: float) -> list[Answer[T]]:
        """Take a frame; return what can be said now, of any part."""
        self.tidy(now)
        seen = _Seen(exposure, now)
        self._seen.append(seen)
        fitting = [asked for asked in self._asked if self._fits(asked, seen)]
        if fitting and not any(asked.is_open for asked in fitting):
            self._let_go(seen, self._why_nobodys(seen, fitting))
        answers: list[Answer[T]] = []
        for asked in self._asked:
            if asked.is_open and (asked in fitting or self._is_behind(asked, seen)):
                answers += self._settle(asked)
        waiting = [each for each in self._seen if each.frame is not None]
        for each in waiting[: max(0, len(waiting) - self._rule.most_kept)]:
            self._let_go(each, "without_request")
        return answers

    def give_up(self, part: Hashable) -> None:
        """Say that nobody waits for a part any more; its frame is known as its own all the same when it comes."""
        for asked in self._asked:
            if asked.part == part and asked.is_open:
                asked.is_open, asked.has_given_up = False, True
                self.counts["without_frame"] += 1

    def tidy(self, now: float) -> None:
        """Let go of frames that waited too long, and in time of what is remembered of parts and frames."""
        for seen in self._seen:
            if now - seen.since > self._rule.keep_s:
                self._let_go(seen, "without_request")
        horizon = now - 2 * self._rule.keep_s
        self._seen = [seen for seen in self._seen if seen.since >= horizon][-_MOST_REMEMBERED:]
        self._asked = [asked for asked in self._asked if asked.is_open or asked.since >= horizon][-_MOST_REMEMBERED:]

    def forget(self) -> None:
        """Let go of all frames: the camera was connected to anew, or its clock was set."""
        for seen in self._seen:
            self._let_go(seen, "without_request")
        self._seen = []

    def _settle(self, asked: _Asked) -> list[Answer[T]]:
        """Answer a part if that can be done, and those with whom it shares a frame."""
        if not asked.is_open:
            return []
        frames = [seen for seen in self._seen if self._fits(asked, seen)]
        if not frames:
            is_over = any(self._is_behind(asked, seen) for seen in self._seen)
            return [self._refuse(asked, "lost")] if is_over else []
        if not all(self._is_exact(seen) for seen in frames):  # its neighbours' frames fit it too, as far as is known
            for seen in frames:
                seen.end("inexact")
            return [self._refuse(asked, "inexact")]
        parts = [other for other in self._asked if any(self._fits(other, seen) for seen in frames)]
        if len(frames) > 1 or len(parts) > 1 or any(self._is_crowded(seen) for seen in frames):
            for seen in frames:
                seen.end("ambiguous")
            return [self._refuse(other, "ambiguous") for other in parts if other.is_open]
        (seen,) = frames
        if seen.frame is None:
            return [self._refuse(asked, seen.cause)]
        asked.is_open = False
        self.counts["matched"] += 1
        exposure = Exposure(seen.at, seen.error_s, seen.frame)
        seen.end("ambiguous")  # whoever asks for it too
        return [Answer(asked.part, exposure, seen.at - asked.expected)]

    def _refuse(self, asked: _Asked, cause: Cause) -> Answer[T]:
        asked.is_open, asked.was_inexact = False, cause == "inexact"
        self.counts["without_frame" if cause in {"lost", "forgotten"} else cause] += 1
        return Answer(asked.part, cause=cause)

    def _let_go(self, seen: _Seen[T], count: str) -> None:
        if seen.frame is not None:
            seen.end(_LET_GO_FOR.get(count, "forgotten"))
            self.counts[count] += 1

    def _why_nobodys(self, seen: _Seen[T], fitting: list[_Asked]) -> str:
        """Return as what a frame counts that fits only parts which have their answer."""
        if any(asked.has_given_up for asked in fitting):
            return "late"
        if not self._is_exact(seen) or any(asked.was_inexact for asked in fitting):
            return "inexact"
        return "ambiguous"

    def _is_exact(self, seen: _Seen[T]) -> bool:
        """Return whether its instant is known so well that it fits no part but its own, where the promise is kept."""
        return 2 * (self._rule.within_s + seen.error_s) < self._rule.apart_s

    def _fits(self, asked: _Asked, seen: _Seen[T]) -> bool:
        return abs(seen.at - asked.expected) <= self._rule.within_s + seen.error_s

    def _is_behind(self, asked: _Asked, seen: _Seen[T]) -> bool:
        return seen.at - seen.error_s > asked.expected + self._rule.within_s

    def _is_crowded(self, seen: _Seen[T]) -> bool:
        """Return whether another frame is closer than the line promises: certainly, for all that the error hides."""
        return any(
            abs(other.at - seen.at) + other.error_s + seen.error_s < self._rule.apart_s
            for other in self._seen
            if other is not seen
        )
