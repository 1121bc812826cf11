"""What the doctor asks about metrics: whether the exporter has every source that it reads.

A source that is not there on this machine, for instance tegrastats on a PC, is none of the exporter's and not asked.
"""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from lineside.checks import Check, judged, ok, warn
from lineside.settings import load
from lineside_exporter.settings import Settings

SOURCES = "metrics sources"
_UP, _DROPPED = "lineside_exporter_source_up", "lineside_exporter_series_dropped_total"


async def checks(file: Path | None, before: Mapping[str, Check]) -> AsyncIterator[Check]:
    """Yield the check of the exporter's sources; its own answer is a check before."""
    yield await judged(
        SOURCES,
        "exporter",
        lambda: load(Settings, file=file).exporter.http,
        "/metrics",
        lambda body, where: judge(body.decode("utf-8", "replace"), where),
        before,
    )


def judge(text: str, where: str) -> Check:
    """Judge the exporter's word on its sources in a scrape; raises ValueError where it is no such text."""
    up: dict[str, bool] = {}
    dropped: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == _UP:
                up[sample.labels["source"]] = sample.value == 1
            elif sample.name == _DROPPED and sample.value:
                source = sample.labels["source"]
                dropped[source] = dropped.get(source, 0) + sample.value
    away = [source for source, is_up in up.items() if not is_up]
    if away:
        what = f"{where} has {len(up) - len(away)} of {len(up)} sources; away: {', '.join(sorted(away))}"
        return warn(SOURCES, what, "their series are absent meanwhile; /readyz of the exporter says why")
    if dropped:
        shown = ", ".join(f"{count:.0f} of {source}" for source, count in sorted(dropped.items()))
        return warn(
            SOURCES, f"{where} has left out series: {shown}", "see lineside_exporter_series_dropped_total for why"
        )
    return ok(SOURCES, f"{where} has all {len(up)}: {', '.join(sorted(up))}") if up else warn(SOURCES, "it reads none")
