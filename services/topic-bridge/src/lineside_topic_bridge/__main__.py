"""The topic-bridge as a process: `lineside-topic-bridge [settings.yaml]`."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.types import ASGIApp

import lineside.service
from lineside.bus import Bus
from lineside.bus.faults import MessageFaults
from lineside.bus.opening import open_bus
from lineside.contract import policy_topic, reported_policy_topic, status_topic
from lineside.service import Service
from lineside.settings import HttpSettings
from lineside.standing import PERIOD_S, tell
from lineside_topic_bridge.bridge import Metrics, TopicBridge
from lineside_topic_bridge.inference import InferenceLink, Token
from lineside_topic_bridge.outcomes import AT_ONCE, OutcomeCarrier, carry_status
from lineside_topic_bridge.reporting import PolicyReporter
from lineside_topic_bridge.settings import Settings
from lineside_topic_bridge.steering.configuration import ConfigurationSource
from lineside_topic_bridge.steering.desk import PolicyDesk
from lineside_topic_bridge.steering.shadow.opening import connect, open_shadow
from lineside_topic_bridge.steering.shadow.source import ShadowSource
from lineside_topic_bridge.steering.topic import TopicSource


def build(settings: Settings, service: Service) -> tuple[ASGIApp, HttpSettings]:
    """Return the application, whose lifespan is the bridge's life, and where its health is served."""
    own = settings.topic_bridge
    token = Token(own.inference_token_file) if own.inference_token_file else None
    broker = service.connection("bus", settings.bus.url)
    inference = service.connection("inference", own.inference_url)
    configuration = ConfigurationSource(own.steering.configuration)
    _let_deployments_steer(service, configuration)
    bus = open_bus(
        settings.bus, client="topic-bridge", connection=broker, registry=service.registry, failed=service.fail
    )
    nucleus = connect(own.steering.shadow)

    @asynccontextmanager
    async def body() -> AsyncIterator[None]:
        requests = bus.subscribe(settings.bus.request_topic)
        reports = bus.subscribe(reported_policy_topic(settings.thing))
        desired = bus.subscribe(policy_topic(settings.thing)) if own.policy else None
        topic = TopicSource(desired, settings.bus.max_message_bytes) if desired is not None else None
        outcomes = bus.subscribe(settings.bus.outcome_topic)
        states = bus.subscribe(status_topic(settings.thing))
        others = ("livez", "put policy", "get policy", "status", "own status", "models")
        max_connections = own.concurrency + AT_ONCE + len(others)
        limits = httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
        client = httpx.AsyncClient(base_url=own.inference_url, limits=limits, trust_env=False, auth=token)
        link = InferenceLink(client, inference)
        shadow = open_shadow(settings, service, bus=bus, nucleus=nucleus, inference=link)
        async with client, bus:
            faults = MessageFaults("topic_bridge", service.registry)
            bridge = TopicBridge(
                bus=bus,
                requests=requests,
                inference=link,
                settings=own,
                topics=settings.bus,
                metrics=Metrics(service.registry),
                faults=faults,
            )
            service.spawn("inference link", link.supervise())
            desk = _steer(settings, service, bus=bus, link=link, sources=(configuration, topic, shadow))
            service.spawn("policy reports seen", faults.each(reports, desk.reporter.take))
            bringing = OutcomeCarrier(
                outcomes=outcomes,
                inference=link,
                faults=faults,
                max_bytes=settings.bus.max_message_bytes,
                registry=service.registry,
            )
            service.spawn("outcomes", bringing.run())
            service.spawn("status", carry_status(states, link, faults))

            async def tell_inference(status: bytes) -> None:
                await link.post("/v1/status", status, PERIOD_S)

            max_bytes = settings.bus.max_message_bytes
            telling = tell("topic_bridge", service, tell_inference, max_bytes=max_bytes, policy=desk.standing)
            service.spawn("own status", telling)
            taking = service.spawn("requests", bridge.run())
            try:
                yield
            finally:
                taking.cancel()
                await bridge.drain(own.http.drain_s)

    return service.app(body), own.http


def _let_deployments_steer(service: Service, source: ConfigurationSource) -> None:
    async def nothing_against(_new: Settings) -> tuple[()]:
        return ()

    async def give(new: Settings) -> None:
        source.give(new.topic_bridge.steering.configuration)

    service.takes("topic_bridge.steering.configuration", nothing_against, give)


def _steer(
    settings: Settings,
    service: Service,
    *,
    bus: Bus,
    link: InferenceLink,
    sources: tuple[ConfigurationSource, TopicSource | None, ShadowSource | None],
) -> PolicyDesk:
    """Have the sources steer the policy, and what is in force told; return the desk."""
    shadow = sources[-1]
    reporter = PolicyReporter(
        bus=bus,
        topic=reported_policy_topic(settings.thing),
        inference=link,
        max_bytes=settings.bus.max_message_bytes,
        registry=service.registry,
        tell_too=shadow.told if shadow is not None else lambda _outcome: None,
    )
    service.spawn("policy report", reporter.run())
    service.spawn("policy correction", reporter.correct())
    service.spawn("policy report repeated", reporter.repeat())
    steering = settings.topic_bridge.steering
    if shadow is not None:
        service.spawn("shadow", shadow.run())
    desk = PolicyDesk(
        sources=[source for source in sources if source is not None],
        order=steering.order,
        inference=link,
        reporter=reporter,
        awaited=frozenset({"shadow"} if shadow is not None else ()),
        wait_s=steering.shadow.wait_s if steering.shadow is not None else 0.0,
        registry=service.registry,
    )
    service.spawn("policy", desk.run())
    return desk


def main() -> None:
    """Run until SIGTERM."""
    sys.exit(lineside.service.main(Settings, "topic_bridge", build))


if __name__ == "__main__":
    main()
