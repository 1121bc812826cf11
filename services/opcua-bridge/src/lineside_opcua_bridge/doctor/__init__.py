"""The doctor's checks of the opcua-bridge: the connection to the PLC, step by step, and every node.

They open a session of their own; nothing is written and nothing is subscribed. A certificate of the PLC that is not
trusted is kept among the rejected ones, as by the bridge itself, where `lineside opcua trust add` finds it.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from pathlib import Path

from lineside.checks import Check, needs, skip
from lineside.contract import utc_now
from lineside.settings import load
from lineside_opcua_bridge.doctor import access, nodes, results
from lineside_opcua_bridge.link.session import Session
from lineside_opcua_bridge.settings import OpcuaBridgeSettings, Settings

_ON_A_SESSION = ("PLC clock", "PLC namespaces", "PLC limits")


async def checks(
    file: Path | None, before: Mapping[str, Check], *, now: Callable[[], datetime] = utc_now
) -> AsyncIterator[Check]:
    """Yield the checks of the opcua-bridge."""
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    settings = load(Settings, file=file)
    own = settings.opcua_bridge
    yield needs(results.NAME, before, "broker") or await results.check(settings.bus, own.http)
    if not own.heartbeat and not any(trigger.needs_plc() for trigger in own.triggers):
        why = "no tag and no write-back needs it" if own.triggers else "no triggers are configured"
        yield skip("PLC", f"{why} (opcua_bridge.triggers)")
        return
    session = Session(own, settings.thing, read_only=True)
    try:
        failed = False
        async for check in access.checks(own, settings.thing, session, now=now):
            failed = failed or check.mark == "fail"
            yield check
        if failed:
            for name in (*_ON_A_SESSION, *_names(own)):
                yield skip(name, "needs a session with the PLC")
            return
        async for check in nodes.checks(own, session, now=now):
            yield check
    finally:
        await session.close()


def _names(own: OpcuaBridgeSettings) -> list[str]:
    return [*(nodes.name_of(trigger) for trigger in own.triggers), *(["heartbeat"] if own.heartbeat else [])]
