"""What the doctor asks of every installation: settings, broker, and whether the services run and are ready here."""

import asyncio
import http.client
import os
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

from lineside.bus.anybody import takes_anybody
from lineside.bus.opening import open_bus
from lineside.checks import Check, bounded, fail, needs, ok, readyz, skip, warn
from lineside.cli.config import installed
from lineside.connections import Connection
from lineside.contract import uuid7
from lineside.errors import BusError, LinesideError
from lineside.greengrass.component import component
from lineside.settings import FILE_VARIABLE, PREFIX, BusSettings, HttpSettings, Settings, load
from lineside.threads import run_abandonable

BROKER_S = 5.0
_ATTEMPTS = 3
"""A broker that refuses so often is not there; a silent one gets the whole time."""
_LOOK_S = 0.01
_BROKER, _ACCOUNTS = "broker", "broker accounts"


async def checks(file: Path | None, before: Mapping[str, Check]) -> AsyncIterator[Check]:
    """Yield the checks; `before` is not looked at."""
    del before
    settings = [load(kind, file=file) for kind in installed()]
    if not settings:
        yield fail(
            "settings", "no service is installed beside the lineside command", "install one, for instance its wheel"
        )
        return
    yield _settings(file or os.environ.get(FILE_VARIABLE), settings)
    names = [each.section.replace("_", "-") for each in settings]
    asked = [
        bounded(name, partial(service, name, each), within_s=BROKER_S)
        for name, each in zip(names, settings, strict=True)
    ]
    broker, *services = await asyncio.gather(_broker(settings[0]), *asked)
    for check in (broker, *services):
        yield check
    asked_for = partial(_accounts, settings[0].bus)
    yield needs(_ACCOUNTS, {_BROKER: broker}, _BROKER) or await bounded(_ACCOUNTS, asked_for, within_s=BROKER_S)


def _settings(file: Path | str | None, settings: list[Settings]) -> Check:
    """Say which settings are checked: without a file it is easily the wrong ones."""
    services = f"right for {', '.join(kind.section for kind in settings)}; thing {settings[0].thing!r}"
    if file:
        return ok("settings", f"{file}: {services}")
    given = sorted(name for name in os.environ if name.upper().startswith(PREFIX))
    what = (
        f"no settings file is named; defaults and {', '.join(given)} are checked"
        if given
        else ("no settings file is named: what follows is about the defaults, not about your box")
    )
    return warn("settings", f"{what}; {services}", f"lineside doctor FILE, or name it in {FILE_VARIABLE}")


async def _broker(settings: Settings) -> Check:
    """Send a message to ourselves."""
    is_ipc = settings.bus.transport == "ipc"
    where = settings.bus.url if is_ipc else f"{settings.bus.host}:{settings.bus.port}"
    link = Connection("bus", settings.bus.url)
    topic = f"lineside/{settings.thing}/doctor/{uuid7()}"
    try:
        if is_ipc and component() is None:
            return skip(_BROKER, "bus.transport is ipc: only components of Greengrass have it")
        bus = open_bus(settings.bus, client=f"doctor-{topic[-12:]}", connection=link, keep=False)
    except LinesideError as error:
        return fail(_BROKER, error.what, error.remedy)
    messages = aiter(bus.subscribe(topic))

    async def there_and_back() -> Check:
        while not link.is_online:
            if link.attempts > _ATTEMPTS:
                raise TimeoutError
            await asyncio.sleep(_LOOK_S)
        started = asyncio.get_running_loop().time()
        await bus.publish(topic, b"doctor")
        (await anext(messages)).ack()
        took = asyncio.get_running_loop().time() - started
        return ok(_BROKER, f"{where}, {link.detail}, a message there and back in {took * 1000:.0f} ms")

    remedy = "is the broker running there, and are bus.host, bus.port, bus.username and its rights right?"
    try:
        async with bus, asyncio.timeout(BROKER_S):
            return await there_and_back()
    except TimeoutError:
        if link.is_online:
            what = f"{where} takes messages on {topic} and does not bring them back"
            return fail(_BROKER, what, f"allow {settings.bus.username or 'us'} to publish and subscribe there")
        return fail(_BROKER, f"{where}: {link.detail or 'no answer'}", remedy)
    except BusError as error:
        return fail(_BROKER, f"{where}: {error.what}", error.remedy or remedy)


async def _accounts(bus: BusSettings) -> Check:
    """Say whether the broker accepts clients without an account, which could then publish results."""
    if bus.transport == "ipc":
        return ok(_ACCOUNTS, "the Greengrass nucleus takes nobody but its components")
    if not await takes_anybody(bus):
        return ok(_ACCOUNTS, f"{bus.host}:{bus.port} takes nobody without an account")
    return warn(
        _ACCOUNTS,
        f"{bus.host}:{bus.port} takes anybody: who reaches it can give parts their verdicts",
        "give each service an account and let the broker take no others: docs/how-to/secure-the-broker.md",
    )


async def service(name: str, settings: Settings) -> Check:
    """Say whether a service runs where the settings have it, and is ready."""
    http_settings: HttpSettings = getattr(settings, settings.section).http
    try:
        where, document = await run_abandonable(partial(readyz, settings.section, http_settings))
    except (OSError, http.client.HTTPException, ValueError) as error:
        where = f"{http_settings.host}:{http_settings.port}"
        if settings.unneeded:
            return skip(name, f"does not answer on {where}, and need not: {settings.unneeded}")
        return warn(name, f"does not answer on {where}: {error}", "start it, unless it runs on another machine")
    links = [link for link in document.get("connections", []) if link["state"] != "ONLINE"]
    shown = "; ".join(f"{link['name']} {link['state']}: {link['detail']}".rstrip(": ") for link in links)
    if document.get("service", settings.section if "ready" in document else None) != settings.section:
        return warn(name, f"{where} is answered by {document.get('service')!r}", "give each service a port of its own")
    if not document.get("ready"):
        return fail(name, f"is not ready on {where}: {shown or document.get('state')}", "see the checks of its peers")
    return warn(name, f"ready on {where}; {shown}") if shown else ok(name, f"ready on {where}")
