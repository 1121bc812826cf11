"""How the line on this box stands, as the shadow reports it: its services, their versions, and what does not work."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_DOWN = 8
"""Most names of what does not work that are reported."""
_WORKING = frozenset({"ONLINE", "PAUSED"})


@dataclass(frozen=True)
class Stands:
    """How one service stands."""

    service: str
    """By its section of the settings, for instance `opcua_bridge`."""
    ready: bool = False
    broken: tuple[str, ...] = ()
    """Connections that it needs and that do not work."""
    version: str | None = None
    settings_hash: str | None = None


@dataclass(frozen=True)
class Health:
    """How the line stands."""

    services: tuple[Stands, ...]

    @property
    def down(self) -> tuple[str, ...]:
        """What does not work: a service, or its connection as `service.connection`."""
        found = [name for each in self.services for name in _down(each)]
        return (*found[:MAX_DOWN], f"and {len(found) - MAX_DOWN} more") if len(found) > MAX_DOWN else tuple(found)

    def document(self, at: int) -> dict[str, Any]:
        """Return what is reported as `health`; `at` is when it was so, in seconds since 1970, for numbers compare."""
        return {"ready": not self.down, "down": list(self.down), "at": at}

    @property
    def components(self) -> dict[str, str]:
        """The version of each service that said it."""
        return {each.service: each.version for each in self.services if each.version is not None}

    @property
    def settings_hash(self) -> dict[str, str]:
        """Which settings each service runs by, where it said it."""
        return {each.service: each.settings_hash for each in self.services if each.settings_hash is not None}


def health(own: Stands, answers: Mapping[str, Any]) -> Health:
    """Return how the line stands, by what this service is and what inference answered by path; nothing: it is away."""
    return Health((_inference(answers), *_told(answers.get("/v1/chain"), own.service), own))


def _down(stands: Stands) -> Sequence[str]:
    if stands.ready:
        return ()
    return [f"{stands.service}.{name}" for name in stands.broken] or [stands.service]


def _inference(answers: Mapping[str, Any]) -> Stands:
    readiness, said = _group(answers.get("/readyz")), _group(answers.get("/v1/version"))
    return Stands(
        "inference",
        readiness.get("ready") is True,
        _broken(readiness.get("connections")),
        said.get("version"),
        said.get("settings_hash"),
    )


def _told(chain: Any, own: str) -> Iterator[Stands]:
    """Yield the other services that told inference how they stand; one that went silent is not ready."""
    for each in _group(chain).get("services", ()):
        if each["service"] == own:
            continue
        if each["silent"]:
            yield Stands(each["service"])
        else:
            broken = _broken(each["connections"])
            yield Stands(each["service"], each["ready"], broken, each.get("version"), each.get("settings_hash"))


def _broken(connections: Any) -> tuple[str, ...]:
    return tuple(link["name"] for link in connections or () if link["required"] and link["state"] not in _WORKING)


def _group(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
