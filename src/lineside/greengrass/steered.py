"""A service of this process as the component that it is: settings from its configuration, its changes, its state."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import structlog

from lineside.errors import SettingsError
from lineside.greengrass.changes import Taker
from lineside.greengrass.client import shared
from lineside.greengrass.configuration import layer
from lineside.greengrass.errors import Refused
from lineside.greengrass.nucleus import ComponentNucleus
from lineside.greengrass.state import tell_running
from lineside.greengrass.watch import ConfigurationWatch
from lineside.settings import Settings, load
from lineside.threads import hand_over

log = structlog.get_logger("lineside.greengrass")

S = TypeVar("S", bound=Settings)


class Service(Protocol):
    """What of a `lineside.service.Service` is needed here."""

    takers: list[Taker]
    settings_hash: str | None

    @property
    def is_ready(self) -> bool:
        """Whether /readyz is good."""

    def fail(self, reason: str, *, status: int = 1) -> None:
        """End the service."""

    def beside(self, name: str, work: Any) -> None:
        """Have work spawned once it has started."""


class Steered(Generic[S]):
    """One service under Greengrass: read its settings, then let it be attended."""

    def __init__(self, kind: type[S], file: Path | None, nucleus: ComponentNucleus) -> None:
        self._kind = kind
        self._file = file
        self._nucleus = nucleus

    @classmethod
    def connected(cls, kind: type[S], file: Path | None) -> Self:
        """Return it with its connection to the nucleus; raises GreengrassError where there is none."""
        nucleus = ComponentNucleus(shared("the component's configuration"))
        nucleus.connect()
        return cls(kind, file, nucleus)

    def settings(self, configuration: Mapping[str, Any] | None = None) -> S:
        """Return the service's settings with this configuration, or with the one in force.

        Raises SettingsError with everything that is wrong, GreengrassError where the nucleus does not answer.
        """
        try:
            given = self._nucleus.configuration() if configuration is None else configuration
        except Refused as error:
            raise SettingsError([str(error)]) from None
        return load(self._kind, file=self._file, above=layer(self._kind, self._nucleus.component, given))

    def attend(self, service: Service, settings: S) -> None:
        """Have the service follow its configuration and tell when it is ready, from its start on."""
        service.beside("greengrass configuration", lambda: self._follow(service, settings))
        if not self._nucleus.is_companion:
            service.beside("greengrass state", lambda: tell_running(lambda: service.is_ready, self._nucleus.running))

    async def _follow(self, service: Service, settings: S) -> None:
        loop = asyncio.get_running_loop()

        def fail(reason: str) -> None:
            log.error("the connection to the Greengrass nucleus ended; so does this process", reason=reason)
            service.fail(f"the connection to the Greengrass nucleus ended: {reason}")

        def in_force(new: S) -> None:
            service.settings_hash = new.digest

        self._nucleus.when_ended(lambda reason: hand_over(loop, fail, reason))
        watch = ConfigurationWatch(
            self._nucleus,
            settings,
            read=self.settings,
            fail=service.fail,
            takers=service.takers,
            in_force=in_force,
            is_asked=not self._nucleus.is_companion,
        )
        await watch.run()
