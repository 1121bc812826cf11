"""Writes the dashboards: `python docker/grafana/generate.py`. A test holds the JSON files against it.

A dashboard is a list of rows of panels; a panel is its title, why somebody looks at it, its queries and its unit. The
places on the grid, ids and everything that is the same for all are made here. JSON model of Grafana 11 and 12.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "lineside-prometheus"}
"""As in provisioning/datasources/lineside.yaml."""
SCHEMA = 39
WIDTH = 24
COLOURS = {"pass": "green", "fail": "red", "unknown": "orange"}
STATES = {"ONLINE": (1, "green"), "PAUSED": (2, "blue"), "CONNECTING": (3, "yellow"), "BACKOFF": (4, "red")}
YES_NO = {0: ("no", "text"), 1: ("yes", "red")}
UP_DOWN = {0: ("down", "red"), 1: ("up", "green")}


@dataclass(frozen=True)
class Panel:
    """One panel: `queries` are pairs of a legend and an expression, `steps` are colours from a value on."""

    kind: str
    title: str
    why: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    wide: int = 12
    high: int = 8
    steps: tuple[tuple[str, float], ...] = ()
    least: float | None = None
    most: float | None = None
    stacked: bool = False
    mapped: dict[int, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Variable:
    """One choice above a dashboard: the values that a label has."""

    name: str
    label: str
    query: str


THING = Variable("thing", "Box", 'label_values(up{job="lineside"}, thing)')
BOX = 'thing=~"$thing"'


def stat(title: str, why: str, expr: str, unit: str = "short", **more: Any) -> Panel:
    """Return one figure, large."""
    return Panel("stat", title, why, (("", expr),), unit, **{"wide": 4, "high": 4, **more})


def series(title: str, why: str, *queries: tuple[str, str], unit: str = "short", **more: Any) -> Panel:
    """Return lines over time."""
    return Panel("timeseries", title, why, queries, unit, **{"least": 0.0, **more})


def timeline(title: str, why: str, legend: str, expr: str, mapped: dict[int, tuple[str, str]], **more: Any) -> Panel:
    """Return states over time as coloured bars."""
    return Panel("state-timeline", title, why, ((legend, expr),), mapped=mapped, **more)


def sum_by(label: str, function: str, metric: str, where: str) -> str:
    """Return the sum of rates or increases by a label; without one of all."""
    by = f" by ({label}) " if label else ""
    return f"sum{by}({function}({metric}{{{where}}}[$__rate_interval]))"


def a_minute(label: str, metric: str, where: str) -> tuple[str, str]:
    """Return the query for events a minute, one line for each value of the label."""
    return f"{{{{{label}}}}}", f"60 * {sum_by(label, 'rate', metric, where)}"


def lost(legend: str, label: str, metric: str, where: str) -> tuple[str, str]:
    """Return the query for events that should not be: none is a zero, not a gap."""
    return legend, f"{sum_by(label, 'increase', metric, where)} or vector(0)"


def mean(legend: str, label: str, metric: str, where: str) -> tuple[str, str]:
    """Return the query for the mean of a histogram's values."""
    of = (sum_by(label, "rate", f"{metric}_{part}", where) for part in ("sum", "count"))
    return legend, " / ".join(of)


def a_request(legend: str, metric: str, where: str) -> tuple[str, str]:
    """Return the query for what Triton sums up over requests, for each of them."""
    good = sum_by("model", "rate", "nv_inference_request_success", where)
    return f"{legend} {{{{model}}}}", f"{sum_by('model', 'rate', metric, where)} / {good}"


def quantiles(metric: str, where: str, *of: float) -> tuple[tuple[str, str], ...]:
    """Return queries for quantiles of a histogram."""
    rate = sum_by("le", "rate", f"{metric}_bucket", where)
    return tuple((f"p{share * 100:g}", f"histogram_quantile({share:g}, {rate})") for share in of)


def states(metric: str, by: str) -> str:
    """Return the query for the state that each connection is in, as its number in STATES."""
    each = (f"{metric % state} * {number}" for state, (number, _colour) in STATES.items())
    return f"max by ({by}) (({' or '.join(each)}) > 0)"


def line() -> tuple[tuple[Variable, ...], list[Panel]]:
    """Return the dashboard of the line: are parts judged, in time, and by whom."""
    trigger = Variable("trigger", "Trigger", f"label_values(lineside_opcua_bridge_deadline_seconds{{{BOX}}}, trigger)")
    own = f'{BOX}, trigger=~"$trigger"'
    verdicts = "lineside_opcua_bridge_verdicts_total"
    rate = f"sum(rate({verdicts}{{{own}}}[$__rate_interval]))"
    stages = f'{BOX}, stage!="total"'
    return (THING, trigger), [
        stat("Parts a minute", "What the line brings.", f"60 * {rate}"),
        stat(
            "Unknown",
            "Share of the parts of 15 minutes without a judgement.",
            f'(sum(increase({verdicts}{{{own}, verdict="unknown"}}[15m])) or vector(0))'
            f" / sum(increase({verdicts}{{{own}}}[15m]))",
            "percentunit",
            steps=(("green", 0), ("orange", 0.01), ("red", 0.05)),
        ),
        stat(
            "Fail",
            "Share of the parts of 15 minutes that were judged defective.",
            f'sum(increase({verdicts}{{{own}, verdict="fail"}}[15m])) / sum(increase({verdicts}{{{own}}}[15m]))',
            "percentunit",
        ),
        stat(
            "Deadline used",
            "95 of 100 verdicts need at most this share of their deadline, at the worst trigger.",
            "max(histogram_quantile(0.95, sum by (thing, trigger, le) ("
            f"rate(lineside_opcua_bridge_trigger_to_verdict_seconds_bucket{{{own}}}[$__rate_interval])))"
            f" / on (thing, trigger) max by (thing, trigger) (lineside_opcua_bridge_deadline_seconds{{{own}}}))",
            "percentunit",
            steps=(("green", 0), ("orange", 0.6), ("red", 0.8)),
        ),
        stat(
            "Connections not online",
            "Peers that a service is trying to reach.",
            f'sum({{__name__=~"lineside_.+_connection_state", {BOX}, state=~"CONNECTING|BACKOFF"}})',
            steps=(("green", 0), ("red", 1)),
        ),
        stat(
            "Alerts",
            "Alerts that fire now.",
            f'count(ALERTS{{alertstate="firing", {BOX}}}) or vector(0)',
            steps=(("green", 0), ("red", 1)),
        ),
        series(
            "Verdicts",
            "What the PLC was told, a minute.",
            a_minute("verdict", verdicts, own),
            unit="parts/min",
            stacked=True,
        ),
        series(
            "Who decided",
            "`result` is the model; everything else is a fail-safe: deadline, bus, error, overrun, missed, paused.",
            a_minute("origin", verdicts, own),
            unit="parts/min",
            stacked=True,
        ),
        series(
            "Trigger to verdict",
            "From the trigger as the bridge saw it to done in the PLC, beside the shortest deadline.",
            *quantiles("lineside_opcua_bridge_trigger_to_verdict_seconds", own, 0.5, 0.95, 0.99),
            ("deadline", f"min(lineside_opcua_bridge_deadline_seconds{{{own}}})"),
            unit="s",
        ),
        series(
            "Stages",
            "Where the time goes, mean of each stage of the inference service and of the write-back.",
            mean("{{stage}}", "stage", "lineside_inference_stage_seconds", stages),
            mean("write-back", "", "lineside_opcua_bridge_write_back_seconds", own),
            unit="s",
            stacked=True,
        ),
        series(
            "Triggers",
            "Values of triggers by what the bridge made of them.",
            a_minute("kind", "lineside_opcua_bridge_triggers_total", own),
            unit="triggers/min",
        ),
        series(
            "Parts without a verdict",
            "Parts that got none from us, were never asked about, or whose trigger's values were lost. Zero is right.",
            lost("unanswered", "", "lineside_opcua_bridge_unanswered_parts_total", own),
            lost("missed", "", "lineside_opcua_bridge_missed_parts_total", own),
            lost("values lost", "", "lineside_opcua_bridge_overflow_total", own),
            lost("late results", "", "lineside_opcua_bridge_results_total", f'{BOX}, kind="late"'),
            unit="parts",
        ),
        timeline(
            "Connections",
            "Every connection of every service. PAUSED is the operator's doing.",
            "{{service}}: {{connection}}",
            states(f'{{__name__=~"lineside_.+_connection_state", {BOX}, state="%s"}}', "service, connection"),
            {number: (state, colour) for state, (number, colour) in STATES.items()},
            wide=WIDTH,
            high=12,
        ),
    ]


def model() -> tuple[tuple[Variable, ...], list[Panel]]:
    """Return the dashboard of the models: do they still know what they see."""
    variable = Variable("model", "Model", f"label_values(lineside_inference_verdicts_total{{{BOX}}}, model)")
    own = f'{BOX}, model=~"$model"'
    confidence = "lineside_inference_confidence_ratio"
    return (THING, variable), [
        series(
            "Verdicts",
            "What the model said, a minute.",
            a_minute("verdict", "lineside_inference_verdicts_total", own),
            unit="parts/min",
            stacked=True,
        ),
        series(
            "Confidence",
            "Quantiles of the surest finding's confidence. A slow fall is a lens, a light or a new part.",
            *quantiles(confidence, own, 0.1, 0.5, 0.9),
            unit="percentunit",
            most=1.0,
        ),
        series(
            "Confidence by label",
            "Mean confidence of each label.",
            mean("{{label}}", "label", confidence, own),
            unit="percentunit",
            most=1.0,
        ),
        series(
            "Labels",
            "How often each label was the surest: the mix of what the line makes.",
            a_minute("label", f"{confidence}_count", own),
            unit="parts/min",
            stacked=True,
        ),
        series(
            "Requests by status",
            "ok, or why there was no judgement.",
            a_minute("status", "lineside_inference_requests_total", own),
            unit="requests/min",
            stacked=True,
        ),
        series(
            "Refusals",
            "Codes of results without a judgement, of all models; the reference page on errors says what each means.",
            lost("{{code}}", "code", "lineside_inference_refusals_total", BOX),
            unit="requests",
        ),
        series(
            "Triton: time of a request",
            "Waiting in Triton's queue and computing, mean of a request.",
            a_request("queue", "nv_inference_queue_duration_us", own),
            a_request("compute", "nv_inference_compute_infer_duration_us", own),
            unit="µs",
        ),
        series(
            "Triton: inferences",
            "Inferences a second, and those that failed.",
            ("{{model}}", sum_by("model", "rate", "nv_inference_count", own)),
            ("failed {{model}}", sum_by("model", "rate", "nv_inference_request_failure", own)),
            unit="reqps",
        ),
        timeline(
            "Models ready",
            "Whether Triton would answer for each version that it knows.",
            "{{model}} {{version}}",
            f"max by (model, version) (lineside_triton_model_ready{{{own}}})",
            {0: ("not ready", "red"), 1: ("ready", "green")},
        ),
        series(
            "Version in force",
            "Which version judges; a step is a change.",
            ("{{model}}", f"max by (model) (lineside_inference_model_version_number{{{own}}})"),
            unit="none",
        ),
        timeline(
            "Drift",
            "Models and components that do not have the desired version.",
            "{{kind}} {{name}}",
            f"max by (kind, name) (lineside_drift{{{BOX}}})",
            {0: ("as desired", "green"), 1: ("drifts", "red")},
            wide=WIDTH,
            high=6,
        ),
    ]


def device() -> tuple[tuple[Variable, ...], list[Panel]]:
    """Return the dashboard of the device: load, heat, room, and what the services take of it."""
    variable = Variable("service", "Service", f"label_values(lineside_exporter_source_up{{{BOX}}}, source)")
    own = f'{BOX}, service=~"$service"'
    return (THING, variable), [
        series(
            "CPU",
            "Share of all cores that work.",
            ("{{thing}}", f"lineside_host_cpu_load_ratio{{{BOX}}}"),
            unit="percentunit",
            most=1.0,
            wide=8,
        ),
        series(
            "Memory",
            "Memory in use on the whole machine, beside what there is.",
            ("used", f"lineside_host_memory_used_bytes{{{BOX}}}"),
            ("total", f"lineside_host_memory_total_bytes{{{BOX}}}"),
            unit="bytes",
            wide=8,
        ),
        series(
            "Disk",
            "Share in use of the disks of the folders that the exporter watches.",
            ("{{path}}", f"1 - lineside_host_disk_free_bytes{{{BOX}}} / lineside_host_disk_total_bytes{{{BOX}}}"),
            unit="percentunit",
            most=1.0,
            wide=8,
            steps=(("green", 0), ("orange", 0.8), ("red", 0.9)),
        ),
        series(
            "GPU",
            "Share of the time in which the GPU works.",
            ("{{gpu}}", f"lineside_device_gpu_load_ratio{{{BOX}}}"),
            unit="percentunit",
            most=1.0,
            wide=8,
        ),
        series(
            "GPU memory",
            "Memory of the GPU in use, beside what there is. A Jetson's is the machine's own.",
            ("used {{gpu}}", f"lineside_device_gpu_memory_used_bytes{{{BOX}}}"),
            ("total {{gpu}}", f"lineside_device_gpu_memory_total_bytes{{{BOX}}}"),
            unit="bytes",
            wide=8,
        ),
        series(
            "Temperatures",
            "Every sensor. An alert fires above 85 °C.",
            ("{{sensor}} {{gpu}}", f"lineside_device_temperature_celsius{{{BOX}}}"),
            unit="celsius",
            least=None,
            wide=8,
            steps=(("green", 0), ("orange", 75), ("red", 85)),
        ),
        series(
            "Power",
            "Every rail.",
            ("{{rail}} {{gpu}}", f"lineside_device_power_watts{{{BOX}}}"),
            unit="watt",
        ),
        timeline(
            "Throttled",
            "What holds the device back.",
            "{{reason}} {{gpu}}",
            f"lineside_device_throttled{{{BOX}}}",
            YES_NO,
        ),
        series(
            "CPU of the services",
            "Cores that each service keeps busy.",
            ("{{service}}", sum_by("service", "rate", "", f'__name__=~"lineside_.+_process_cpu_seconds_total", {own}')),
            unit="cores",
            stacked=True,
        ),
        series(
            "Memory of the services",
            "Resident memory of each service, and of Triton.",
            (
                "{{service}}",
                f'sum by (service) ({{__name__=~"lineside_.+_process_resident_memory_bytes", {own}}})',
            ),
            unit="bytes",
            stacked=True,
        ),
        timeline(
            "Sources of the exporter",
            "What the exporter can read. What is down is absent from every page.",
            "{{source}}",
            f'max by (source) (lineside_exporter_source_up{{{BOX}, source=~"$service"}})',
            UP_DOWN,
            high=10,
        ),
        series(
            "Time to read a source",
            "How long the last reading of each source took; it costs the scrape nothing.",
            ("{{source}}", f'max by (source) (lineside_exporter_source_seconds{{{BOX}, source=~"$service"}})'),
            unit="s",
            high=10,
        ),
        timeline(
            "Containers",
            "Whether each container runs.",
            "{{container}}",
            f'max by (container) (lineside_container_state{{{BOX}, state="running"}})',
            UP_DOWN,
        ),
        series(
            "Restarts",
            "Restarts of each container since it was made.",
            ("{{container}}", f"max by (container) (lineside_container_restarts{{{BOX}}})"),
            unit="none",
        ),
    ]


def evidence() -> tuple[tuple[Variable, ...], list[Panel]]:
    """Return the dashboard of the evidence: is it kept, does it leave, is there room."""
    variable = Variable(
        "destination", "Destination", f"label_values(lineside_forwarder_waiting_records{{{BOX}}}, destination)"
    )
    own = f'{BOX}, destination=~"$destination"'
    let_go = f'{BOX}, reason!="delivered"'
    return (THING, variable), [
        stat(
            "Bound used by what waits",
            "At 100 % evidence is refused or dropped.",
            f"max(lineside:spool_waiting_bytes{{{BOX}}}"
            f" / on (thing) max by (thing) (lineside_forwarder_spool_limit_bytes{{{BOX}}}))",
            "percentunit",
            wide=6,
            steps=(("green", 0), ("orange", 0.3), ("red", 0.9)),
        ),
        stat(
            "Oldest that waits",
            "Age of the oldest evidence that some destination has not got.",
            f"max(lineside_forwarder_waiting_oldest_seconds{{{own}}})",
            "s",
            wide=6,
            steps=(("green", 0), ("orange", 12 * 3600), ("red", 24 * 3600)),
        ),
        stat(
            "Dead letters",
            "Batches that a destination refused for good.",
            f"sum(lineside_forwarder_dead_batches{{{own}}})",
            wide=6,
            steps=(("green", 0), ("red", 1)),
        ),
        stat(
            "Free on the disk",
            "Room on the disk of the spool.",
            f"min(lineside_forwarder_spool_free_bytes{{{BOX}}})",
            "bytes",
            wide=6,
            steps=(("red", 0), ("orange", 1e9), ("green", 5e9)),
        ),
        series(
            "Captured",
            "Evidence that came onto the disk, by why it is kept.",
            a_minute("kept", "lineside_inference_captures_total", BOX),
            unit="captures/min",
            stacked=True,
        ),
        series(
            "Delivered",
            "Records that each destination took.",
            a_minute("destination", "lineside_forwarder_delivered_records_total", own),
            unit="records/min",
        ),
        series(
            "Waiting",
            "Bytes that wait for each destination, what is in the spool at all, and its bound.",
            ("{{destination}}", f"max by (destination) (lineside_forwarder_waiting_bytes{{{own}}})"),
            ("in the spool", f"max(lineside_forwarder_spool_bytes{{{BOX}}})"),
            ("bound", f"max(lineside_forwarder_spool_limit_bytes{{{BOX}}})"),
            unit="bytes",
        ),
        series(
            "Age of what waits",
            "Of the oldest record for each destination. Quiet hours show as a saw.",
            ("{{destination}}", f"max by (destination) (lineside_forwarder_waiting_oldest_seconds{{{own}}})"),
            unit="s",
        ),
        series(
            "Throughput",
            "Bytes a second that each destination takes.",
            ("{{destination}}", sum_by("destination", "rate", "lineside_forwarder_delivered_bytes_total", own)),
            unit="Bps",
        ),
        series(
            "Time to the disk",
            "From the verdict until its evidence is on the disk.",
            *quantiles("lineside_inference_capture_seconds", BOX, 0.5, 0.99),
            unit="s",
        ),
        series(
            "Dropped",
            "Evidence that was to be kept and is not, and what was found damaged. Zero is right.",
            lost("not kept: {{reason}}", "reason", "lineside_inference_captures_dropped_total", BOX),
            lost("let go: {{reason}}", "reason", "lineside_forwarder_spool_dropped_records_total", let_go),
            lost("damaged: {{what}}", "what", "lineside_forwarder_spool_quarantined_total", BOX),
            unit="records",
        ),
        series(
            "Deliveries that failed",
            "Attempts that are repeated, by cause.",
            lost("{{destination}}: {{cause}}", "destination, cause", "lineside_forwarder_failures_total", own),
            unit="attempts",
        ),
        timeline(
            "Destinations",
            "Whether each can be reached, as the forwarder sees it.",
            "{{connection}}",
            states(f'lineside_forwarder_connection_state{{{BOX}, state="%s"}}', "connection"),
            {number: (state, colour) for state, (number, colour) in STATES.items()},
            wide=WIDTH,
            high=6,
        ),
    ]


DASHBOARDS = {"line": line, "model": model, "device": device, "evidence": evidence}


def dashboard(name: str) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it."""
    variables, panels = DASHBOARDS[name]()
    return {
        "uid": f"lineside-{name}",
        "title": f"Lineside: {name}",
        "tags": ["lineside"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [_alerts()]},
        "links": [
            {"type": "dashboards", "tags": ["lineside"], "title": "Lineside", "includeVars": True, "keepTime": True}
        ],
        "templating": {"list": [_variable(one) for one in variables]},
        "panels": _placed(panels),
    }


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": f'ALERTS{{alertstate="firing", {BOX}}}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{severity}}",
    }


def _variable(one: Variable) -> dict[str, Any]:
    return {
        "name": one.name,
        "label": one.label,
        "type": "query",
        "datasource": SOURCE,
        "definition": one.query,
        "query": {"qryType": 1, "query": one.query, "refId": f"variable-{one.name}"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
    }


def _placed(panels: list[Panel]) -> list[dict[str, Any]]:
    """Return the panels from left to right, row by row."""
    placed, x, y, high = [], 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.wide > WIDTH:
            x, y, high = 0, y + high, 0
        placed.append(_panel(number, panel, {"x": x, "y": y, "w": panel.wide, "h": panel.high}))
        x, high = x + panel.wide, max(high, panel.high)
    return placed


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.why,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "editorMode": "code",
                "expr": expr,
                "legendFormat": legend or "__auto",
                "range": True,
            }
            for index, (legend, expr) in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _options(panel),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps = panel.steps or (("text" if panel.kind == "stat" else "green", 0),)
    found: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if panel.steps and panel.kind == "stat" else "palette-classic"},
        "thresholds": {
            "mode": "absolute",
            "steps": [
                {"color": colour, "value": None if index == 0 else value} for index, (colour, value) in enumerate(steps)
            ],
        },
        "mappings": [
            {"type": "value", "options": {str(value): {"text": text, "color": colour, "index": index}}}
            for index, (value, (text, colour)) in enumerate(panel.mapped.items())
        ],
        "custom": _custom(panel),
    }
    if panel.least is not None:
        found["min"] = panel.least
    if panel.most is not None:
        found["max"] = panel.most
    return found


def _custom(panel: Panel) -> dict[str, Any]:
    if panel.kind == "timeseries":
        return {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 25 if panel.stacked else 5,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
        }
    return {"lineWidth": 0, "fillOpacity": 80} if panel.kind == "state-timeline" else {}


def _overrides(panel: Panel) -> list[dict[str, Any]]:
    """Return the colours of the verdicts, and dashed lines for what is a bound and no measurement."""
    found = []
    legends = [legend for legend, _expr in panel.queries]
    if "{{verdict}}" in legends:
        for verdict, colour in COLOURS.items():
            found.append(_override(verdict, "color", {"mode": "fixed", "fixedColor": colour}))
    found += [
        _override(legend, "custom.lineStyle", {"fill": "dash", "dash": [8, 8]})
        for legend in legends
        if legend in {"deadline", "bound", "total"}
    ]
    return found


def _override(name: str, what: str, value: Any) -> dict[str, Any]:
    return {"matcher": {"id": "byName", "options": name}, "properties": [{"id": what, "value": value}]}


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background" if panel.steps else "value",
            "graphMode": "area",
            "textMode": "value",
            "justifyMode": "auto",
            "orientation": "auto",
        }
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": panel.kind == "timeseries"}
    tooltip = {"mode": "multi", "sort": "desc"}
    if panel.kind == "timeseries":
        return {"legend": {**legend, "calcs": []}, "tooltip": tooltip}
    return {
        "legend": legend,
        "tooltip": {"mode": "single", "sort": "none"},
        "mergeValues": True,
        "showValue": "never",
        "alignValue": "left",
        "rowHeight": 0.9,
    }


def text(name: str) -> str:
    """Return a dashboard's file."""
    return json.dumps(dashboard(name), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for each in DASHBOARDS:
        (FOLDER / f"{each}.json").write_text(text(each), encoding="utf-8")
