"""Whether this process runs as a Greengrass component, and as which: what the nucleus put into its environment.

The nucleus gives each start of a component a token and the path of its socket. Both are good for one run of the
nucleus; a container has them only where `docker run` hands them on with `-e`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lineside.greengrass.errors import NotAComponent
from lineside.settings import COMPANION_VARIABLE, COMPONENT_VARIABLE

TOKEN_VARIABLE = "SVCUID"  # noqa: S105 - a variable's name
SOCKET_VARIABLE = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"
THING_VARIABLE = "AWS_IOT_THING_NAME"


@dataclass(frozen=True)
class Component:
    """Who we are at the nucleus."""

    name: str
    """As our recipes state it; "this component" where they do not: the nucleus does not tell a process its name."""
    token: str = field(repr=False)
    socket: Path
    thing: str | None = None
    """The core device's thing name."""
    is_companion: bool = False
    """Whether another process of the component speaks for it, and this one only has its configuration."""


def component(environment: Mapping[str, str] = os.environ) -> Component | None:
    """Return the component that this process runs as, None where it is none.

    Raises NotAComponent where only half of what the nucleus gives is there, as in a container that gets the one
    variable and not the other.
    """
    given = {name: environment.get(name, "") for name in (TOKEN_VARIABLE, SOCKET_VARIABLE)}
    lacking = [name for name, value in given.items() if not value]
    if len(lacking) == len(given):
        return None
    if lacking:
        [name] = lacking
        raise NotAComponent(
            f"the environment has no {name}, though it has the other variable of a Greengrass component",
            remedy=f"hand it on to the container: docker run -e {name}",
        )
    return Component(
        name=environment.get(COMPONENT_VARIABLE) or "this component",
        token=given[TOKEN_VARIABLE],
        socket=Path(given[SOCKET_VARIABLE]),
        thing=environment.get(THING_VARIABLE) or None,
        is_companion=bool(environment.get(COMPANION_VARIABLE)),
    )


def must_be_component(why: str, environment: Mapping[str, str] = os.environ) -> Component:
    """Return the component that this process runs as; raises NotAComponent, with `why` it has to be one."""
    found = component(environment)
    if found is None:
        raise NotAComponent(
            f"{why} needs a process that Greengrass started; the environment has neither {TOKEN_VARIABLE} "
            f"nor {SOCKET_VARIABLE}",
            remedy="deploy it as a component, whose recipe hands both on to the container; or use bus.transport: mqtt",
        )
    return found
