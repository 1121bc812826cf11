"""A service's status on the bus, published every two seconds, so that others notice one that stopped."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal

import structlog

from lineside import __version__
from lineside.connections import Snapshot, State
from lineside.contract import LinkState, PolicyStanding, ServiceStatus, Times, to_json, utc_now
from lineside.errors import LinesideError
from lineside.service import Service

log = structlog.get_logger("lineside.standing")

PERIOD_S = 2.0
_LONGEST = 1024
_LONGEST_IN_SHORT = 160


def status_of(
    name: Literal["opcua_bridge", "topic_bridge"],
    links: Iterable[Snapshot],
    *,
    is_ready: bool,
    max_bytes: int,
    policy: PolicyStanding | None = None,
    settings_hash: str | None = None,
) -> bytes:
    """Return a service's status as at most `max_bytes`: details are left out first, then connections that work."""
    whole = sorted((_shown(link, _LONGEST) for link in links), key=lambda link: link.state == State.ONLINE)
    short = [_shown_short(link) for link in whole]
    shorter = policy.model_copy(update={"errors": {}}) if policy is not None else None
    fewer = [(short[:most], shorter) for most in range(len(short), -1, -1)]
    tries = [(whole, policy), (short, policy), *fewer, ([], None)]
    for shown, standing in tries:
        status = ServiceStatus(
            service=name,
            ready=is_ready,
            connections=tuple(shown),
            omitted=len(whole) - len(shown),
            policy=standing,
            version=__version__,
            settings_hash=settings_hash,
            time=Times(published=utc_now()),
        )
        if len(payload := to_json(status)) <= max_bytes:
            break
    return payload


async def tell(
    name: Literal["opcua_bridge", "topic_bridge"],
    service: Service,
    send: Callable[[bytes], Awaitable[None]],
    *,
    max_bytes: int,
    period_s: float = PERIOD_S,
    policy: Callable[[], PolicyStanding | None] = lambda: None,
) -> None:
    """Publish a service's status for ever; one that cannot be sent within the period is dropped: the next follows."""
    while True:
        links = [link.snapshot() for link in service.connections.values()]
        try:
            async with asyncio.timeout(period_s):
                status = status_of(
                    name,
                    links,
                    is_ready=service.is_ready,
                    max_bytes=max_bytes,
                    policy=policy(),
                    settings_hash=service.settings_hash,
                )
                await send(status)
        except (TimeoutError, LinesideError) as error:
            log.debug("how the service stands was not told", error=str(error))
        await asyncio.sleep(period_s)


def _shown(link: Snapshot, longest: int) -> LinkState:
    return LinkState.model_validate(
        {
            "name": link.name[:256],
            "target": link.target[:longest],
            "state": link.state.value,
            "required": link.required,
            "since": link.since,
            "detail": link.detail[:longest],
            "attempts": link.attempts,
            "next_try": link.next_try,
        }
    )


def _shown_short(link: LinkState) -> LinkState:
    return link.model_copy(
        update={"target": link.target[:_LONGEST_IN_SHORT], "detail": link.detail[:_LONGEST_IN_SHORT]}
    )
