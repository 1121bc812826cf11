"""What the doctor asks about metrics: whether the exporter has every source that it reads.

A source that is not there on this machine, for instance tegrastats on a PC, is none of the exporter's and not asked.
"""

import http.client
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from lineside.checks import HTTP_S, Check, ask, bounded, fail, ok, skip, warn
from lineside.settings import load
from lineside.threads import run_abandonable
from lineside_exporter.settings import ExporterHttpSettings, Settings

SOURCES = "metrics sources"
_SERVICE = "exporter"
_OK = 200
_UP, _DROPPED = "lineside_exporter_source_up", "lineside_exporter_series_dropped_total"


async def checks(file: Path | None, before: Mapping[str, Check]) -> AsyncIterator[Check]:
    """Yield the check of the exporter's sources; its own answer is a check before."""
    service = before.get(_SERVICE)
    if service is None or "ready on" not in service.what:
        yield skip(SOURCES, f"needs: {_SERVICE}")
        return
    settings = load(Settings, file=file).exporter.http
    yield await bounded(SOURCES, partial(run_abandonable, partial(_look, settings)), within_s=2 * HTTP_S)


def _look(settings: ExporterHttpSettings) -> Check:
    try:
        where, status, body = ask(_SERVICE, settings, "/metrics")
    except http.client.HTTPException as error:
        return fail(SOURCES, f"/metrics is cut off: {error!r}", "see the exporter's log")
    if status != _OK:
        return fail(SOURCES, f"{where}/metrics answers {status}", "see the exporter's log")
    return judge(body.decode("utf-8", "replace"), where)


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
