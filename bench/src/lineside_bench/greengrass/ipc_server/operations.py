"""One function for each operation that is served: a request in, the response out, or a Refusal.

A function that begins a stream of events registers with the stream what ends it. Names, shapes and texts are those of
the public model (`greengrass-ipc-model/main.smithy`) and of the nuclei's sources.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Protocol

from lineside.greengrass import services
from lineside_bench.greengrass.ipc_server import access
from lineside_bench.greengrass.ipc_server.manners import Manner
from lineside_bench.greengrass.ipc_server.state import ACCESS_CONTROL, Component, Core, Document, Key, Refusal, Shadow
from lineside_bench.greengrass.ipc_server.topics import Listener, Topics, is_wild

NAMESPACE = "aws.greengrass#"
_SHADOW_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,64}")
_MAX_PAGE = 100
_REPORTED_STATES = ("RUNNING", "ERRORED", "NEW", "INSTALLED", "STARTING", "STOPPING", "BROKEN", "FINISHED")


class Stream(Protocol):
    """The stream that a request came on."""

    def event(self, shape: str, document: Document) -> None:
        """Send an event, from now until the stream ends."""

    def at_end(self, undo: Callable[[], None]) -> None:
        """Have this called when the stream or its connection ends."""


class Hub(Protocol):
    """What operations share: one server."""

    core: Core
    local: Topics
    cloud: Topics
    validators: dict[str, list[Stream]]
    updates: dict[str, list[Stream]]

    @property
    def subscriptions(self) -> int:
        """How many streams of events are open."""

    def changed(self, component: str, tell: Callable[[Key], None]) -> Callable[[], None]:
        """Have changes of a component's configuration told; return what ends it."""

    def published(self, component: str | None, topic: str, payload: bytes) -> None:
        """Take note of a local message."""

    def to_cloud(self, component: str, topic: str, payload: bytes) -> None:
        """Hand a message to AWS IoT Core."""

    def validity(self, component: str, report: Document) -> None:
        """Take a component's judgement of a configuration."""

    def deferred(self, component: str, request: Document) -> None:
        """Take a component's wish to be updated later."""


class Call:
    """One request: who asks, on which stream, and what."""

    def __init__(self, hub: Hub, component: Component, operation: str, request: Document, stream: Stream) -> None:
        self.hub = hub
        self.component = component
        self.operation = operation
        self.request = request
        self.stream = stream

    @property
    def manner(self) -> Manner:
        """The core's."""
        return self.hub.core.manner

    def text(self, name: str, *, default: str | None = None) -> str:
        """Return a field that is text; raises Refusal."""
        value = self.request.get(name, default)
        if not isinstance(value, str):
            raise self.invalid(f"{name} must be given")
        return value

    def binary(self, name: str) -> bytes:
        """Return a field of bytes, which is base64 on the wire; raises Refusal."""
        return self.decoded(self.request.get(name, ""))

    def decoded(self, value: object) -> bytes:
        """Return the bytes of base64; raises Refusal."""
        try:
            return base64.b64decode(str(value), validate=True)
        except binascii.Error:
            raise self.invalid("not base64") from None

    def path(self) -> Key:
        """Return `keyPath`; raises Refusal."""
        given = self.request.get("keyPath") or []
        if not isinstance(given, list) or not all(isinstance(step, str) for step in given):
            raise self.invalid("keyPath is a list of names")
        return tuple(given)

    def invalid(self, text: str) -> Refusal:
        """Return the refusal of a request that is wrong: lite has one shape for all of them."""
        if self.manner.plain_messages:
            return Refusal("InvalidArgumentsError", text)
        return Refusal("ServiceError", "Received invalid parameters.")

    def must_be_allowed(self, service: str, resource: str) -> None:
        """Raise Refusal where the component's policies do not allow this operation on the resource."""
        policies = self.component.configuration.get(ACCESS_CONTROL)
        variables = {"{iot:thingName}": self.hub.core.thing} if self.manner.interpolates_resources else {}
        if not access.allowed(policies, service, self.operation, resource, variables):
            raise Refusal(
                "UnauthorizedError",
                f"Principal {self.component.name} is not authorized to perform {service}:{self.operation} "
                f"on resource {resource}"
                if self.manner.plain_messages
                else "IPC Operation not authorized.",
            )

    def topic(self, name: str = "topic") -> str:
        """Return the topic; raises Refusal where it is longer than is taken."""
        topic = self.text(name)
        if self.manner.max_topic_bytes is not None and len(topic.encode()) > self.manner.max_topic_bytes:
            raise self.invalid("topic too long")
        return topic

    def one_more(self) -> None:
        """Raise Refusal where there are as many subscriptions as the nucleus holds."""
        most = self.manner.max_subscriptions
        if most is not None and self.hub.subscriptions >= most:
            raise Refusal("ServiceError", "Failed to bind subscription.")


def deliver(hub: Hub, publisher: str | None, topic: str, message: Document) -> None:
    """Hand a local message to who listens; `message` is a `jsonMessage` or a `binaryMessage`."""
    [(kind, content)] = message.items()
    event: Document = {kind: {"message": content["message"], "context": {"topic": topic}}}
    for listener in hub.local.of(topic, publisher):
        listener.send("SubscriptionResponseMessage", event)


def _publish_to_topic(call: Call) -> Document:
    topic = call.topic()
    message = call.request.get("publishMessage")
    given = {k: v for k, v in message.items() if v is not None} if isinstance(message, Mapping) else {}
    if len(given) != 1 or not set(given) <= {"jsonMessage", "binaryMessage"}:
        raise call.invalid("publishMessage has exactly one of binaryMessage and jsonMessage")
    [(kind, content)] = given.items()
    if not isinstance(content, Mapping) or "message" not in content:
        raise call.invalid(f"{kind} has a message")
    call.must_be_allowed(services.PUBSUB, topic)
    if call.manner.receive_modes and (not topic or {"+", "#", "*"} & set(topic)):
        raise call.invalid("Publish topic must not be empty or contain a wildcard.")
    raw = call.decoded(content["message"]) if kind == "binaryMessage" else json.dumps(content["message"]).encode()
    call.hub.published(call.component.name, topic, raw)
    deliver(call.hub, call.component.name, topic, {kind: dict(content)})
    return {}


def _subscribe_to_topic(call: Call) -> Document:
    topic = call.topic()
    if not topic:
        raise call.invalid("Subscribe topic must not be empty")
    call.must_be_allowed(services.PUBSUB, topic)
    call.one_more()
    mode = call.request.get("receiveMode")
    own = not is_wild(topic) if mode is None else mode == "RECEIVE_ALL_MESSAGES"
    own = own or not call.manner.receive_modes
    listener = Listener(topic, call.component.name, own, call.stream.event)
    call.stream.at_end(call.hub.local.add(listener))
    return {"topicName": topic} if call.manner.receive_modes else {}


def _get_configuration(call: Call) -> Document:
    name = call.request.get("componentName") or call.component.name
    path = call.path()
    try:
        value = call.hub.core.read(name, path)
    except KeyError:
        raise Refusal("ResourceNotFoundError", "Key not found") from None
    if not isinstance(value, Mapping):
        value = {path[-1]: value}
    return {"componentName": name, "value": value}


def _update_configuration(call: Call) -> Document:
    path, value, at = call.path(), call.request.get("valueToMerge"), call.request.get("timestamp")
    if value is None:
        raise Refusal("InvalidArgumentsError", "ValueToMerge is required")
    if not isinstance(at, int | float):
        raise Refusal("InvalidArgumentsError", "Timestamp is required")
    if ACCESS_CONTROL in (path[:1] or (value if isinstance(value, Mapping) else ())):
        text = f"Config update is not allowed for following fields [{ACCESS_CONTROL}]"
        raise Refusal("InvalidArgumentsError", text)
    try:
        call.hub.core.merge(call.component.name, path, value, at=at)
    except Refusal as refused:
        if call.manner.plain_messages:
            raise
        if refused.shape == "InvalidArgumentsError":  # the lite nucleus passes over values that come too late
            raise Refusal("ServiceError", "Failed to update the configuration.") from None
    return {}


def _subscribe_to_configuration_update(call: Call) -> Document:
    name, path = call.request.get("componentName") or call.component.name, call.path()
    if name not in call.hub.core.components:
        raise Refusal("ResourceNotFoundError", "Key not found")
    try:
        call.hub.core.read(name, path)
    except KeyError:
        raise Refusal("ResourceNotFoundError", "Key not found") from None

    call.one_more()

    def tell(key: Key) -> None:
        if key[: len(path)] == path:
            event = {"configurationUpdateEvent": {"componentName": name, "keyPath": list(key)}}
            call.stream.event("ConfigurationUpdateEvents", event)

    call.stream.at_end(call.hub.changed(name, tell))
    return {}


def _subscribe_to_validation(call: Call) -> Document:
    _listen(call, call.hub.validators)
    return {}


def _send_validity_report(call: Call) -> Document:
    report = call.request.get("configurationValidityReport")
    if not isinstance(report, dict) or not report.get("deploymentId"):
        text = "Cannot accept configuration validity report, the deployment ID provided was null"
        raise Refusal("InvalidArgumentsError", text)
    call.hub.validity(call.component.name, report)
    return {}


def _subscribe_to_updates(call: Call) -> Document:
    _listen(call, call.hub.updates)
    return {}


def _defer_update(call: Call) -> Document:
    if not call.hub.updates.get(call.component.name):
        raise Refusal("InvalidArgumentsError", "Component is not subscribed to component update events")
    if not call.request.get("deploymentId"):
        raise Refusal("InvalidArgumentsError", "Cannot defer the update, the deployment ID provided was null")
    call.hub.deferred(call.component.name, call.request)
    return {}


def _listen(call: Call, listeners: dict[str, list[Stream]]) -> None:
    mine = listeners.setdefault(call.component.name, [])
    mine.append(call.stream)
    call.stream.at_end(lambda: mine.remove(call.stream) if call.stream in mine else None)


def _update_state(call: Call) -> Document:
    state = call.text("state")
    if state not in _REPORTED_STATES:
        raise call.invalid(f"state {state!r}; expected one of {', '.join(_REPORTED_STATES)}")
    call.hub.core.report(call.component.name, state)
    return {}


def _restart_component(call: Call) -> Document:
    name = call.text("componentName")
    call.must_be_allowed(services.CLI, name)
    if name not in call.hub.core.components:
        shape = "ComponentNotFoundError" if call.manner.plain_messages else "ResourceNotFoundError"
        raise Refusal(shape, f"Component with name {name} not found")
    call.hub.core.restarts.append(name)
    return {"restartStatus": "SUCCEEDED"}


def _publish_to_iot_core(call: Call) -> Document:
    topic = call.topic("topicName")
    call.text("qos")
    call.must_be_allowed(services.MQTT_PROXY, topic)
    call.hub.to_cloud(call.component.name, topic, call.binary("payload"))
    return {}


def _subscribe_to_iot_core(call: Call) -> Document:
    topic = call.topic("topicName")
    call.text("qos")
    call.must_be_allowed(services.MQTT_PROXY, topic)
    call.one_more()
    call.stream.at_end(call.hub.cloud.add(Listener(topic, call.component.name, own=True, send=call.stream.event)))
    return {}


def _shadow_of(call: Call) -> tuple[str, str, str]:
    """Return thing, name (empty for the unnamed one) and topic of the shadow that is meant; raises Refusal."""
    thing, name = call.text("thingName"), call.request.get("shadowName") or ""
    if name and not _SHADOW_NAME.fullmatch(name):
        raise Refusal("InvalidArgumentsError", "The shadow name must match [a-zA-Z0-9:_-]{1,64}")
    topic = f"$aws/things/{thing}/shadow{'/name/' + name if name else ''}"
    call.must_be_allowed(services.SHADOWS, topic)
    return thing, name, topic


def _get_shadow(call: Call) -> Document:
    thing, name, _topic = _shadow_of(call)
    found = call.hub.core.shadows.get((thing, name))
    if found is None:
        raise Refusal("ResourceNotFoundError", "No shadow found")
    return {"payload": _encoded(found.document())}


def _update_shadow(call: Call) -> Document:
    thing, name, topic = _shadow_of(call)
    return {"payload": _encoded(update_shadow(call.hub, thing, name, topic, call.binary("payload")))}


def update_shadow(hub: Hub, thing: str, name: str, topic: str, payload: bytes) -> Document:
    """Update a shadow and tell it on its local topics, as the Shadow Manager does; raises Refusal."""
    shadow = hub.core.shadows.get((thing, name)) or Shadow()
    try:
        accepted = shadow.update(payload, hub.core.manner.max_shadow_bytes)
    except Refusal as refused:
        code = 409 if refused.shape == "ConflictError" else 400
        _tell(hub, f"{topic}/update/rejected", {"code": code, "message": refused.text})
        raise
    hub.core.shadows[thing, name] = shadow
    _tell(hub, f"{topic}/update/accepted", accepted)
    if delta := shadow.delta():
        _tell(hub, f"{topic}/update/delta", {"state": delta, "version": shadow.version})
    _tell(hub, f"{topic}/update/documents", {"current": shadow.document()})
    return accepted


def _delete_shadow(call: Call) -> Document:
    thing, name, topic = _shadow_of(call)
    gone = call.hub.core.shadows.pop((thing, name), None)
    if gone is None:
        raise Refusal("ResourceNotFoundError", "No shadow found")
    _tell(call.hub, f"{topic}/delete/accepted", {"version": gone.version})
    return {"payload": _encoded({"version": gone.version})}


def _list_shadows(call: Call) -> Document:
    thing = call.text("thingName")
    call.must_be_allowed(services.SHADOWS, f"$aws/things/{thing}/shadow")
    size, token = call.request.get("pageSize") or 25, call.request.get("nextToken") or "0"
    if not isinstance(size, int) or not 1 <= size <= _MAX_PAGE or not str(token).isdecimal():
        raise Refusal("InvalidArgumentsError", "pageSize argument is not between 1 and 100, or a bad nextToken")
    names = sorted(name for owner, name in call.hub.core.shadows if owner == thing and name)
    first, end = int(token), int(token) + size
    return {"results": names[first:end], "timestamp": 0.0, **({"nextToken": str(end)} if end < len(names) else {})}


def _tell(hub: Hub, topic: str, document: Document) -> None:
    deliver(hub, None, topic, {"binaryMessage": {"message": _encoded(document)}})


def _encoded(document: Document) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


_EVERYWHERE: dict[str, Callable[[Call], Document]] = {
    "PublishToTopic": _publish_to_topic,
    "SubscribeToTopic": _subscribe_to_topic,
    "GetConfiguration": _get_configuration,
    "UpdateConfiguration": _update_configuration,
    "SubscribeToConfigurationUpdate": _subscribe_to_configuration_update,
    "UpdateState": _update_state,
    "RestartComponent": _restart_component,
    "PublishToIoTCore": _publish_to_iot_core,
    "SubscribeToIoTCore": _subscribe_to_iot_core,
}
_SHADOWS: dict[str, Callable[[Call], Document]] = {
    "GetThingShadow": _get_shadow,
    "UpdateThingShadow": _update_shadow,
    "DeleteThingShadow": _delete_shadow,
    "ListNamedShadowsForThing": _list_shadows,
}
_VALIDATION: dict[str, Callable[[Call], Document]] = {
    "SubscribeToValidateConfigurationUpdates": _subscribe_to_validation,
    "SendConfigurationValidityReport": _send_validity_report,
    "SubscribeToComponentUpdates": _subscribe_to_updates,
    "DeferComponentUpdate": _defer_update,
}
STREAMING = frozenset(f"{NAMESPACE}{name}" for name in (*_EVERYWHERE, *_VALIDATION) if name.startswith("SubscribeTo"))
"""Operations whose stream stays open for events."""


def answer(call: Call) -> Document:
    """Carry an operation out; raises Refusal, also for one that this manner does not have."""
    served = {
        **_EVERYWHERE,
        **(_SHADOWS if call.manner.shadows else {}),
        **(_VALIDATION if call.manner.validation else {}),
    }
    function = served.get(call.operation.removeprefix(NAMESPACE))
    if function is None:
        raise Refusal("ServiceError", f"{call.operation} is not served" if call.manner.plain_messages else "")
    return function(call)
