"""Which operation a component may use on which resource, by the `accessControl` of its configuration.

`accessControl` is `{service: {policy id: {operations: [..], resources: [..]}}}`. In a resource `*` stands for any
text, `${x}` for the literal x (nucleus 2.6 and newer). For local topics `+` and `#` are literals; for those of AWS IoT
Core they are MQTT's wildcards.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lineside.greengrass.services import MQTT_PROXY

_PIECE = re.compile(r"\$\{(.*?)\}|\*")


def allowed(
    access_control: object, service: str, operation: str, resource: str, variables: Mapping[str, str] | None = None
) -> bool:
    """Return whether a component's policies allow an operation, such as `aws.greengrass#PublishToTopic`, on a resource.

    `variables` are recipe variables that are replaced in the policies' resources. What is no policy allows nothing.
    """
    for operations, resources in _policies(access_control, service):
        if ("*" in operations or operation in operations) and any(
            matches(_replaced(pattern, variables or {}), resource, wildcards=service == MQTT_PROXY)
            for pattern in resources
        ):
            return True
    return False


def matches(pattern: str, resource: str, *, wildcards: bool = False) -> bool:
    """Return whether a policy's resource covers this one; `wildcards`: MQTT's ones are wildcards too."""
    made, at = "", 0
    for piece in _PIECE.finditer(pattern):
        made += _literal(pattern[at : piece.start()], wildcards=wildcards)
        made += ".*" if piece[1] is None else re.escape(piece[1])
        at = piece.end()
    made += _literal(pattern[at:], wildcards=wildcards)
    return re.fullmatch(made, resource, re.DOTALL) is not None


def _replaced(pattern: str, variables: Mapping[str, str]) -> str:
    for name, value in variables.items():
        pattern = pattern.replace(name, value)
    return pattern


def _literal(text: str, *, wildcards: bool) -> str:
    escaped = re.escape(text)
    if not wildcards:
        return escaped
    return escaped.replace(r"\+", "[^/]+").replace(r"/\#", "(/.*)?").replace(r"\#", ".*")


def _policies(access_control: object, service: str) -> Iterator[tuple[list[str], list[str]]]:
    policies = access_control.get(service) if isinstance(access_control, Mapping) else None
    for policy in policies.values() if isinstance(policies, Mapping) else ():
        if isinstance(policy, Mapping):
            yield _texts(policy.get("operations")), _texts(policy.get("resources"))


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
