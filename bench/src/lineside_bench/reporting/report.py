"""Pure functions from the records of a run to its summary, a public contract, and to the table printed at the end."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lineside_bench.reporting.evidence import EvidenceAccount
from lineside_bench.reporting.load import LineLoad
from lineside_bench.reporting.records import (
    VERDICTS,
    Exchange,
    Outage,
    PartRecord,
    PictureAccount,
    WriteBack,
    milliseconds,
)

STAGES = ("trigger", "queue", "source", "decode", "infer", "interpret", "publish", "write_back")
"""The stages of one part, in order."""

GOAL_ACCURACY = 0.97
MAX_PROBLEMS = 100


@dataclass(frozen=True)
class RunFacts:
    """What a summary contains beside what the records say."""

    rate: float
    seed: int
    stations: int
    ready_s: float | None
    """How long the line took to start; None where it ran already."""
    engine: Mapping[str, Any] = field(default_factory=dict)
    restarts: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    """Error reports on the bus, by code."""
    error_reports: Sequence[str] = ()
    """The first of them, in words."""
    outages: Sequence[Outage] = ()
    """When the observer had no connection to the broker: messages of that time may be missing."""
    windows_of: str = ""
    """The station whose requests are windows of samples and no parts."""
    strays: int = 0
    """Verdicts written to a station that never had a part."""
    behind_s: float = 0.0
    """Longest delay of a trigger after the time at which it was due, in seconds."""
    evidence: EvidenceAccount | None = field(default_factory=EvidenceAccount)
    """None where it was not examined."""
    pictures: PictureAccount | None = None
    """None where they were not compared."""
    cameras: str = "http"
    plc: str = "asyncua"
    """The OPC UA stack of the PLC."""
    gap_ms: float = 0.0
    """Between a part's id and its trigger."""
    load: LineLoad | None = None
    """None where it was not measured."""
    interrupted: bool = False


@dataclass
class _Findings:
    duplicates: int = 0
    wrong: int = 0
    unverified: int = 0
    problems: list[dict[str, str]] = field(default_factory=list)

    def add(self, record: PartRecord, what: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append({"part_id": record.part_id, "station": record.station, "what": what})

    def exchanged(self, pictures: PictureAccount) -> None:
        for part, shown in pictures.wrong[: MAX_PROBLEMS - len(self.problems)]:
            self.problems.append({"part_id": part, "station": "", "what": f"its picture is that of part {shown}"})

    def lost(self, requests: Sequence[str], exchanges: Mapping[str, Exchange]) -> None:
        for name in requests[: MAX_PROBLEMS - len(self.problems)]:
            request = exchanges[name].request
            part, station = (request.context.part_id, request.context.station) if request else (None, None)
            what = f"its evidence, {name}, was reported as kept and is in no file"
            self.problems.append({"part_id": part or "", "station": station or "", "what": what})


def summarise(records: Sequence[PartRecord], exchanges: Mapping[str, Exchange], facts: RunFacts) -> dict[str, Any]:
    """Return the summary as JSON-ready values; times in milliseconds unless the name says otherwise.

    `wrong_write_backs` counts verdicts that are not the one published for the request, or of another part (by the id
    that came back beside it, or by its request), or of a request that was not published. `unknown` is the fail-safe
    verdict, which the bridge may write by itself. `unverified` counts verdicts whose request or result may have been
    published while the observer had no broker; `not_shown` counts parts that their camera did not show. `windows`
    counts the results of windows of samples, as seen on the bus; they are no parts and in no other figure but
    `evidence`. `evidence` says how many captures the services kept, how many the forwarder delivered as files, how many
    it delivered twice, how many are `lost` although they were reported as kept, and how many the policy wanted and were
    not kept; None where it was not examined. `pictures` says of how many parts the picture that was kept was compared
    with the parts that were shown, and how many show another part; None where nobody looked. `ready_s` is None where
    the line ran already. `load` says what each service took while the parts came, the simulators apart, and which share
    of the machine others took; None where it was not measured.
    """
    findings = _Findings()
    for record in records:
        _examine(record, exchanges, findings, facts.outages)
    latencies = [record.latency_ms for record in records if record.latency_ms is not None]
    late = [record for record in records if record.latency_ms is not None and record.latency_ms > record.deadline_ms]
    not_shown = [record for record in records if record.not_shown]
    for record in not_shown:
        findings.add(record, f"its camera did not show it: {record.not_shown}")
    for record in late:
        findings.add(record, f"verdict after {record.latency_ms:.1f} ms, deadline {record.deadline_ms:g} ms")
    if facts.evidence:
        findings.lost(facts.evidence.lost, exchanges)
    if facts.pictures:
        findings.exchanged(facts.pictures)
    verdicts = Counter(record.verdict for record in records)
    return {
        "parts": len(records),
        "verdicts": {verdict: verdicts[verdict] for verdict in VERDICTS},
        "unknown_because": dict(Counter(_why(record, exchanges) for record in records if record.verdict == "unknown")),
        "missing": sum(record.verdict is None for record in records),
        "duplicates": findings.duplicates,
        "late": len(late),
        "wrong_write_backs": findings.wrong + facts.strays,
        "unverified": findings.unverified,
        "not_shown": len(not_shown),
        "accuracy": round(sum(record.is_right for record in records) / len(records), 4) if records else None,
        "latency_ms": _quantiles(latencies),
        "stages_ms": stages_of(records, exchanges),
        "slowest": _slowest(records, exchanges),
        "windows": _windows(exchanges, facts.windows_of),
        "evidence": _counts(facts.evidence),
        "pictures": facts.pictures and {"compared": facts.pictures.compared, "wrong": len(facts.pictures.wrong)},
        "engine": dict(facts.engine),
        "ready_s": None if facts.ready_s is None else round(facts.ready_s, 2),
        "rate": facts.rate,
        "rate_achieved": _rate(records),
        "behind_s": round(facts.behind_s, 3),
        "seed": facts.seed,
        "stations": facts.stations,
        "cameras": facts.cameras,
        "plc": facts.plc,
        "gap_ms": facts.gap_ms,
        "restarts": dict(facts.restarts),
        "errors": dict(facts.errors),
        "error_reports": list(facts.error_reports),
        "bus_outages": len(facts.outages),
        "load": facts.load.document() if facts.load else None,
        "interrupted": facts.interrupted,
        "problems": findings.problems,
    }


def stages_of(records: Sequence[PartRecord], exchanges: Mapping[str, Exchange]) -> dict[str, dict[str, float | None]]:
    """Return how long each stage took, in quantiles of milliseconds."""
    stages = [_stages(record, exchanges) for record in records]
    return {stage: _quantiles([item[stage] for item in stages if stage in item]) for stage in STAGES}


def has_faults(summary: Mapping[str, Any]) -> bool:
    """Whether any part has no verdict, more than one, a late or a wrong one, or evidence is not there once.

    A part that was judged by another's picture is one, and one that its camera did not show: no verdict about it says
    anything.
    """
    evidence, pictures = summary["evidence"], summary["pictures"]
    parts = ("missing", "duplicates", "wrong_write_backs", "late", "not_shown")
    return any(summary[name] for name in parts) or bool(
        (evidence and (evidence["lost"] or evidence["missed"] or evidence["repeated"]))
        or (pictures and pictures["wrong"])
    )


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the value below which `share` (0 to 1) of the values lie, interpolated; None without values."""
    ordered = sorted(values)
    if not ordered:
        return None
    rank = share * (len(ordered) - 1)
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


def render(summary: Mapping[str, Any]) -> RenderableType:
    """Return the summary for people: the figures, where the time went, and what was wrong."""
    errors = (Text(f"error report {said}", style="yellow") for said in summary["error_reports"])
    load = [_load(summary["load"])] if summary["load"] else []
    return Group(_figures(summary), _times(summary), *load, *errors, *_problems(summary["problems"]))


def _examine(
    record: PartRecord, exchanges: Mapping[str, Exchange], findings: _Findings, outages: Sequence[Outage]
) -> None:
    if not record.write_backs:
        findings.add(record, "no verdict")
    for number, write_back in enumerate(record.write_backs):
        if number:
            findings.duplicates += 1
            findings.add(record, f"verdict {number + 1}: {write_back.verdict!r} for request {write_back.request_id!r}")
        blind = any(outage.touches(record.triggered, write_back.at) for outage in outages)
        wrong, verified = _check(record, write_back, exchanges.get(write_back.request_id), blind=blind)
        findings.unverified += not verified
        if wrong:
            findings.wrong += 1
            findings.add(record, wrong)


def _check(  # noqa: PLR0911 - one return a rule reads best
    record: PartRecord, written: WriteBack, exchange: Exchange | None, *, blind: bool
) -> tuple[str, bool]:
    """Return what is wrong with a write-back, or nothing, and whether it could be verified."""
    if written.verdict not in VERDICTS:
        return f"wrote {written.verdict!r}, which is no verdict", True
    if written.part_id != record.part_id:
        return f"wrote the verdict of part {written.part_id!r}", True
    request = exchange.request if exchange else None
    if exchange is None or request is None:
        if blind or written.verdict == "unknown":  # the fail-safe, for a request that never reached the bus
            return "", False
        return f"wrote {written.verdict!r} for request {written.request_id!r}, which nobody published in this run", True
    context = request.context
    if (context.part_id, context.station) != (record.part_id, record.station):
        return f"wrote the verdict of part {context.part_id!r} at {context.station!r}", True
    published = [seen.result.verdict for seen in exchange.results]
    if written.verdict == "unknown" or written.verdict in published:
        return "", True
    if not published and blind:
        return "", False
    return f"wrote {written.verdict!r}; published: {', '.join(published) or 'nothing'}", True


def _stages(record: PartRecord, exchanges: Mapping[str, Exchange]) -> dict[str, float]:
    """Return the milliseconds of each stage that was seen, for the verdict that the PLC took."""
    exchange = exchanges.get(record.write_backs[0].request_id) if record.write_backs else None
    if exchange is None:
        return {}
    stages: dict[str, float] = {}
    requested = exchange.request.time.published if exchange.request else None
    if requested:
        stages["trigger"] = milliseconds(record.triggered, requested)
    if not exchange.results:
        return stages
    seen = exchange.results[0]
    timing, received = seen.result.timing_ms, seen.result.time.received
    measured = {stage: getattr(timing, stage) for stage in ("source", "decode", "infer", "interpret")}
    stages |= {stage: value for stage, value in measured.items() if value is not None}
    if requested and received:
        stages["queue"] = milliseconds(requested, received) + (timing.queued or 0.0)
    if received and timing.total is not None:
        stages["publish"] = milliseconds(received, seen.at) - timing.total
    if record.write_backs[0].verdict == seen.result.verdict:
        stages["write_back"] = milliseconds(seen.at, record.write_backs[0].at)
    return stages


def _slowest(records: Sequence[PartRecord], exchanges: Mapping[str, Exchange]) -> dict[str, Any] | None:
    """Return where the time went for the part that waited longest."""
    judged = [(record.latency_ms, record) for record in records if record.latency_ms is not None]
    if not judged:
        return None
    latency, record = max(judged, key=lambda item: item[0])
    stages = {stage: round(value, 2) for stage, value in _stages(record, exchanges).items()}
    return {"part_id": record.part_id, "latency_ms": round(latency, 2), "stages_ms": stages}


def _why(record: PartRecord, exchanges: Mapping[str, Exchange]) -> str:
    """Return why a verdict is unknown: the result's code, or what the bridge found without a result."""
    exchange = exchanges.get(record.write_backs[0].request_id)
    if exchange is None or not exchange.results:
        return "no-result"
    result = exchange.results[0].result
    return result.code or (result.status if result.verdict == "unknown" else "result-too-late")


def _windows(exchanges: Mapping[str, Exchange], station: str) -> dict[str, Any]:
    asked = [each for each in exchanges.values() if each.request and each.request.context.station == station]
    results = [each.results[0].result for each in asked if each.results]
    verdicts: Counter[str] = Counter(result.verdict for result in results)
    because = Counter(result.code or result.status for result in results if result.verdict == "unknown")
    return {
        "asked": len(asked),
        "verdicts": {verdict: verdicts[verdict] for verdict in VERDICTS},
        "unknown_because": dict(because),
        "unanswered": len(asked) - len(results),
    }


def _counts(evidence: EvidenceAccount | None) -> dict[str, int] | None:
    if evidence is None:
        return None
    return {
        "captured": evidence.captured,
        "delivered": evidence.delivered,
        "repeated": evidence.repeated,
        "lost": len(evidence.lost),
        "missed": len(evidence.missed),
    }


def _quantiles(values: Sequence[float]) -> dict[str, float | None]:
    wanted = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
    found = {name: percentile(values, share) for name, share in wanted.items()}
    return {name: None if value is None else round(value, 2) for name, value in found.items()}


def _rate(records: Sequence[PartRecord]) -> float | None:
    """Return the parts triggered a second, from the first trigger to the last."""
    moments = [record.triggered for record in records]
    span_s = milliseconds(min(moments), max(moments)) / 1000 if moments else 0.0
    return round((len(records) - 1) / span_s, 2) if span_s > 0 else None


def _figures(summary: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    verdicts = summary["verdicts"]
    engine = summary["engine"]
    accuracy = summary["accuracy"]
    table.add_row(
        "parts", f"{summary['parts']} at {summary['rate']:g}/s, {summary['stations']} stations, seed {summary['seed']}"
    )
    gap = f"{summary['gap_ms']:g} ms after it" if summary["gap_ms"] else "at once"
    table.add_row("PLC", f"{summary['plc']}; id, and trigger {gap}")
    table.add_row("verdicts", ", ".join(f"{verdict} {verdicts[verdict]}" for verdict in VERDICTS))
    for name in ("missing", "duplicates", "wrong_write_backs", "late", "not_shown"):
        count = summary[name]
        if name == "not_shown" and not count:
            continue
        table.add_row(name.replace("_", " "), Text(str(count), style="bold red" if count else "green"))
    if accuracy is not None:
        below = f", below the goal of {GOAL_ACCURACY:g}" if accuracy < GOAL_ACCURACY else ""
        table.add_row("accuracy", Text(f"{accuracy:.3f}{below}", style="yellow" if below else "green"))
    if summary["windows"]["asked"]:
        table.add_row("spindle", _said_of_windows(summary["windows"]))
    table.add_row("evidence", _said_of_evidence(summary["evidence"]))
    if summary["pictures"]:
        compared, wrong = summary["pictures"]["compared"], summary["pictures"]["wrong"]
        said = f"{compared} compared, {wrong} of another part"
        table.add_row("pictures", Text(said, style="bold red" if wrong else "green"))
    named = " ".join(str(engine[key]) for key in ("server", "version", "transport") if engine.get(key))
    table.add_row("engine", named or Text("not known: the inference service did not say", style="yellow"))
    if summary["ready_s"] is not None:
        table.add_row("ready after", f"{summary['ready_s']:.1f} s")
    groups = {"unknown because": "unknown_because", "restarts": "restarts", "error reports": "errors"}
    for name, counts in ((name, summary[key]) for name, key in groups.items()):
        shown = ", ".join(f"{key} {count}" for key, count in counts.items() if count)
        if shown:
            table.add_row(name, Text(shown, style="yellow"))
    if summary["unverified"]:
        table.add_row("unverified", f"{summary['unverified']}, while the broker was away")
    return table


def _said_of_windows(windows: Mapping[str, Any]) -> str:
    counts = {**windows["verdicts"], "unanswered": windows["unanswered"]}
    shown = ", ".join(f"{name} {count}" for name, count in counts.items() if count or name in {"pass", "fail"})
    return f"{windows['asked']} windows: {shown}"


def _said_of_evidence(evidence: Mapping[str, int] | None) -> Text:
    if evidence is None:
        return Text("not looked at: no folder of it was named", style="yellow")
    more = "".join(f", {name} {evidence[name]}" for name in ("repeated", "missed") if evidence[name])
    counts = f"captured {evidence['captured']}, delivered {evidence['delivered']}, lost {evidence['lost']}{more}"
    wrong = evidence["lost"] or evidence["missed"] or evidence["repeated"]
    return Text(counts, style="bold red" if wrong else "green")


def _times(summary: Mapping[str, Any]) -> Table:
    table = Table(
        title="milliseconds", title_justify="left", title_style="dim", box=None, padding=(0, 2), pad_edge=False
    )
    table.add_column("stage")
    for name in ("p50", "p95", "p99", "max"):
        table.add_column(name, justify="right")
    for stage in STAGES:
        table.add_row(stage.replace("_", "-"), *_cells(summary["stages_ms"][stage]))
    table.add_section()
    table.add_row("PLC to PLC", *_cells(summary["latency_ms"]), style="bold")
    return table


def _load(load: Mapping[str, Any]) -> Table:
    title = f"of {load['cores']} cores {load['busy']:.0%} busy, {load['others']:.0%} by others than this line"
    table = Table(title=title, title_justify="left", title_style="dim", box=None, padding=(0, 2), pad_edge=False)
    table.add_column("service")
    for name in ("CPU s", "ms a part", "memory MiB"):
        table.add_column(name, justify="right")
    for name, one in load["services"].items():
        each = one["cpu_ms_a_part"]
        a_part = "" if each is None else f"{each:.2f}"
        table.add_row(name, f"{one['cpu_s']:.2f}", a_part, f"{one['memory_mib']:.0f}")
    return table


def _cells(quantiles: Mapping[str, float | None]) -> Iterator[str]:
    for name in ("p50", "p95", "p99", "max"):
        value = quantiles.get(name)
        yield "" if value is None else f"{value:.1f}"


def _problems(problems: Sequence[Mapping[str, str]]) -> Iterator[RenderableType]:
    shown = 20
    for problem in problems[:shown]:
        yield Text(f"{problem['part_id']} at {problem['station']}: {problem['what']}", style="red")
    if len(problems) > shown:
        yield Text(f"and {len(problems) - shown} more; --json has them", style="red")
