"""Which sources there are, by the settings."""

from collections.abc import Iterator
from itertools import chain

import httpx

from lineside_exporter.exposition import Bounds, Parser
from lineside_exporter.reading_cache import ReadingCache
from lineside_exporter.settings import Settings
from lineside_exporter.sources.containers import ContainersSource
from lineside_exporter.sources.drift import ComponentDriftSource, ModelDriftSource
from lineside_exporter.sources.host import DisksSource, HostSource
from lineside_exporter.sources.http_source import TokenFile
from lineside_exporter.sources.services import ServiceSource
from lineside_exporter.sources.source import Source
from lineside_exporter.sources.triton import TritonModelsSource

_INFERENCE = "inference"


def plan(settings: Settings, client: httpx.AsyncClient, cache: ReadingCache) -> list[Source]:
    """Return the sources, none of them read yet."""
    return list(
        chain(_services(settings, client), _triton(settings, client), _box(settings), _drift(settings, client, cache))
    )


def bounds(settings: Settings) -> Bounds:
    """Return what one source may bring."""
    limits = settings.exporter.limits
    return Bounds(series=limits.series, label_characters=limits.label_characters)


def _token(settings: Settings) -> TokenFile | None:
    file = settings.exporter.inference_token_file
    return TokenFile(file) if file is not None else None


def _services(settings: Settings, client: httpx.AsyncClient) -> Iterator[Source]:
    own = settings.exporter
    targets = {
        name: (f"{url}/metrics", _token(settings) if name == _INFERENCE else None) for name, url in own.services.items()
    }
    if own.triton is not None:
        targets["triton"] = (f"{own.triton.metrics_url}/metrics", None)
    for name, (target, auth) in targets.items():
        yield ServiceSource(
            name=name,
            target=target,
            client=client,
            period_s=own.period_s,
            timeout_s=own.timeout_s,
            body_bytes=own.limits.body_bytes,
            parser=Parser(bounds(settings), ("service", name)),
            auth=auth,
        )


def _triton(settings: Settings, client: httpx.AsyncClient) -> Iterator[Source]:
    own = settings.exporter
    if own.triton is not None:
        yield TritonModelsSource(
            target=own.triton.url,
            client=client,
            period_s=own.period_s,
            timeout_s=own.timeout_s,
            body_bytes=own.limits.body_bytes,
        )


def _box(settings: Settings) -> Iterator[Source]:
    own = settings.exporter
    paths = dict.fromkeys([*([settings.spool.folder] if settings.spool.folder else []), *own.paths])
    yield HostSource(period_s=own.period_s, timeout_s=own.timeout_s)
    if paths:
        yield DisksSource(paths=list(paths), period_s=own.period_s, timeout_s=own.timeout_s)
    if own.docker is not None:
        yield ContainersSource(
            socket=own.docker.socket,
            label=own.docker.label,
            period_s=own.period_s,
            timeout_s=own.timeout_s,
            body_bytes=own.limits.body_bytes,
        )


def _drift(settings: Settings, client: httpx.AsyncClient, cache: ReadingCache) -> Iterator[Source]:
    own = settings.exporter
    if _INFERENCE in own.services:
        yield ModelDriftSource(
            target=f"{own.services[_INFERENCE]}/v1/models",
            client=client,
            desired=own.desired.models,
            period_s=own.period_s,
            timeout_s=own.timeout_s,
            body_bytes=own.limits.body_bytes,
            auth=_token(settings),
        )
    if own.desired.components:
        yield ComponentDriftSource(
            shown=cache.families, desired=own.desired.components, period_s=own.period_s, timeout_s=own.timeout_s
        )
