"""The containers of this box, by the Docker Engine's API over its socket. Whoever may use that socket is root here.

    GET /containers/json?all=1&filters={"label":[...]}   which there are
    GET /containers/<id>/json                            state, health and restarts of one

https://docs.docker.com/reference/api/engine/
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from prometheus_client.core import GaugeMetricFamily, Metric
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_pascal

from lineside_exporter.errors import NoMetrics
from lineside_exporter.sources.http_source import fetch_json

STATES = ("created", "running", "paused", "restarting", "exited", "dead")
HEALTH = ("starting", "healthy", "unhealthy")
_MAX_CONTAINERS = 200
_ENGINE = "http://docker"
_SERVICE, _ONEOFF = "com.docker.compose.service", "com.docker.compose.oneoff"


class _Part(BaseModel):
    """One part of the engine's answers, whose names begin with a capital."""

    model_config = ConfigDict(alias_generator=to_pascal)


class _Listed(_Part):
    id: str = Field(pattern=r"^[0-9a-f]{12,64}$")


class _Health(_Part):
    status: str = ""


class _State(_Part):
    status: str
    health: _Health | None = None


class _Config(_Part):
    labels: dict[str, str] | None = None


class Container(_Part):
    """One container, as the engine's inspection has it."""

    name: str
    restart_count: int = Field(0, ge=0, lt=2**63)
    state: _State
    config: _Config = _Config()

    @property
    def label(self) -> str:
        """Return its service in the compose file, its own name where it has none."""
        return (self.config.labels or {}).get(_SERVICE) or self.name.removeprefix("/")

    @property
    def is_of_a_person(self) -> bool:
        """Whether it is one that `docker compose run` made beside the service's own, which ends as it should."""
        return (self.config.labels or {}).get(_ONEOFF) == "True"


_LIST = TypeAdapter(list[_Listed])


@dataclass
class ContainersSource:
    """The containers that have a label, for instance `com.docker.compose.project=lineside`."""

    socket: Path
    label: str
    period_s: float
    timeout_s: float
    body_bytes: int
    name: str = "containers"

    @property
    def target(self) -> str:
        """Return the engine's socket."""
        return str(self.socket)

    async def read(self) -> Sequence[Metric]:
        """Return state, health and restarts of each; raises NoMetrics, httpx.HTTPError."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket), verify=False)
        # The reading as a whole has a bound.
        async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=None) as client:  # noqa: S113 - bounded
            which = quote(json.dumps({"label": [self.label]}))
            url = f"{_ENGINE}/containers/json?all=1&filters={which}"
            listed = _valid(_LIST, await fetch_json(client, url, max_bytes=self.body_bytes))
            found = []
            for each in listed[:_MAX_CONTAINERS]:
                try:
                    said = await fetch_json(client, f"{_ENGINE}/containers/{each.id}/json", max_bytes=self.body_bytes)
                except NoMetrics as error:
                    if " 404 " in f"{error.what} ":
                        continue  # it went between the two questions
                    raise
                found.append(_valid(TypeAdapter(Container), said))
        return families(found)


def families(containers: Iterable[Container]) -> list[Metric]:
    """Return the metrics; of containers with one label, as a service that is scaled has them, the last one counts."""
    state = GaugeMetricFamily(
        "lineside_container_state", "1 for the state that the container is in.", labels=["container", "state"]
    )
    health = GaugeMetricFamily(
        "lineside_container_health",
        "1 for what its health check says; absent without one.",
        labels=["container", "health"],
    )
    restarts = GaugeMetricFamily(
        "lineside_container_restarts", "How often the engine has restarted it since it was made.", labels=["container"]
    )
    for label, container in {each.label: each for each in containers if not each.is_of_a_person}.items():
        for each in STATES:
            state.add_metric([label, each], float(container.state.status == each))
        said = container.state.health
        if said is not None and said.status in HEALTH and container.state.status == "running":
            for each in HEALTH:
                health.add_metric([label, each], float(said.status == each))
        restarts.add_metric([label], container.restart_count)
    return [state, health, restarts]


def _valid(kind: TypeAdapter[Any], document: Any) -> Any:
    try:
        return kind.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise NoMetrics(f"the engine's answer is not what it should be: {place}: {first['msg']}") from None
