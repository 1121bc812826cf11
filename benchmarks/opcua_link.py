"""The bridge's own way from the PLC to a station, in a process whose stations only count.

    python benchmarks/opcua_link.py '{"endpoint": "opc.tcp://...", "uri": "...", "nodes": 2000}'

Session, subscriptions, decoding, samples and their delivery are the bridge's; in place of its stations stands a
counter, as in the clients that it is compared with.
"""

import asyncio
import json
import logging
import sys
from typing import Any

import structlog
from opcua_gaps import Gaps, report
from opcua_settings import bridge_settings

from lineside.service import Service
from lineside_opcua_bridge.link.metrics import LinkMetrics
from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import Settings, TriggerSettings
from lineside_opcua_bridge.supervisor import PlcSupervisor


class Counter:
    """Takes the place of a station: every value of every role is counted, and every doubt."""

    def __init__(self, settings: TriggerSettings, gaps: Gaps) -> None:
        self.settings = settings
        self.name = settings.name
        self._gaps = gaps

    def attach(self, binding: Binding, *, continuous: bool) -> None: ...

    def detach(self) -> None: ...

    def set_notification_delay(self, _seconds: float) -> None: ...

    def mark_gap(self, _role: str | None = None) -> None:
        self._gaps.gaps += 1

    def receive(self, _binding: Binding, role: str, sample: Sample) -> None:
        self._gaps.see((self.name, role), sample.value)


async def main(config: dict[str, Any]) -> None:
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    section = bridge_settings(config["endpoint"], config["uri"], nodes=config["nodes"], rate_hz=config["rate_hz"])
    settings = Settings.model_validate({"opcua_bridge": section})
    gaps = Gaps()
    service = Service("opcua-bridge")
    stations = [
        (Counter(trigger, gaps), service.connection(trigger.name, trigger.name))
        for trigger in settings.opcua_bridge.triggers
    ]
    plc = PlcSupervisor(
        settings.opcua_bridge,
        settings.thing,
        service.connection("opcua", config["endpoint"]),
        stations,
        metrics=LinkMetrics(service.registry),
        fail=sys.exit,
    )
    living = asyncio.create_task(plc.run(), name="opcua")
    await report(gaps)
    living.cancel()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
