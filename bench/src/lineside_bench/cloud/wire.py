"""AWS' rest-json wire by botocore's model of a service: requests are taken, responses and errors made by their shapes.

A request that the model does not allow is a ValidationException (InvalidRequestException where the service has that
name); one member more than the model knows too, though AWS itself is silent there: what is misspelt should be seen.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import botocore.session
from botocore.model import OperationModel, Shape
from botocore.validate import ParamValidator

_UNMODELLED = {"UnknownOperationException": 404, "AccessDeniedException": 403}
"""Status of errors that any service answers, whether its model has them or not."""

_PYTHON: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "double": (int, float),
    "float": (int, float),
}


@dataclass(frozen=True)
class Answer:
    """What goes back: status, headers and a JSON body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Refused(Exception):
    """An error of the service's model: its name, its message, and its other members."""

    def __init__(self, error: str, message: str, **members: Any) -> None:
        super().__init__(message)
        self.error = error
        self.members = {"message": message, **members}


class Wire:
    """One service's operations on the wire."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.model = botocore.session.get_session().get_service_model(service)
        self._validator = ParamValidator()

    @cached_property
    def _routes(self) -> list[tuple[str, re.Pattern[str], OperationModel]]:
        operations = [self.model.operation_model(name) for name in self.model.operation_names]
        made = [(op.http["method"], _pattern(op.http["requestUri"].partition("?")[0]), op) for op in operations]
        # A literal path before one with a variable in its place: addThingToThingGroup is no thing group's name.
        return sorted(made, key=lambda route: route[1].pattern.count("(?P<"))

    @property
    def invalid(self) -> str:
        """The service's name for a request that is wrong."""
        known = self.model.shape_names
        return "ValidationException" if "ValidationException" in known else "InvalidRequestException"

    def find(self, method: str, raw_path: str) -> tuple[OperationModel, dict[str, str]] | None:
        """Return the operation of a path as it was sent, with what stands for the variables in it."""
        for verb, pattern, operation in self._routes:
            if verb == method and (match := pattern.fullmatch(raw_path)):
                return operation, {name: unquote(value) for name, value in match.groupdict().items()}
        return None

    def read(
        self, operation: OperationModel, path: Mapping[str, str], query: Mapping[str, str], body: bytes
    ) -> dict[str, Any]:
        """Return a request's parameters; raises Refused where they are not as the model has them."""
        shape = operation.input_shape
        if shape is None:
            return {}
        try:
            given = json.loads(body) if body else {}
        except ValueError:
            raise Refused("SerializationException", "The request's body is not JSON") from None
        if not isinstance(given, dict):
            raise Refused("SerializationException", "The request's body is no JSON object")
        params = {name: _parsed(shape.members.get(name), value) for name, value in given.items()}
        for name, member in shape.members.items():
            place, wired = member.serialization.get("location"), member.serialization.get("name", name)
            source = path if place == "uri" else query if place == "querystring" else {}
            if wired in source:
                params[name] = _from_text(member, source[wired])
        problems = self._validator.validate(params, shape).generate_report()
        found = [problems] if problems else list(_beyond(params, shape, ""))
        if found:
            raise Refused(self.invalid, " ".join(found[0].split()))
        return params

    def write(self, operation: OperationModel, values: Mapping[str, Any]) -> Answer:
        """Return the response; an assertion fails where the stand-in's answer is not as the model has it."""
        shape = operation.output_shape
        body = {} if shape is None else _made(shape, values, operation.name)
        status = int(operation.http.get("responseCode", 200))
        return Answer(status, {}, b"" if status == 204 else json.dumps(body).encode())  # noqa: PLR2004 - no content

    def refuse(self, refused: Refused) -> Answer:
        """Return an error as the service writes it."""
        known = refused.error in self.model.shape_names
        shape = self.model.shape_for(refused.error) if known else None
        status = int((shape.metadata.get("error") or {}).get("httpStatusCode", 400)) if shape is not None else 400
        headers = {"x-amzn-ErrorType": refused.error}
        body = {}
        for name, value in refused.members.items():
            member = getattr(shape, "members", {}).get(name)
            if member is not None and member.serialization.get("location") == "header":
                headers[member.serialization["name"]] = str(value)
            else:
                body[name] = value
        status = _UNMODELLED.get(refused.error, status)
        return Answer(status, headers, json.dumps(body).encode())


def _pattern(uri: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)(\+?)\}", uri)
    made = re.escape(parts[0])
    for name, greedy, after in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        made += f"(?P<{name}>{'.+' if greedy else '[^/]+'})" + re.escape(after)
    return re.compile(made)


def _from_text(shape: Shape, text: str) -> Any:
    if shape.type_name in {"integer", "long"}:
        return int(text) if re.fullmatch(r"-?\d{1,18}", text) else text
    if shape.type_name == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return text


def _parsed(shape: Any, value: Any) -> Any:
    """Return a value of the body as botocore's validator takes it: blobs as bytes."""
    if shape is None or value is None:
        return value
    if shape.type_name == "blob" and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except ValueError:
            raise Refused("SerializationException", "A blob is not base64") from None
    if shape.type_name == "structure" and isinstance(value, dict):
        return {name: _parsed(shape.members.get(name), each) for name, each in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [_parsed(shape.member, each) for each in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {name: _parsed(shape.value, each) for name, each in value.items()}
    return value


def _beyond(value: Any, shape: Any, place: str) -> Iterator[str]:
    """Yield what botocore's validator lets pass: words not in an enum, patterns, and upper bounds."""
    if shape.type_name == "structure":
        for name, each in value.items():
            yield from _beyond(each, shape.members[name], f"{place}{name}.")
    elif shape.type_name == "list":
        for index, each in enumerate(value):
            yield from _beyond(each, shape.member, f"{place}{index}.")
    elif shape.type_name == "map":
        for name, each in value.items():
            yield from _beyond(each, shape.value, f"{place}{name}.")
    else:
        yield from _beyond_plain(value, shape, place.rstrip("."))


def _beyond_plain(value: Any, shape: Any, at: str) -> Iterator[str]:
    most = shape.metadata.get("max")
    if not isinstance(value, str):
        if most is not None and isinstance(value, int) and value > most:
            yield f"Value '{value}' at '{at}' failed to satisfy constraint: at most {most}"
        return
    if shape.enum and value not in shape.enum:
        yield f"Value '{value}' at '{at}' failed to satisfy constraint: enum value set: {', '.join(shape.enum)}"
    pattern = shape.metadata.get("pattern")
    if pattern and "\\p{" not in pattern and not re.search(pattern, value):  # \\p is none of Python's
        yield f"Value '{value}' at '{at}' failed to satisfy constraint: pattern {pattern}"
    if most is not None and len(value) > most:
        yield f"Value at '{at}' failed to satisfy constraint: length at most {most}"


def _made(shape: Any, value: Any, place: str) -> Any:
    """Return a value as JSON has it; an assertion fails where the shape has no such value."""
    kind = shape.type_name
    if kind == "structure":
        unknown = set(value) - set(shape.members)
        assert not unknown, f"{place}: {unknown} not in {shape.name}"  # noqa: S101 - the stand-in's own fault
        lacking = {name for name in shape.required_members if value.get(name) is None}
        assert not lacking, f"{place}: {lacking} required by {shape.name}"  # noqa: S101 - same
        wired = {name: member.serialization.get("name", name) for name, member in shape.members.items()}
        return {
            wired[name]: _made(shape.members[name], each, f"{place}.{name}")
            for name, each in value.items()
            if each is not None
        }
    if kind == "list":
        return [_made(shape.member, each, place) for each in value]
    if kind == "map":
        return {name: _made(shape.value, each, place) for name, each in value.items()}
    if kind == "timestamp":
        assert isinstance(value, datetime), place  # noqa: S101 - same
        return value.timestamp()
    if kind == "blob":
        return base64.b64encode(value).decode()
    assert isinstance(value, _PYTHON[kind]), f"{place}: {value!r} is no {kind}"  # noqa: S101 - same
    assert not getattr(shape, "enum", None) or value in shape.enum, f"{place}: {value!r}"  # noqa: S101 - same
    return value
