"""What the SDK's errors mean, in the operator's words: which operation, on what, and what to add to the recipe."""

import json
from collections.abc import Mapping
from typing import Any

from lineside.greengrass.component import Component
from lineside.greengrass.errors import Conflict, ConnectionEnded, GreengrassError, NotFound, Refused, Unauthorized
from lineside.greengrass.services import OPERATIONS, PUBSUB, SHADOWS

_KINDS: dict[str, type[GreengrassError]] = {
    "UnauthorizedError": Unauthorized,
    "ResourceNotFoundError": NotFound,
    "ComponentNotFoundError": NotFound,
    "ConflictError": Conflict,
    "FailedUpdateConditionCheckError": Conflict,
    "ConnectionClosedError": ConnectionEnded,
    "StreamClosedError": ConnectionEnded,
    "AwsCrtError": ConnectionEnded,
}
_TOPICS = ("topic", "topic_name")


def named(error: BaseException, component: str, operation: str, fields: Mapping[str, Any]) -> GreengrassError:
    """Return an error of the SDK as one of ours; `fields` are the request's, as the SDK names them.

    The lite nucleus puts its text where the SDK does not look: the kind is then all that there is to say.
    """
    name = type(error).__name__
    kind = _KINDS.get(name, Refused)
    about = _about(fields)
    if kind is ConnectionEnded:
        return ConnectionEnded(
            f"{operation}{about} was not answered: the connection to the Greengrass nucleus ended ({name})",
            remedy="this process ends, and the nucleus starts it with a fresh token",
        )
    if kind is Unauthorized:
        what = f"{component} may not use {operation}{about}"
        return Unauthorized(what, remedy=recipe_lines(component, operation, fields))
    said = " ".join(str(getattr(error, "message", None) or error).split())
    return kind(f"the Greengrass nucleus answers {operation}{about} with {name}{': ' + said if said else ''}")


def why_not_connected(error: BaseException, component: Component, within_s: float) -> str:
    """Return what a failed attempt to connect means."""
    if isinstance(error, TimeoutError):
        return f"it did not answer within {within_s:g} s"
    if not component.socket.exists():
        return f"there is no socket {component.socket}; a container needs its folder mounted, at the same path"
    text = " ".join(str(error).split()) or type(error).__name__
    if type(error).__name__ == "AccessDeniedError" or "SOCKET_CLOSED" in text:
        return (
            f"it refuses the token of {component.name}, which is of another run of the nucleus, or it has no place "
            "for one more client"
        )
    return text


def recipe_lines(component: str, operation: str, fields: Mapping[str, Any]) -> str:
    """Return what to add to the component's recipe so that it may do this."""
    resource = next((fields[name] for name in (*_TOPICS, "component_name") if fields.get(name)), "*")
    needed = f"aws.greengrass#{operation}"
    service = next((service for service, operations in OPERATIONS.items() if needed in operations), PUBSUB)
    if service == SHADOWS:
        name = fields.get("shadow_name")
        resource = f"$aws/things/{fields.get('thing_name')}/shadow{'/name/' + name if name else ''}"
    policy = {"operations": [needed], "resources": [resource]}
    return (
        "add to accessControl in the recipe's ComponentConfiguration, and reset /accessControl in the deployment: "
        + json.dumps({service: {f"{component}:{operation}:1": policy}})
    )


def _about(fields: Mapping[str, Any]) -> str:
    """Return what a request is about."""
    for name in (*_TOPICS, "shadow_name", "key_path", "component_name"):
        if value := fields.get(name):
            return f" on {'/'.join(value)!r}" if isinstance(value, list | tuple) else f" on {value!r}"
    return ""
