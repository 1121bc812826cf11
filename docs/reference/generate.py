"""Makes the reference pages from the code: settings, messages, metrics, errors. A test holds them against it.

Run it to write them: `.venv/bin/python docs/reference/generate.py`.
"""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel

import lineside_inference.metrics
import lineside_opcua_bridge.metrics
import lineside_topic_bridge.bridge
from lineside import contract
from lineside.bus.mqtt import MqttBus
from lineside.cli.config import installed
from lineside.cli.sample import sample
from lineside.connections import Connection
from lineside.service import Service
from lineside.settings import BusSettings
from lineside_inference.errors import RequestError

FOLDER = Path(__file__).parent
SAMPLES = FOLDER.parents[1] / "tests" / "golden" / "messages"
MADE = "<!-- Made by docs/reference/generate.py; change the code, then run it. -->\n\n"

MESSAGES: dict[str, tuple[type[BaseModel], str, str]] = {
    "Request": (contract.Request, "request-camera", "on `bus.request_topic`, and the body of `POST /v1/infer`"),
    "Result": (contract.Result, "result-ok", "on `bus.result_topic`, and the answer to both `POST` routes"),
    "Error report": (contract.ErrorReport, "error", "on `<bus.result_topic>/error`, for what could not be understood"),
    "Policy": (contract.Policy, "policy", "the operator's settings, `inference.policy`"),
}
PARTS = (contract.Context, contract.Times, contract.ModelRef, contract.Finding, contract.Timing, contract.Capture)
SOURCES = ("camera", "file", "url", "inline", "tensors")

# Codes that are not classes: of the contract, of the topic-bridge, of HTTP problems.
OTHER_CODES = {
    "not-json": "The message is not a JSON object. HTTP 400, or the error topic.",
    "schema-unsupported": "No schema, or one that this version does not read. HTTP 400, or the error topic.",
    "message-invalid": "A field is missing or wrong; the reason names each. HTTP 422, or the error topic.",
    "message-too-large": "The message is above `bus.max_message_bytes`. The error topic.",
    "inference-answer": "The inference service answered something that is no Result. The error topic.",
    "internal-error": "A fault in the topic-bridge; its log has the request's id. The error topic.",
    "overloaded": "`limits.concurrency` and `limits.queue` are full, or the service stops. HTTP 503, Retry-After.",
    "body-timeout": "The body did not arrive within `limits.body_s`. HTTP 408.",
    "body-too-large": "The body is above `limits.body_bytes` or `limits.json_bytes`. HTTP 413.",
    "encoding-unsupported": "The body has a Content-Encoding; send it plain. HTTP 415.",
    "content-type-unsupported": "The Content-Type is not one that the route takes. HTTP 415.",
}


def pages() -> dict[str, str]:
    """Return the pages by file name."""
    return {
        "settings.md": MADE + _settings(),
        "messages.md": MADE + "".join(_messages()),
        "metrics.md": MADE + "".join(_metrics()),
        "errors.md": MADE + "".join(_errors()),
    }


def _settings() -> str:
    return (
        "# Settings\n\nOne YAML file for all services of a box, named as their first argument or by `LINESIDE_CONFIG`. "
        "This is what `lineside config sample` prints: every setting with its meaning, its environment variable, its "
        f"range and its default.\n\n```yaml\n{sample(installed())}```\n"
    )


def _messages() -> Iterator[str]:
    yield "# Messages\n\nUTF-8 JSON, times in UTC (RFC 3339), unknown fields ignored (refused in a policy).\n"
    for name, (model, golden, where) in MESSAGES.items():
        yield f"\n## {name}\n\n{_sentence(model)} Seen {where}.\n\n```json\n{_golden(golden)}\n```\n\n"
        yield from _fields(model)
    yield "\n# Parts of messages\n"
    for part in PARTS:
        yield f"\n## {part.__name__}\n\n{_sentence(part)}\n\n"
        yield from _fields(part)
    yield "\n## Sources\n\nThe `source` of a request is one of:\n"
    for kind in SOURCES:
        source = json.loads(_golden(f"request-{kind}"))["source"]
        yield f"\n```json\n{json.dumps(source)}\n```\n"


def _fields(model: type[BaseModel]) -> Iterator[str]:
    yield "| field | type | meaning |\n|---|---|---|\n"
    schema = model.model_json_schema(by_alias=True)
    for field, item in schema["properties"].items():
        needed = "" if field in schema.get("required", ()) else ", optional"
        meaning = " ".join(item.get("description", "").split())
        yield f"| `{field}` | {_type(item)}{needed} | {meaning} |\n"


def _metrics() -> Iterator[str]:
    yield "# Metrics\n\nEach service serves them at `/metrics`. The names are a public contract.\n"
    for service, registry in _registries().items():
        yield f"\n## {service}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n"
        rows = {}
        for collector in set(registry._collector_to_names):  # noqa: SLF001 - no public way to the label names
            names = collector._labelnames if isinstance(collector, MetricWrapperBase) else None  # noqa: SLF001
            for family in collector.collect():
                labels = names if names is not None else (sorted(family.samples[0].labels) if family.samples else ())
                total = "_total" if family.type == "counter" else ""
                rows[family.name + total] = (family.type, ", ".join(labels), family.documentation)
        for name in sorted(rows):
            if name.startswith("lineside_"):
                kind, labels, text = rows[name]
                yield f"| `{name}` | {kind} | {labels} | {text} |\n"
    yield "\nBeside these: Python's own `python_*`.\n"


def _registries() -> dict[str, CollectorRegistry]:
    services = {name: Service(name) for name in ("inference", "topic_bridge", "opcua_bridge")}
    for name, service in services.items():
        service.connection("bus" if name != "inference" else "triton", "")
        if name != "inference":
            client = name.replace("_", "-")
            MqttBus(BusSettings(), client=client, connection=Connection("bus", ""), registry=service.registry)
    inference = services["inference"].registry
    lineside_inference.metrics.Metrics(inference, [])
    load = {"working": 0, "waiting": 0}
    arena = {"free": 0, "used": 0, "quarantined": 0}
    inference.register(lineside_inference.metrics.LoadCollector(lambda: load, lambda: arena, lambda: "shared-memory"))
    lineside_topic_bridge.bridge.Metrics(services["topic_bridge"].registry)
    lineside_opcua_bridge.metrics.Metrics(services["opcua_bridge"].registry)
    return {name: service.registry for name, service in services.items()}


def _errors() -> Iterator[str]:
    yield (
        "# Errors\n\nCodes are stable; the reason beside them is for people.\n\n## In a Result\n\n"
        "`code` where `status` is not `ok`. The verdict is then `unknown`.\n\n| code | status | when |\n|---|---|---|\n"
    )
    for error in sorted(_leaves(RequestError), key=lambda error: error.code):
        yield f"| `{error.code}` | {error.status} | {_sentence(error)} |\n"
    yield "\n## Elsewhere\n\nHTTP problems (`application/problem+json`, field `code`) and the error topic.\n\n"
    yield "| code | when |\n|---|---|\n"
    for code, text in sorted(OTHER_CODES.items()):
        yield f"| `{code}` | {text} |\n"
    yield "\nA service that cannot start because its configuration is wrong exits with status 2.\n"


def _leaves(kind: type[RequestError]) -> Iterator[type[RequestError]]:
    for error in kind.__subclasses__():
        children = list(_leaves(error))
        yield from children
        if not children:
            yield error


def _sentence(thing: Any) -> str:
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def _golden(name: str) -> str:
    return (SAMPLES / f"{name}.json").read_text(encoding="utf-8").strip()


def _type(item: dict[str, Any]) -> str:
    if "$ref" in item:
        return item["$ref"].rpartition("/")[2]
    if "const" in item:
        return f"`{item['const']}`"
    if "enum" in item:
        return " \\| ".join(f"`{value}`" for value in item["enum"])
    for several in ("anyOf", "oneOf"):
        if several in item:
            return " \\| ".join(_type(part) for part in item[several])
    if item.get("type") == "array":
        return f"list of {_type(item.get('items', {}))}"
    return str(item.get("type", "object"))


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
