"""OPC UA events as a trigger: the event filter for the server, and the sample made of an event.

The fields that every event has come first; those named in the settings follow (OPC 10000-4, 7.22.3).
"""

from collections.abc import Sequence
from datetime import datetime

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from lineside_opcua_bridge.link.subscriber import BASE_EVENT, EventField, EventSelection, base_field
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.values import instant

_COMMON = ("EventId", "EventType", "SourceName", "Time", "ReceiveTime", "Message", "Severity")
_OVERFLOW = ua.NodeId(ua.Int32(ObjectIds.EventQueueOverflowEventType))


def filter_of(selection: EventSelection) -> ua.EventFilter:
    """Return the filter: which fields of an event are sent, and of which events."""
    clauses = [_clause(field) for field in [*map(base_field, _COMMON), *selection.fields.values()]]
    severe = ua.ContentFilterElement(
        FilterOperator=ua.FilterOperator.GreaterThanOrEqual,
        FilterOperands=[
            _clause(base_field("Severity")),
            ua.LiteralOperand(Value=ua.Variant(selection.min_severity, ua.VariantType.UInt16)),
        ],
    )
    if selection.event_type == BASE_EVENT:  # every event is of it
        return ua.EventFilter(SelectClauses=clauses, WhereClause=ua.ContentFilter(Elements=[severe]))
    by_type = ua.ContentFilterElement(
        FilterOperator=ua.FilterOperator.OfType,
        FilterOperands=[ua.LiteralOperand(Value=ua.Variant(selection.event_type, ua.VariantType.NodeId))],
    )
    both = ua.ContentFilterElement(
        FilterOperator=ua.FilterOperator.And,
        FilterOperands=[ua.ElementOperand(Index=ua.UInt32(1)), ua.ElementOperand(Index=ua.UInt32(2))],
    )
    return ua.EventFilter(SelectClauses=clauses, WhereClause=ua.ContentFilter(Elements=[both, by_type, severe]))


def sample_of_event(
    selection: EventSelection, fields: Sequence[object], *, received: datetime, ticks: float
) -> Sample | None:
    """Return the event as a sample whose value is its fields by name; None for an event queue overflow."""
    common = dict(zip(_COMMON, fields, strict=False))
    if common.get("EventType") == _OVERFLOW:
        return None
    content = {name: common.get(name) for name in ("SourceName", "Message", "Severity")}
    content |= dict(zip(selection.fields, fields[len(_COMMON) :], strict=False))
    time, receive_time = common.get("Time"), common.get("ReceiveTime")
    return Sample(
        value={name: _plain(value) for name, value in content.items()},
        quality="good",
        source=instant(time) if isinstance(time, datetime) else None,
        server=instant(receive_time) if isinstance(receive_time, datetime) else None,
        received=received,
        ticks=ticks,
    )


def _plain(value: object) -> object:
    return value.Text if isinstance(value, ua.LocalizedText) else value


def _clause(field: EventField) -> ua.SimpleAttributeOperand:
    return ua.SimpleAttributeOperand(
        TypeDefinitionId=field.declared_by,
        BrowsePath=list(field.path),
        AttributeId=ua.IntegerId(AttributeIds.Value),
    )
