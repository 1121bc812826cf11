"""Which devices each stage has. Pure, and the same for the same names each time.

A percentage takes from the target's devices that no stage names otherwise, in an order made of the SHA-256 of the
rollout's and the thing's name: so stages by percentage never share a device, and another rollout begins with others.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lineside.settings import close_to
from lineside_fleet.rollout_file import Rollout, Stage

_SHOWN = 3


@dataclass(frozen=True)
class Selected:
    """One stage's devices; `within` says whether they are the target's."""

    stage: Stage
    things: tuple[str, ...]
    within: bool


def order(rollout: str, things: Sequence[str]) -> list[str]:
    """Return things in the order in which percentages take them."""
    return sorted(things, key=lambda thing: hashlib.sha256(f"{rollout}/{thing}".encode()).digest())


def select(
    rollout: Rollout, fleet: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> tuple[list[Selected], list[str]]:
    """Return each stage's devices, and what is wrong; `groups` are the members of the groups that stages name."""
    problems: list[str] = []
    named = {stage.name: _named(stage, fleet, groups) for stage in rollout.stages if stage.percentage is None}
    taken = {thing for things in named.values() for thing in things}
    rest = order(rollout.rollout, [thing for thing in fleet if thing not in taken])
    selected, share = [], 0.0
    for stage in rollout.stages:
        if stage.percentage is not None:
            begin, share = int(len(rest) * share / 100), share + stage.percentage
            things = sorted(rest[begin : int(len(rest) * share / 100)])
        else:
            things = named[stage.name]
        inside = set(things) & set(fleet)
        problems += _problems(stage, things, inside, fleet, len(rest))
        selected.append(Selected(stage, tuple(things), within=bool(inside)))
    return selected, [*problems, *_overlaps(selected)]


def _named(stage: Stage, fleet: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    if stage.group is not None:
        return sorted(groups[stage.group])
    if stage.names is not None:
        return sorted(set(stage.names))
    return sorted(thing for thing in fleet if fnmatchcase(thing, stage.pattern or ""))


def _problems(stage: Stage, things: Sequence[str], inside: set[str], fleet: Sequence[str], rest: int) -> Iterator[str]:
    where = f"stage {stage.name}"
    if stage.names is not None:
        for thing in (each for each in things if each not in inside):
            yield f"{where}: {thing!r} is no thing of the target{close_to(thing, list(fleet))}"
    elif not things and stage.percentage is not None:
        least = 100 / rest if rest else 100
        yield (
            f"{where}: {stage.percentage:g} % of {rest} devices selects nobody; {least:.3g} % is one device"
            if rest
            else f"{where}: the other stages name all devices of the target, and nothing is left for a percentage"
        )
    elif not things:
        what = (
            f"group {stage.group} is empty" if stage.group else f"pattern {stage.pattern!r} fits no thing of the target"
        )
        yield f"{where}: {what}; a stage without a device proves nothing"
    elif stage.group is not None and 0 < len(inside) < len(things):
        out = next(thing for thing in things if thing not in inside)
        yield (
            f"{where}: {len(inside)} of the {len(things)} things of group {stage.group} are of the target, and others "
            f"are not ({out}): put all into the target's group, or none"
        )


def _overlaps(selected: Sequence[Selected]) -> Iterator[str]:
    for index, one in enumerate(selected):
        for other in selected[index + 1 :]:
            both = sorted(set(one.things) & set(other.things))
            if both:
                more = f" and {len(both) - _SHOWN} more" if len(both) > _SHOWN else ""
                yield (
                    f"stages {one.stage.name} and {other.stage.name} overlap: {', '.join(both[:_SHOWN])}{more}; a "
                    "device is in one stage"
                )
