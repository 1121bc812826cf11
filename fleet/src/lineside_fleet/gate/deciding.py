"""The gate's decision: promote, hold or stop, from two sides' observations. Pure: the same values, the same verdict.

Promote needs every metric to be shown within its margin at one look, so each is tested at the whole level and a
version that is bad in any of them gets through with at most that probability (an intersection-union test; no
correction). Stop needs one metric to be shown beyond its margin, so the level is shared among all the ways in which
that can happen by chance (Bonferroni; Holm's steps would name more metrics, and stop exactly as often). Over the looks
both levels are spent by `spending`.
"""

from collections.abc import Sequence
from typing import Any

from lineside.errors import LinesideError
from lineside_fleet.gate import sentences, spending
from lineside_fleet.gate.comparison import Compared, NotCompared, smallest_level
from lineside_fleet.gate.estimating import choose
from lineside_fleet.gate.evaluation import Evaluation, Look, MetricEvaluation, Problem, Side, Size, Verdict
from lineside_fleet.gate.metrics import Metric, asked
from lineside_fleet.gate.observations import Cell, Observations
from lineside_fleet.gate.settings import GateSettings
from lineside_fleet.gate.sides import Sides

HOURS_SHARED = 0.8
"""Share of each window's hours of the day that the other must cover."""


def evaluate(settings: GateSettings, baseline: Observations, staged: Observations, look: Look | int) -> Evaluation:
    """Return the verdict of this look; raises LinesideError for a look that was not planned."""
    look = Look(number=look) if isinstance(look, int) else look
    fractions = _fractions(settings, look)
    metrics = list(asked(settings))
    ways = sum(metric.tests for metric in metrics)
    promote_at = spending.levels(spending.SPENT * settings.false_promotion, fractions)[-1]
    stop_at = spending.levels(spending.SPENT * settings.false_stop / ways, fractions)[-1]
    problems = _problems(settings, baseline, staged)
    evaluated = tuple(_evaluate(metric, (baseline, staged), settings, promote_at, stop_at) for metric in metrics)
    verdict = _verdict(settings, look, problems, evaluated)
    return Evaluation(
        verdict=verdict,
        sentence=sentences.verdict(verdict, problems, evaluated, look, settings),
        problems=problems,
        look=Look(number=look.number, fractions=fractions),
        looks=settings.looks,
        metrics=evaluated,
        design=_design(settings, baseline, staged),
        interval=settings.interval,
        seed=settings.seed,
        baseline=_side(baseline),
        staged=_side(staged),
    )


def _fractions(settings: GateSettings, look: Look) -> tuple[float, ...]:
    if look.number > settings.looks:
        raise LinesideError(
            f"look {look.number} of at most {settings.looks}: each look more is a chance more to be wrong",
            remedy="end the stage by its last verdict, or plan more looks before it begins",
        )
    if look.fractions is None:
        return spending.equal(settings.looks)[: look.number]
    if len(look.fractions) != look.number:
        raise LinesideError(
            f"look {look.number} with {len(look.fractions)} fractions of the data",
            remedy="give one for each look until now",
        )
    return look.fractions


def _verdict(
    settings: GateSettings, look: Look, problems: Sequence[Problem], metrics: Sequence[MetricEvaluation]
) -> Verdict:
    verdicts = {metric.verdict for metric in metrics}
    if not problems and "stop" in verdicts:
        return "stop"
    if not problems and verdicts == {"promote"}:
        return "promote"
    return settings.without_proof if look.number == settings.looks else "hold"


def _problems(settings: GateSettings, baseline: Observations, staged: Observations) -> tuple[Problem, ...]:
    found: list[Problem] = []
    for side, word in ((baseline, "baseline"), (staged, "staged")):
        if not side.cells:
            found.append(Problem(code=f"{word}-empty", sentence=f"The {word} side has no data: see {side.source}."))
        elif side.parts < settings.parts:
            sentence = f"The {word} side has {side.parts} parts of {settings.parts} needed: wait for more."
            found.append(Problem(code=f"{word}-sample", sentence=sentence))
        if len(side.versions) > 1:
            named = ", ".join(side.versions)
            sentence = f"The {word} side mixes versions {named}: choose one, by its version or a shorter window."
            found.append(Problem(code=f"{word}-versions", sentence=sentence))
    mine, others = staged.window, baseline.window
    if min(mine.seconds, others.seconds) <= 0:
        found.append(Problem(code="windows", sentence="A window ends before it begins: see its times."))
    elif settings.hours == "match":
        shared = min(mine.hours_shared(others), others.hours_shared(mine))
        if shared < HOURS_SHARED:
            sentence = (
                f"The windows share {shared:.0%} of their hours of the day, of {HOURS_SHARED:.0%} needed: shifts "
                "differ for reasons other than the version. Choose a baseline of the same hours, or set hours: any."
            )
            found.append(Problem(code="windows", sentence=sentence))
    return tuple(found)


def _evaluate(
    metric: Metric, sides: Sides, settings: GateSettings, promote_at: float, stop_at: float
) -> MetricEvaluation:
    common: dict[str, Any] = {
        "name": metric.name,
        "scale": metric.scale,
        "level_promote": promote_at,
        "level_stop": stop_at,
        "baseline_size": _size(metric, sides[0].cells),
        "staged_size": _size(metric, sides[1].cells),
    }
    try:
        compared = metric.compare(sides, settings)
    except NotCompared as refusal:
        return MetricEvaluation(verdict="hold", code=refusal.code, sentence=refusal.sentence, **common)
    above, below = compared.above, compared.below

    def within(level: float) -> bool:
        return (above is None or above.high(level) <= above.at) and (below is None or below.low(level) >= below.at)

    def beyond(level: float) -> bool:
        return (above is not None and above.low(level) > above.at) or (
            below is not None and below.high(level) < below.at
        )

    verdict: Verdict = "stop" if beyond(stop_at) else "promote" if within(promote_at) else "hold"
    lowest, highest = below or above, above or below
    at = stop_at if verdict == "stop" else promote_at
    found = MetricEvaluation(
        verdict=verdict,
        code="resolution" if verdict == "hold" and _is_too_coarse(compared) else None,
        sentence="",
        baseline=compared.baseline,
        staged=compared.staged,
        estimate=compared.estimate,
        low=lowest.low(at) if lowest else None,
        high=highest.high(at) if highest else None,
        allowed_low=below.at if below else None,
        allowed_high=above.at if above else None,
        p_promote=smallest_level(within),
        p_stop=smallest_level(beyond),
        slack=compared.slack,
        method=compared.method,
        **common,
    )
    return found.model_copy(update={"sentence": sentences.metric(found)})


def _is_too_coarse(compared: Compared) -> bool:
    """Whether the source could not show that nothing changed, however much data there were."""
    return compared.above is not None and compared.slack >= compared.above.at - (1 if compared.scale == "ratio" else 0)


def _size(metric: Metric, cells: Sequence[Cell]) -> Size:
    counted = [(cell.device, metric.count(cell)) for cell in cells]
    return Size(devices=len({device for device, count in counted if count}), values=sum(count for _, count in counted))


def _design(settings: GateSettings, baseline: Observations, staged: Observations) -> str | None:
    try:
        return choose(baseline.devices, staged.devices, settings.devices)
    except NotCompared:
        return None


def _side(side: Observations) -> Side:
    return Side(
        source=side.source,
        versions=side.versions,
        start=side.window.start,
        end=side.window.end,
        devices=len(side.by_device),
        parts=side.parts,
        remarks=side.remarks,
    )
