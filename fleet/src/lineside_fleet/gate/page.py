"""An evaluation as one HTML page that needs nothing else: no script, no font, no address; light and dark."""

from html import escape
from typing import Final

from lineside_fleet.gate.axis import Axis, axis_of
from lineside_fleet.gate.evaluation import Evaluation, MetricEvaluation, Side, Verdict
from lineside_fleet.gate.names import title
from lineside_fleet.gate.sentences import allowed, bounds, figure, value

_MEANS: Final[dict[Verdict, str]] = {
    "promote": "The staged version may go on.",
    "hold": "Neither is shown: the stage stays as it is.",
    "stop": "The staged version is worse than allowed: take it back.",
}
_SIGNS: Final[dict[Verdict, str]] = {"promote": "&#10003;", "hold": "&#8943;", "stop": "&#10005;"}
_DESIGNS: Final = {
    "pairs": "each device with itself, before and after",
    "groups": "other devices on each side",
    "slices": "slices of time of a few devices; the verdict is about these devices only",
    None: "none: the devices of the two sides allow no comparison",
}
_STYLE = """
:root { color-scheme: light dark; --page: #f6f8fa; --card: #fff; --ink: #1f2328; --soft: #59636e; --line: #d8dee4;
  --band: #e3e8ee; --promote: #1a7f37; --hold: #8a5d00; --stop: #c4212d; }
@media (prefers-color-scheme: dark) { :root { --page: #0d1117; --card: #161b22; --ink: #e6edf3; --soft: #9aa4af;
  --line: #30363d; --band: #2b323b; --promote: #3fb950; --hold: #d9a22b; --stop: #ff6b63; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; text-transform: capitalize; }
h2 { margin: 2.2rem 0 .8rem; font-size: 1.15rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.3rem; }
.card + .card { margin-top: .7rem; }
.verdict { border-left: 8px solid var(--mine); } .verdict h1, .badge { color: var(--mine); }
.promote { --mine: var(--promote); } .hold { --mine: var(--hold); } .stop { --mine: var(--stop); }
.top { display: flex; gap: .8rem; align-items: baseline; justify-content: space-between; flex-wrap: wrap; }
.top h3 { margin: 0; font-size: 1.02rem; } .badge { font-weight: 650; white-space: nowrap; }
.badge span { display: inline-block; width: 1.3em; text-align: center; }
.row { display: grid; grid-template-columns: minmax(0, 1.15fr) minmax(0, 1fr); gap: 1.4rem; align-items: center; }
svg { width: 100%; height: 46px; display: block; overflow: visible; }
.band { fill: var(--band); } .same { stroke: var(--soft); stroke-dasharray: 2 3; }
.span { stroke: var(--mine); stroke-width: 4; stroke-linecap: round; }
.dot { fill: var(--mine); stroke: var(--card); stroke-width: 2; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .9rem; margin: 0; font-size: .92rem; }
dt { color: var(--soft); } dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: .7rem; } .sides .card + .card { margin-top: 0; }
.sides h3 { margin: 0 0 .4rem; font-size: 1rem; }
@media (max-width: 44rem) { .row, .sides { grid-template-columns: 1fr; gap: .7rem; } }
@media print { body { background: #fff; } .card { break-inside: avoid; } }
"""


def html(evaluation: Evaluation) -> str:
    """Return the page."""
    verdict = evaluation.verdict
    problems = "".join(
        f'<div class="card hold"><p><b class="badge">{problem.code}</b></p><p>{escape(problem.sentence)}</p></div>'
        for problem in evaluation.problems
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Gate: {verdict}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<div class="card verdict {verdict}">
<h1>{verdict}</h1>
<p>{escape(evaluation.sentence)}</p>
<p class="soft">{_MEANS[verdict]}</p>
</div>
{f"<h2>What keeps the sides from being compared</h2>{problems}" if problems else ""}
<h2>Metrics</h2>
<p class="soft">Grey is what is allowed, the dotted line is no change, the bar is what the data allows, the dot the
estimate. A metric passes when its bar crosses no end of the grey, and stops the version when it lies outside.</p>
{"".join(map(_metric, evaluation.metrics))}
<h2>What was compared</h2>
<div class="sides">{_side("Before", evaluation.baseline)}{_side("Staged", evaluation.staged)}</div>
<h2>How</h2>
<div class="card"><dl>
<dt>Look</dt><dd>{evaluation.look.number} of at most {evaluation.looks}</dd>
<dt>Comparison</dt><dd>{_DESIGNS.get(evaluation.design, evaluation.design)}</dd>
<dt>Levels of this look</dt><dd>{_levels(evaluation)}</dd>
<dt>Bounds</dt><dd>{escape(evaluation.interval)}, seed {evaluation.seed}</dd>
</dl></div>
</main>
</body>
</html>
"""


def _levels(evaluation: Evaluation) -> str:
    if not evaluation.metrics:
        return "none"
    first = evaluation.metrics[0]
    return f"{first.level_promote:.4g} to promote, {first.level_stop:.2g} for each metric to stop (one-sided)"


def _metric(metric: MetricEvaluation) -> str:
    axis = axis_of(metric)
    badge = f'<span class="badge"><span aria-hidden="true">{_SIGNS[metric.verdict]}</span>{metric.verdict}</span>'
    top = f'<div class="top"><h3>{escape(title(metric.name))}</h3>{badge}</div>'
    if axis is None:
        return (
            f'<div class="card {metric.verdict}">{top}<p>{escape(metric.sentence)}</p>'
            f'<p class="soft">Not judged: {escape(metric.code or "")}. {_sizes(metric)}</p></div>'
        )
    p = metric.p_stop if metric.verdict == "stop" else metric.p_promote
    return f"""<div class="card {metric.verdict}">{top}
<p class="soft">{escape(metric.sentence)}</p>
<div class="row">{_drawing(metric, axis)}
<dl>
<dt>before, staged</dt><dd>{escape(figure(metric, metric.baseline))}, {escape(figure(metric, metric.staged))}</dd>
<dt>estimate</dt><dd>{escape(value(metric, metric.estimate))}; by the data {escape(bounds(metric))}</dd>
<dt>allowed</dt><dd>{escape(allowed(metric))}</dd>
<dt>p</dt><dd>{p if p is None else f"{p:.3g}"} to {"stop" if metric.verdict == "stop" else "promote"}</dd>
<dt>rests on</dt><dd>{_sizes(metric)}</dd>
<dt>method</dt><dd>{escape(metric.method)}</dd>
</dl></div></div>
"""


def _sizes(metric: MetricEvaluation) -> str:
    before, after = metric.baseline_size, metric.staged_size
    return f"{before.values:,} before, {after.values:,} staged, of {before.devices} and {after.devices} devices"


def _drawing(metric: MetricEvaluation, axis: Axis) -> str:
    begin, end = axis.allowed
    label = f"{title(metric.name)}: {value(metric, metric.estimate)}, allowed {allowed(metric)}"
    return f"""<svg role="img" aria-label="{escape(label)}">
<rect class="band" x="{100 * begin:.2f}%" y="7" width="{100 * (end - begin):.2f}%" height="32" rx="4"/>
<line class="same" x1="{100 * axis.same:.2f}%" x2="{100 * axis.same:.2f}%" y1="3" y2="43"/>
<line class="span" x1="{100 * axis.low:.2f}%" x2="{100 * axis.high:.2f}%" y1="23" y2="23"/>
<circle class="dot" cx="{100 * axis.estimate:.2f}%" cy="23" r="7"/>
</svg>"""


def _side(head: str, side: Side) -> str:
    remarks = "".join(f"<dt>note</dt><dd>{escape(remark)}</dd>" for remark in side.remarks)
    return f"""<div class="card"><h3>{head}</h3><dl>
<dt>version</dt><dd>{escape(", ".join(side.versions) or "not said")}</dd>
<dt>from</dt><dd>{side.start:%Y-%m-%d %H:%M} UTC</dd>
<dt>until</dt><dd>{side.end:%Y-%m-%d %H:%M} UTC</dd>
<dt>devices</dt><dd>{side.devices}</dd>
<dt>parts</dt><dd>{side.parts:,}</dd>
<dt>source</dt><dd>{escape(side.source)}</dd>{remarks}
</dl></div>"""
