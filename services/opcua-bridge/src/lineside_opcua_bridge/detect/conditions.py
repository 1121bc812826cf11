"""Whether the conditions on other tags hold when a trigger comes."""

from collections.abc import Callable, Sequence

from lineside_opcua_bridge.detect.changes import same
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings.triggers import Condition, Plain

_SHOWN = 60


def unmet(
    conditions: Sequence[Condition], latest: Callable[[int], Sample | None], *, places: Sequence[int] = ()
) -> str | None:
    """Return why a condition does not hold, or None where all do; `latest` gives a tag by its place among them.

    `places` are their places in `only_if`, where they are not all of it.

    A tag without a value, of bad quality, or of another type than it is compared with meets no condition. Numbers are
    compared as numbers. A Boolean tag may be compared with true and false or 1 and 0; a number is never true or false.
    """
    for place, condition in enumerate(conditions):
        sample = latest(place)
        if sample is None:
            why = "has no value yet"
        elif sample.quality == "bad":
            why = "is of bad quality"
        else:
            broken = _broken(condition, sample.value)
            if broken is None:
                continue
            shown = repr(sample.value)
            why = f"is {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '...'}, must {broken}"
        return f"only_if.{places[place] if places else place}: {condition.node} {why}"
    return None


def _broken(condition: Condition, value: object) -> str | None:
    if condition.equals is not None and not _equal(condition.equals, value):
        return f"be {condition.equals!r}"
    if condition.not_equals is not None and not _differs(condition.not_equals, value):
        return f"be other than {condition.not_equals!r}, and of its kind"
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if condition.above is not None and not (number is not None and number > condition.above):
        return f"be greater than {condition.above:g}"
    if condition.below is not None and not (number is not None and number < condition.below):
        return f"be less than {condition.below:g}"
    return None


def _equal(wanted: Plain, value: object) -> bool:
    return same(_as_boolean(wanted) if isinstance(value, bool) else wanted, value)


def _differs(unwanted: Plain, value: object) -> bool:
    wanted = _as_boolean(unwanted) if isinstance(value, bool) else unwanted
    return _kind(wanted) is not None and _kind(wanted) is _kind(value) and not same(wanted, value)


def _as_boolean(plain: Plain) -> Plain:
    """Return what a plain value says of a Boolean: 1 and 0 are true and false there."""
    return bool(plain) if isinstance(plain, int | float) and plain in {0, 1} else plain


def _kind(value: object) -> type | None:
    if isinstance(value, bool):
        return bool
    if isinstance(value, int | float):
        return float
    return str if isinstance(value, str) else None
