"""Builds the request for a trigger: what was sampled, four timestamps, the deadline; within the bus's size limit."""

from lineside.contract import Context, Request, Source, Times, to_json, utc_now
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.values import Tags


def request_of(
    settings: TriggerSettings,
    source: Source,
    sample: Sample,
    tags: Tags,
    *,
    margin_ms: float,
    limit: int,
    bridge: str,
    recovered: bool = False,
) -> tuple[Request, bytes]:
    """Return a new request for a trigger's value and its JSON; `deadline_ms` counts from `sample.received`.

    The deadline is the PLC's less the margin, so that an answer arrives before `unknown` is written. Tags that would
    make the request larger than `limit` bytes are left out, and named in `tags.left_out`; the caller must check whether
    it is small enough then. `context.bridge` is the run of the bridge that asks; `context.recovered` marks a part that
    was found after its trigger was missed.
    """
    about = {"station": settings.station, "part_id": tags.part_id, "tags": tags.tags, "bridge": bridge}
    request = Request.new(
        model=settings.model,
        source=source,
        context=Context.model_validate(about | ({"recovered": True} if recovered else {})),
        time=Times(source=sample.source, server=sample.server, received=sample.received, published=utc_now()),
        deadline_ms=round(settings.deadline_ms - margin_ms, 1),
    )
    payload = to_json(request)
    if len(payload) > limit and tags.tags:
        tags.left_out |= dict.fromkeys(tags.tags, "message_size")
        tags.tags = {}
        request = request.model_copy(update={"context": request.context.model_copy(update={"tags": {}})})
        payload = to_json(request)
    return request, payload
