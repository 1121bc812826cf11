"""Where the verdict goes: the only nodes that are ever written, and the PLC's own codes for what is written."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lineside.contract import Verdict
from lineside.settings import Section
from lineside_opcua_bridge.settings.triggers import MAX_MS
from lineside_opcua_bridge.tags import NodeText, WholeNodeText

Code = Annotated[int, Field(ge=-(2**63), lt=2**64)]
PlcValue = Annotated[bool | Code | str, Field(union_mode="smart")]


class WriteBackSettings(Section):
    """The nodes that a verdict is written to, and the only nodes that are ever written."""

    verdict: NodeText = Field(description="String: pass, fail or unknown; an integer or Boolean with `values`.")
    values: dict[Verdict, PlcValue] = Field(
        default_factory=dict, description="What the PLC calls pass, fail and unknown; all three or none."
    )
    code: NodeText | None = Field(
        None,
        description="String or integer: why; ok, deadline, late, bus, overrun, missed, paused, window-gap and its "
        "like, message-too-large, or the code of the result or error report.",
    )
    codes: dict[str, Code] = Field(
        default_factory=dict,
        description="The PLC's number for each code; `default` for all others. Needed where code is an integer.",
    )
    confidence: NodeText | None = Field(None, description="Double or Float, 0 to 1; 0 with unknown.")
    findings: NodeText | None = Field(None, description="Integer: how many findings; 0 with unknown.")
    request_id: NodeText | None = Field(None, description="String: the id of the request that was answered.")
    part_id: NodeText | None = Field(
        None,
        description="String or integer: the part that the verdict is about, as sample.part_id gave it; for the PLC to "
        "compare, and needed where several parts may wait.",
    )
    done: NodeText = Field(description="Boolean: raised last, once the verdict is written.")
    clear_done: Literal["plc", "bridge"] = Field(
        "plc",
        description="Who lowers done: the PLC, or the bridge once the PLC has lowered its request.",
    )
    owner: WholeNodeText | None = Field(
        None,
        description="String of this station's own that the bridge keeps changing while it writes there: of several "
        "bridges only one does, and another takes its place within seconds of its end.",
    )
    request: NodeText | None = Field(
        None,
        description="Boolean that the PLC raises with its request and lowers once it has taken the verdict; the "
        "trigger's own node where that is the rising edge of a Boolean.",
    )

    @model_validator(mode="after")
    def _whole_mappings(self) -> Self:
        if self.values and (missing := {"pass", "fail", "unknown"} - set(self.values)):
            raise ValueError(f"values lacks {', '.join(sorted(missing))}: the PLC needs one for every verdict")
        if self.values and len({repr(value) for value in self.values.values()}) < len(self.values):
            raise ValueError("values gives two verdicts the same value: the PLC could not tell them apart")
        if len({type(value) for value in self.values.values()}) > 1:
            raise ValueError("values mixes types: all three must be text, whole numbers, or true and false")
        if self.codes and "default" not in self.codes:
            raise ValueError("codes lacks `default`, which is written for every code that is not listed")
        if self.codes and self.code is None:
            raise ValueError("codes is given and code is not: there is no node to write them to")
        return self

    def nodes(self) -> dict[str, str]:
        """Return the nodes that are written, by what is written to them."""
        given = {
            "verdict": self.verdict,
            "code": self.code,
            "confidence": self.confidence,
            "findings": self.findings,
            "request_id": self.request_id,
            "part_id": self.part_id,
            "done": self.done,
            "owner": self.owner,
        }
        return {name: node for name, node in given.items() if node is not None}


class HeartbeatSettings(Section):
    """A node that changes while the bridge lives, so that the PLC can tell a quiet line from a dead bridge."""

    node: WholeNodeText = Field(description="Boolean that is toggled, or an integer that counts up and wraps.")
    every_ms: float = Field(1000.0, ge=50, le=MAX_MS, description="Milliseconds from one beat to the next.")
