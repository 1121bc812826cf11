"""What the gate found, in plain words: one sentence for the verdict, one for each metric."""

from collections.abc import Sequence

from lineside_fleet.gate.evaluation import Look, MetricEvaluation, Problem, Verdict
from lineside_fleet.gate.names import title
from lineside_fleet.gate.settings import GateSettings

_SHOWN = {
    "promote": "shown to be within the margin",
    "stop": "shown to be beyond the margin",
    "hold": "not yet shown either way",
}

_INSTEAD = {
    "ratio": "the share of parts over one of its edges (gate.slow)",
    "difference": "the share of parts up to one of its edges (gate.unsure)",
    "share": "another source",
}


def metric(found: MetricEvaluation) -> str:
    """Return the sentence of a metric that was compared."""
    shown = f"{_SHOWN[found.verdict]} (p {_p(found.p_stop if found.verdict == 'stop' else found.p_promote)})"
    if found.code == "resolution":
        shown = (
            f"which the source is too coarse to show, however much data there is: its steps leave {_open(found)} open; "
            f"use exported evidence, or ask for {_INSTEAD[found.scale]}"
        )
    return f"{title(found.name)}: {_middle(found)}; allowed {allowed(found)}: {shown}."


def _open(found: MetricEvaluation) -> str:
    """Return how far the source's resolution moved the bounds."""
    return f"{100 * found.slack:.1f} %" if found.scale == "ratio" else f"{found.slack:.3f}"


def _middle(found: MetricEvaluation) -> str:
    before, after = figure(found, found.baseline), figure(found, found.staged)
    change = "" if found.scale == "share" else f" {value(found, found.estimate)},"
    return f"{after} after {before} before,{change} by the data {bounds(found)}"


def bounds(found: MetricEvaluation) -> str:
    """Return what the data allows, on the sides that matter."""
    low, high = value(found, found.low), value(found, found.high)
    if None not in {found.allowed_low, found.allowed_high}:
        return f"{low} to {high}"
    is_low = (found.allowed_low is None) == (found.verdict == "stop")
    return f"at least {low}" if is_low else f"at most {high}"


def allowed(found: MetricEvaluation) -> str:
    """Return what is allowed, in words."""
    low, high = value(found, found.allowed_low), value(found, found.allowed_high)
    if found.allowed_low is None:
        return f"at most {high}"
    return f"at least {low}" if found.allowed_high is None else f"{low} to {high}"


def value(found: MetricEvaluation, number: float | None) -> str:
    """Return a figure of the metric's scale: a change in percent, a difference, a share in percent."""
    if number is None:
        return "any"
    if found.scale == "ratio":
        return f"{100 * (number - 1):+.1f} %"
    return f"{number:+.3f}" if found.scale == "difference" else f"{100 * max(0.0, number):.2f} %"


def figure(found: MetricEvaluation, number: float | None) -> str:
    """Return a side's own figure with its unit."""
    if number is None:
        return "nothing"
    if found.name.startswith("latency"):
        return f"{number:.4g} ms"
    if found.name == "throughput":
        return f"{number:.4g} parts an hour"
    return f"{number:.3f}" if found.scale == "difference" else f"{100 * number:.2f} %"


def verdict(
    decided: Verdict,
    problems: Sequence[Problem],
    metrics: Sequence[MetricEvaluation],
    look: Look,
    settings: GateSettings,
) -> str:
    """Return the sentence of the verdict."""
    when = f"look {look.number} of {settings.looks}"
    if problems:
        return f"{decided.capitalize()} ({when}): the two sides cannot be compared. {problems[0].sentence}"
    of: dict[Verdict, list[str]] = {"promote": [], "hold": [], "stop": []}
    for one in metrics:
        of[one.verdict].append(title(one.name).removeprefix("The ").lower())
    if of["stop"]:
        return f"Stop ({when}): {_listed(of['stop'])} shown to be beyond the margin."
    if decided == "promote":
        return f"Promote ({when}): every metric is shown to be within its margin."
    last = look.number == settings.looks
    then = "this was the last look" if last else "look again when there is more data"
    return f"{decided.capitalize()} ({when}): nothing shown yet of {_listed(of['hold'])}; {then}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _p(number: float | None) -> str:
    return "unknown" if number is None else "below 0.0001" if number < 1e-4 else f"{number:.4f}"  # noqa: PLR2004 - digits
