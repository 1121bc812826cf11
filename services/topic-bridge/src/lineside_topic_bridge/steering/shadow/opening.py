"""Makes the shadow's source as the settings say."""

import asyncio

from lineside import __version__
from lineside.bus import Bus
from lineside.greengrass.client import Client, shared
from lineside.service import Service
from lineside.threads import hand_over
from lineside_topic_bridge.inference import InferenceLink
from lineside_topic_bridge.settings import Settings, ShadowSettings
from lineside_topic_bridge.steering.shadow.documents import has_room_in, has_room_in_answer
from lineside_topic_bridge.steering.shadow.health import Stands
from lineside_topic_bridge.steering.shadow.ipc import IotCoreTopics, IpcTransport
from lineside_topic_bridge.steering.shadow.ports import ShadowTransport
from lineside_topic_bridge.steering.shadow.source import ShadowSource
from lineside_topic_bridge.steering.shadow.topics import TopicsTransport


def connect(given: ShadowSettings | None) -> Client | None:
    """Return the connection to the nucleus where the shadow needs it; blocks while it is made.

    Raises GreengrassError where this process is no component, or the nucleus is not there.
    """
    if given is None or given.by == "mqtt":
        return None
    nucleus = shared(f"topic_bridge.steering.shadow.by: {given.by}")
    nucleus.connect()
    return nucleus


def open_shadow(
    settings: Settings, service: Service, *, bus: Bus, nucleus: Client | None, inference: InferenceLink
) -> ShadowSource | None:
    """Return the source, None where the settings have none; call it on the event loop, before the bus is entered."""
    given = settings.topic_bridge.steering.shadow
    if given is None:
        return None
    thing = settings.thing
    if nucleus is not None:
        thing = nucleus.component.thing or thing
        loop = asyncio.get_running_loop()

        def ended(reason: str) -> None:
            hand_over(loop, service.fail, f"the connection to the Greengrass nucleus ended: {reason}")

        nucleus.when_ended(ended)
    transport: ShadowTransport
    if nucleus is not None and given.by == "ipc":
        transport = IpcTransport(nucleus, thing, given.name)
    else:
        topics = bus if nucleus is None else IotCoreTopics(nucleus)
        transport = TopicsTransport(topics, thing, given.name)
    # On reserved topics the answer to a get comes in one message, with its metadata.
    is_one_message = given.by != "ipc"
    most = min(given.max_bytes, settings.bus.max_message_bytes) if is_one_message else given.max_bytes
    return ShadowSource(
        transport,
        service.connection("shadow", f"{given.name} of {thing}, by {given.by}", required=False),
        inference,
        own=lambda: _own(service),
        max_bytes=given.max_bytes,
        max_report_bytes=most,
        look_s=given.look_s,
        heartbeat_s=given.heartbeat_s,
        room=has_room_in_answer if is_one_message else has_room_in,
    )


def _own(service: Service) -> Stands:
    broken = tuple(name for name, link in service.connections.items() if link.required and not link.is_online)
    return Stands(service.name, service.is_ready, broken, __version__, service.settings_hash)
