"""An evaluation as a picture (PNG): of each metric what is allowed, and what the data allows."""

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lineside_fleet.gate.axis import axis_of
from lineside_fleet.gate.evaluation import Evaluation, Verdict
from lineside_fleet.gate.names import title
from lineside_fleet.gate.sentences import allowed, bounds, value

COLOURS: dict[Verdict, str] = {"promote": "#1a7f37", "hold": "#9a6700", "stop": "#cf222e"}
_MARKERS: dict[Verdict, str] = {"promote": "o", "hold": "D", "stop": "s"}


def png(evaluation: Evaluation) -> bytes:
    """Return the picture; the same evaluation gives the same bytes."""
    rows = len(evaluation.metrics)
    figure = Figure(figsize=(10, 1.5 + 0.62 * rows), dpi=130)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    height = 1.5 + 0.62 * rows
    axes.set_xlim(0, 10)
    axes.set_ylim(height, 0)
    axes.text(
        0.3, 0.5, evaluation.verdict.upper(), size=19, weight="bold", color=COLOURS[evaluation.verdict], va="center"
    )
    after, before = (", ".join(side.versions) or "not said" for side in (evaluation.staged, evaluation.baseline))
    about = f"{after} against {before}, look {evaluation.look.number} of {evaluation.looks}"
    axes.text(9.7, 0.5, about, size=10.5, color="#57606a", va="center", ha="right")
    left, width = 3.0, 3.6
    for number, metric in enumerate(evaluation.metrics):
        y = 1.25 + 0.62 * number
        colour = COLOURS[metric.verdict]
        axes.text(0.3, y, title(metric.name), size=10.5, color="#1f2328", va="center")
        axes.plot([2.75], [y], marker=_MARKERS[metric.verdict], color=colour, markersize=7)
        axis = axis_of(metric)
        if axis is None:
            axes.text(left, y, f"not judged: {metric.code}", size=9.5, color="#57606a", va="center", style="italic")
            continue
        begin, end = (left + width * each for each in axis.allowed)
        axes.fill_between([begin, end], y - 0.19, y + 0.19, color="#dde3ea", linewidth=0)
        same = left + width * axis.same
        axes.plot([same, same], [y - 0.19, y + 0.19], color="#8c959f", linewidth=1, linestyle=":")
        axes.plot([left + width * axis.low, left + width * axis.high], [y, y], color=colour, linewidth=2.4)
        axes.plot([left + width * axis.estimate], [y], marker=_MARKERS[metric.verdict], color=colour, markersize=6)
        said = f"{value(metric, metric.estimate)}, by the data {bounds(metric)}\nallowed {allowed(metric)}"
        axes.text(left + width + 0.2, y, said, size=8.5, color="#424a53", va="center", linespacing=1.35)
    into = io.BytesIO()
    figure.savefig(into, format="png", metadata={"Software": None})
    return into.getvalue()
