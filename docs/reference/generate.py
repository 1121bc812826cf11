"""Makes the reference pages from the code: settings, messages, metrics, errors, the card. A test holds them against it.

Run it to write them: `.venv/bin/python docs/reference/generate.py`.
"""

import inspect
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel

import lineside_deployer.metrics
import lineside_exporter.__main__
import lineside_exporter.cloudwatch.metrics
import lineside_forwarder.metrics
import lineside_opcua_bridge.collector.collector
import lineside_opcua_bridge.link.metrics
import lineside_opcua_bridge.metrics
import lineside_opcua_bridge.outcome_publisher
import lineside_opcua_bridge.security
import lineside_topic_bridge.bridge
import lineside_topic_bridge.outcomes
import lineside_topic_bridge.reporting
import lineside_topic_bridge.steering.desk
from lineside import contract, heartbeats
from lineside.bus.faults import MessageFaults
from lineside.bus.mqtt import MqttBus
from lineside.cli.config import installed
from lineside.cli.sample import sample
from lineside.connections import Connection
from lineside.service import Service
from lineside.settings import BusSettings
from lineside_exporter.device.figures import Figures, Gpu
from lineside_exporter.device.figures import families as device
from lineside_exporter.settings import Settings as ExporterProcess
from lineside_exporter.sources import containers, drift, host, triton
from lineside_fleet import rollout_file
from lineside_fleet.approval import settings as approval_settings
from lineside_fleet.gate.settings import GateSettings
from lineside_inference.__main__ import build
from lineside_inference.agent.calls import FACE as AGENT
from lineside_inference.agent.datatypes import OURS, word
from lineside_inference.errors import RequestError
from lineside_inference.imaging.pixel_formats import table
from lineside_inference.models import card, heads
from lineside_inference.models.head import CardHead
from lineside_inference.rpc.answering import Counts
from lineside_inference.rpc.status_codes import CODES
from lineside_inference.settings import Settings as InferenceProcess
from lineside_opcua_bridge.settings.access import AccessSettings
from lineside_topic_bridge.inference import InferenceLink

FOLDER = Path(__file__).parent
SAMPLES = FOLDER.parents[1] / "tests" / "golden" / "messages"
MADE = "<!-- Made by docs/reference/generate.py; change the code, then run it. -->\n\n"

MESSAGES: dict[str, tuple[type[BaseModel], str, str]] = {
    "Request": (contract.Request, "request-camera", "on `bus.request_topic`, and the body of `POST /v1/infer`"),
    "Result": (contract.Result, "result-ok", "on `bus.result_topic`, and the answer to both `POST` routes"),
    "Outcome": (contract.Outcome, "outcome", "on `bus.outcome_topic`, and the body of `POST /v1/outcomes`"),
    "Service status": (contract.ServiceStatus, "status", "on `lineside/<thing>/status`, and of `POST /v1/status`"),
    "Error report": (contract.ErrorReport, "error", "on `<bus.result_topic>/error`, for what could not be understood"),
    "Policy": (contract.Policy, "policy", "the operator's settings, `inference.policy`"),
    "Heartbeat": (heartbeats.Heartbeat, "heartbeat", "retained on `lineside/<thing>/heartbeat`"),
}
PARTS = (
    contract.Context,
    contract.Times,
    contract.ModelRef,
    contract.Finding,
    contract.Timing,
    contract.LinkState,
    contract.PolicyStanding,
    contract.Capture,
    heartbeats.Metric,
    heartbeats.ModelState,
    heartbeats.DeploymentReport,
    heartbeats.DeploymentModel,
)
CARD_PARTS = {"Input": card.CardInput, "Image": card.ImagePreparation, "File": card.CardFile}
CARD_HEADS = (
    heads.Classification,
    heads.Score,
    heads.Detection,
    heads.Segmentation,
    heads.Anomaly,
    heads.Raw,
)
ROLLOUT_PARTS = {
    "A component": rollout_file.ComponentWanted,
    "A stage": rollout_file.Stage,
    "failures": rollout_file.FailureSettings,
    "job": rollout_file.JobSettings,
    "gate": GateSettings,
}
APPROVAL_PARTS = {
    "A group of the Model Registry": approval_settings.GroupSettings,
    "sign": approval_settings.SigningSettings,
}
SOURCES = ("camera", "file", "url", "inline", "tensors")

# Codes that are not classes: of the contract, of the topic-bridge, of HTTP problems.
OTHER_CODES = {
    "not-json": "The message is not a JSON object. HTTP 400, or the error topic.",
    "schema-unsupported": "No schema, or one that this version does not read. HTTP 400, or the error topic.",
    "message-invalid": "A field is missing or wrong; the reason names each. HTTP 422, or the error topic.",
    "message-too-large": "The message is above `bus.max_message_bytes`. The error topic.",
    "broker-away": "The request could not go out to the broker in time. The PLC's code.",
    "inference-away": "The inference service does not answer in time; the request waits on. The error topic.",
    "inference-answer": "The inference service answered something that is no Result. The error topic.",
    "internal-error": "A fault in the topic-bridge; its log has the request's id. The error topic.",
    "overloaded": "`limits.concurrency` and `limits.queue` are full. HTTP 429, Retry-After.",
    "stopping": "The service is being stopped. HTTP 503, Retry-After.",
    "token-missing": "No bearer token was sent, and `http.token_file` names some. HTTP 401.",
    "token-unknown": "The bearer token is none of those in `http.token_file`. HTTP 401.",
    "host-not-allowed": "The Host header is no name of this service; see `http.allowed_hosts`. HTTP 403.",
    "origin-foreign": "A web page from elsewhere asked. HTTP 403.",
    "parameter-unknown": "The route does not take this query parameter; `detail` says which it takes. HTTP 422.",
    "part-unknown": "The part is not among those that are kept, or not in the history (any more). HTTP 404.",
    "image-unknown": "No image of the part is kept, or none that can be shown. HTTP 404.",
    "history-off": "No history is kept: `inference.history.folder` is not set. HTTP 404.",
    "history-busy": "Several queries of the history wait already. HTTP 429, Retry-After.",
    "history-slow": "The disk is too slow for one step of a query of the history. HTTP 503, Retry-After.",
    "history-unreadable": "The history's folder cannot be read; `detail` says why. HTTP 503.",
    "watchers-full": "`page.watchers` pages follow the line already. HTTP 503, Retry-After.",
    "capture-exists": "A capture of this id was taken before, and stays as it is. HTTP 409.",
    "capture-unknown": "No capture of this id is known here (any more). HTTP 404.",
    "capture-in-future": "The capture's `inference_timestamp` is more than 5 s ahead of this box's clock. HTTP 422.",
    "capture-queue-full": "`capture.queue` captures are on their way to the disk. HTTP 429, Retry-After.",
    "capture-buffer-full": "With `edge_manager.strict`: CaptureDataBufferSize captures wait. HTTP 429, Retry-After.",
    "destination-away": "With `edge_manager.strict`: destination Cloud cannot be reached. HTTP 503, Retry-After.",
    "evidence-not-kept": "`spool.folder` is not set, or the spool cannot be opened. HTTP 503.",
    "spool-full": "The spool's bound or its disk has no room for the capture. HTTP 429, Retry-After.",
    "spool-unusable": "The spool's folder or disk fails; nothing was kept. HTTP 503, Retry-After.",
    "path-unknown": "There is no such path. HTTP 404.",
    "model-not-ready": "The model cannot be asked by `/v2` now: unknown, not loaded, or its load failed. HTTP 400.",
    "method-not-allowed": "The path does not take this method. HTTP 405.",
    "model-change-under-way": "The model is being changed already; one change at a time. HTTP 409, Retry-After.",
    "model-candidate-failed": "A version failed, the one before stays in force. HTTP 422; 503: Triton is away.",
    "policy-invalid": "The policy is wrong; `errors` has every fault, and nothing was changed. HTTP 422.",
    "policy-changed": "The policy in force is another one than If-Match names. HTTP 412.",
    "state-not-kept": "The policy cannot be written to `state_dir`; nothing was changed. HTTP 503.",
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
        "card.md": MADE + "".join(_card()),
        "agent.md": MADE + "".join(_agent()),
        "rollout.md": MADE + "".join(_rollout()),
        "pixel-formats.md": MADE + "".join(_pixel_formats()),
    }


def _settings() -> str:
    return (
        "# Settings\n\nOne YAML file for all services of a box, named as their first argument or by `LINESIDE_CONFIG`. "
        "The environment wins over it; so does, below the environment, the configuration of a Greengrass component "
        "([how](../how-to/configure-a-component.md)). "
        "This is what `lineside config sample` prints: every setting with its meaning, its environment variable, its "
        f"range and its default.\n\n```yaml\n{sample(installed())}```\n"
    )


def _messages() -> Iterator[str]:
    yield "# Messages\n\nUTF-8 JSON, times in UTC (RFC 3339; in a heartbeat seconds since 1970), unknown fields "
    yield "ignored (refused in a policy).\n"
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


def _parts(parts: Mapping[str, Any]) -> Iterator[str]:
    for title, part in parts.items():
        yield f"\n## {title}\n\n{_sentence(part)}\n\n"
        yield from _fields(part)


def _card() -> Iterator[str]:
    yield f"# The model card\n\n`card.yaml` in the model's folder. {_sentence(card.Card)} "
    yield "Unknown fields are refused.\n\n"
    yield from _fields(card.Card)
    yield from _parts(CARD_PARTS)
    yield "\n## Output\n\nEvery head has these fields:\n\n"
    yield from _fields(CardHead)
    common = set(CardHead.model_fields)
    for head in CARD_HEADS:
        name = head.model_json_schema()["properties"]["head"]["const"]
        yield f"\n### head: {name}\n\n{_sentence(head)}\n\n"
        if set(head.model_fields) - common - {"head"}:
            yield from _fields(head, leave_out=common | {"head"})
    yield f"\n### Band\n\n{_sentence(heads.Band)}\n\n"
    yield from _fields(heads.Band)


def _rollout() -> Iterator[str]:
    yield f"# The rollout file\n\n{_sentence(rollout_file.Rollout)} "
    yield "What `lineside fleet` carries out ([how](../how-to/roll-out-to-a-fleet.md)). Unknown fields are refused.\n\n"
    yield from _fields(rollout_file.Rollout)
    yield from _parts(ROLLOUT_PARTS)
    yield "\n# The approvals file\n\nWhat `lineside fleet on-approval` does with approved models "
    yield "([how](../how-to/roll-out-approved-models.md)). Paths are from its folder.\n\n"
    yield from _fields(approval_settings.ApprovalSettings)
    yield from _parts(APPROVAL_PARTS)


def _fields(model: type[BaseModel], leave_out: Collection[str] = ()) -> Iterator[str]:
    yield "| field | type | meaning |\n|---|---|---|\n"
    schema = model.model_json_schema(by_alias=True)
    for field, item in schema["properties"].items():
        if field in leave_out:
            continue
        needed = "" if field in schema.get("required", ()) else ", optional"
        if issubclass(model, heads.CardPart) and item.get("default") not in (None, [], {}):
            needed = f", default `{item['default']}`"
        meaning = " ".join(item.get("description", "").split())
        yield f"| `{field}` | {_type(item)}{needed} | {meaning} |\n"


def _metrics() -> Iterator[str]:
    yield "# Metrics\n\nEach service serves them at `/metrics`, and the exporter all of them together, each with the "
    yield "label `service`. The names are a public contract.\n"
    for service, registry in _registries().items():
        rows = {}
        for collector in set(registry._collector_to_names):  # noqa: SLF001 - no public way to the label names
            names = collector._labelnames if isinstance(collector, MetricWrapperBase) else None  # noqa: SLF001
            for family in collector.collect():
                rows |= _row(family, names)
        yield from _table(service, rows)
    yield "\nBeside these: Python's own `python_*`.\n\n# Metrics of the box\n\nWhat the exporter reads by itself; "
    yield "without the label `service`. `gpu` is there on a machine whose GPUs are counted.\n"
    for source, families in _box().items():
        yield from _table(source, {name: row for family in families for name, row in _row(family).items()})
    yield '\nBeside these Triton\'s own `nv_*`, with `service="triton"`.\n'


def _row(family: Metric, names: Collection[str] | None = None) -> dict[str, tuple[str, str, str]]:
    known = family.samples[0].labels if family.samples else getattr(family, "_labelnames", ())
    labels = names if names is not None else sorted(known)
    ending = {"counter": "_total", "info": "_info"}.get(family.type, "")
    return {family.name + ending: (family.type, ", ".join(labels), family.documentation)}


def _table(title: str, rows: dict[str, tuple[str, str, str]]) -> Iterator[str]:
    yield f"\n## {title}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n"
    for name in sorted(rows):
        if name.startswith("lineside_"):
            kind, labels, text = rows[name]
            yield f"| `{name}` | {kind} | {labels} | {text} |\n"


def _box() -> dict[str, list[Metric]]:
    """Return what the sources say that are no service's."""
    one = {"x": 1.0}
    gpu = Gpu(0, 1.0, 1, 1, temperatures=one, power=one, throttled={"x": True}, throttle_events={"x": 1})
    return {
        "triton": triton.families([], {"model_stats": []}),
        "device": list(device(Figures((gpu,), memory_controller_load=1.0, about={"model": "x", "release": "x"}))),
        "host": [*host.families(None, (0, 0)), *host.disks([])],
        "containers": containers.families([]),
        "drift": drift.families("model", []),
    }


def _registries() -> dict[str, CollectorRegistry]:
    names = ("inference", "topic_bridge", "opcua_bridge", "forwarder", "exporter", "deployer")
    services = {name: Service(name) for name in names}
    for name, service in services.items():
        if name in {"topic_bridge", "opcua_bridge", "exporter", "deployer"}:
            service.connection("bus", "")
            client = name.replace("_", "-")
            bus = MqttBus(BusSettings(), client=client, connection=Connection("bus", ""), registry=service.registry)
            if name == "opcua_bridge":
                lineside_opcua_bridge.outcome_publisher.OutcomePublisher(bus, "", service.registry)
            if name == "deployer":
                lineside_deployer.metrics.Metrics(service.registry)
                continue
            faults = MessageFaults(name, service.registry)
            if name == "topic_bridge":
                link = InferenceLink(httpx.AsyncClient(), Connection("inference", ""))
                lineside_topic_bridge.outcomes.OutcomeCarrier(
                    outcomes=bus.subscribe(""), inference=link, faults=faults, max_bytes=0, registry=service.registry
                )
    section = {
        "model_repository": FOLDER.parents[1] / "models",
        "triton": {"shared_memory": "off", "pid_file": "triton.pid"},
        "cameras": {"camera": {"url": "http://camera/"}},
        "tensorrt": {"folder": "plans"},
        "history": {"folder": "history"},
    }
    build(InferenceProcess.model_validate({"inference": section}), services["inference"])
    Counts(services["inference"].registry, *AGENT)
    lineside_topic_bridge.bridge.Metrics(services["topic_bridge"].registry)
    lineside_topic_bridge.steering.desk.policy_counter(services["topic_bridge"].registry)
    lineside_topic_bridge.reporting.foreign_counter(services["topic_bridge"].registry)
    lineside_opcua_bridge.metrics.Metrics(services["opcua_bridge"].registry)
    lineside_opcua_bridge.link.metrics.LinkMetrics(services["opcua_bridge"].registry)
    lineside_opcua_bridge.collector.collector.CollectorMetrics(services["opcua_bridge"].registry)
    lineside_opcua_bridge.security.register_metrics(services["opcua_bridge"].registry, AccessSettings())
    lineside_exporter.__main__.build(ExporterProcess(), services["exporter"])
    lineside_exporter.cloudwatch.metrics.Metrics(services["exporter"].registry, waiting=lambda: 0, series=lambda: 0)
    lineside_forwarder.metrics.Metrics(services["forwarder"].registry)
    services["forwarder"].registry.register(lineside_forwarder.metrics.SpoolCollector(lambda: 0))
    services["forwarder"].connection("spool", "")
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


def _agent() -> Iterator[str]:
    yield (
        "# The agent's calls\n\nThe gRPC service `AWS.SageMaker.Edge.Agent` on `edge_manager.UnixSocketName` "
        "([what it is](../explanation/edge-manager-agent.md)). Its messages are those of "
        "`src/lineside/edge_manager/protocol/agent.proto`. `lineside edge-manager` makes each of them from a shell "
        "([how](../how-to/ask-the-agent.md)).\n\n## Status codes\n\n"
        "The words of a status begin with the error's own code. `UNKNOWN` is never answered; `INTERNAL` is what none "
        "of these is, `RESOURCE_EXHAUSTED` also a message above `edge_manager.max_message_bytes`.\n\n"
        "| gRPC status | code | when |\n|---|---|---|\n"
    )
    for kinds, status in CODES:
        for error in sorted(kinds, key=lambda error: error.code):
            yield f"| {status.name} | `{error.code}` | {_sentence(error)} |\n"
    yield (
        "\n## Datatypes\n\n"
        "Little-endian, in row-major order. What the protocol has not goes as the one with as many bytes, bit for bit; "
        "a BOOL is a byte 0 or 1. BYTES go as UINT8: each element is its length in four bytes and then its bytes. "
        "Their shape in an answer is the number of all these bytes; in a request that, or the shape of the elements. "
        "A batch is described as 1, another dimension of any length as -1.\n\n"
        "| in Triton | in the protocol |\n|---|---|\n"
    )
    for theirs, ours in OURS.items():
        yield f"| {theirs} | {word(ours)} |\n"


def _pixel_formats() -> Iterator[str]:
    yield (
        "# Pixel formats\n\nRaw pixels have no header: whoever gives them says format, width, height and, where rows "
        "are padded, the stride in bytes. In a content type (inline, `predict`, a file) that is\n\n"
        "```text\napplication/x-pfnc; format=BayerRG8; width=2448; height=2048; stride=2448\n```\n\n"
        "and for the files of a `directory` camera its setting `raw` ([how](../how-to/connect-a-camera.md)). The "
        "names are those of GenICam's Pixel Format Naming Convention, in any case; `Packed` is GigE Vision 1.x.\n\n"
        "| format | code | significant bits | a row of `w` pixels | width | height |\n|---|---|---|---|---|---|\n"
    )
    for each in table.FORMATS:
        sides = (
            f"a multiple of {step}"
            if step > 1 and each.least == 1
            else f"a multiple of {step}, from {each.least}"
            if step > 1
            else "any"
            for step in (each.width_step, each.height_step)
        )
        taken = each.row_bytes(8) / 8
        row = "`w` bytes" if taken == 1 else f"`w` * {taken:g} bytes"
        yield f"| `{each.name}` | `0x{each.code:08X}` | {each.bits} | {row} | {' | '.join(sides)} |\n"
    yield (
        "\n- Values of more than 8 bits lie in little-endian words, in their low bits; `p` and `Packed` have no gaps "
        "inside a row, and each row begins with a whole byte. A word above its significant bits is refused.\n"
        "- The eight highest of the significant bits count. `Mono16` has 16, or as many as `significant_bits` of the "
        "camera or the card says; another number than a format's own is refused.\n"
        "- A mosaic's letters are the first two pixels of its first row. It is interpolated bilinearly, after its "
        "values were made 8 bits.\n"
        "- YUV is of the full range: black has Y 0, white 255; U and V are 128 where there is no colour.\n"
        "- The buffer has `stride` * height bytes; the padding of the last row may be missing. With fewer it is "
        "`image-truncated`; with more, an unknown format or another size `image-undecodable`; above `limits.pixels` "
        "`image-too-large`, before anything is allocated.\n"
    )


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
