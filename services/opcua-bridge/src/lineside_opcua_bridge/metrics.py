"""The metrics of the opcua-bridge; their names are a public contract."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_PREFIX = "lineside_opcua_bridge"
_SECONDS = (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0)


class Metrics:
    """Counters and histograms, labelled by the trigger's name, which the settings bound."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{_PREFIX}_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"{_PREFIX}_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(f"{_PREFIX}_{name}", text, labels, buckets=_SECONDS, registry=registry)

        self.triggers = counter(
            "triggers_total",
            "Values of a trigger that mattered: accepted, debounced, recovered, bad_quality, too_soon, condition (it "
            "held the trigger back), missed_tick (of a period), plc_away (a period while the PLC is), "
            "not_owner (another bridge serves the station).",
            "trigger",
            "kind",
        )
        self.missed_parts = counter(
            "missed_parts_total", "Parts that the PLC's counter shows and nobody asked about.", "trigger"
        )
        self.rechecks = counter(
            "looks_total",
            "Looks at the PLC's own view of a station, after an outage, a failed write, or to hand done back: nothing, "
            "waiting, new, answered, gone, taking, unreadable.",
            "trigger",
            "standing",
        )
        self.requests = counter(
            "requests_total", "Requests by outcome: published, refused (bus), unsent (in time).", "trigger", "outcome"
        )
        self.results = counter(
            "results_total",
            "Results seen: matched, late, duplicate, foreign, unasked (a station of ours, but no request of this "
            "process: of before a restart, or of a second bridge at it), unreadable, error (of ours); refused: "
            "mismatched (another model, station or part than its request), contradicting (a second one with another "
            "verdict), foreign_error (an error report about another message than the request that it names).",
            "kind",
        )
        self.verdicts = counter(
            "verdicts_total",
            "Verdicts written with done raised, or only counted where nothing is written, by verdict and who decided: "
            "result, deadline, bus, error, overload (more parts than can be judged in time), overrun, missed, paused, "
            "window, message.",
            "trigger",
            "verdict",
            "origin",
        )
        self.lost_parts = counter(
            "unanswered_parts_total",
            "Parts that got no verdict from us: superseded, gone, answered_elsewhere, not_owner (another bridge "
            "serves it), write_failed, overrun (too many waited), not_taken (the PLC never lowered done of the "
            "part before), unproven (done was raised, and the PLC's answer was lost).",
            "trigger",
            "reason",
        )
        self.write_failures = counter(
            "write_failures_total",
            "Writes to the PLC that failed, by what was written and why.",
            "trigger",
            "node",
            "reason",
        )
        self.sample_failures = counter(
            "sample_failures_total", "Sampled nodes left out of a request.", "trigger", "reason"
        )
        self.stamps_unusable = gauge(
            "source_timestamps_unusable",
            "Tags of a trigger whose source timestamps stand still or run backwards; they are used for nothing.",
            "trigger",
        )
        self.samples = counter(
            "samples_total",
            "Sampled tags by how their value was got: read, in_force (it changed since; the one before counts), "
            "after_trigger (it changed since, and the one before is not known).",
            "trigger",
            "kind",
        )
        self.overflow = counter(
            "overflow_total", "Times values of a trigger were lost: in the server's queue, in ours.", "trigger", "where"
        )
        self.heartbeats = counter(
            "heartbeats_total", "Beats written to the PLC, by outcome: written, or why it failed.", "outcome"
        )
        self.deadline = Gauge(
            f"{_PREFIX}_deadline_seconds",
            "Within what the settings want a verdict, from the trigger.",
            ["trigger"],
            registry=registry,
        )
        self.owner = Gauge(
            f"{_PREFIX}_owner",
            "1 where this bridge serves the trigger's station, 0 while another bridge does or it is not yet known.",
            ["trigger"],
            registry=registry,
        )
        self.simulate = Gauge(f"{_PREFIX}_simulate", "1 while nothing is written to the PLC.", registry=registry)
        self.margin = gauge(
            "margin_needed_seconds",
            "What is needed at present before a deadline for the write-back: its own time, the event loop's lag, and "
            "the delay of notifications, at their worst lately. `unknown` is begun so much before the deadline.",
        )
        self.lag = gauge(
            "event_loop_lag_seconds",
            "By how much what was due came late for want of the processor, at its worst of late.",
        )
        self.on_bus = gauge("requests_on_bus", "Requests that wait for their result.")
        self.held = gauge(
            "requests_held", "Requests that are held back, as more parts come than can be judged in time."
        )
        self.overloaded = gauge(
            "overloaded", "1 while more parts come than can be judged in time: the number of requests is limited."
        )
        self.trigger_to_verdict = histogram(
            "trigger_to_verdict_seconds", "From the trigger as we saw it to done in the PLC.", "trigger"
        )
        self.sampling = histogram("sample_seconds", "Reading the sampled nodes.", "trigger")
        self.write_back = histogram("write_back_seconds", "From the decision to done in the PLC.", "trigger")
