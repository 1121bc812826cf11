"""The alternative that the bridge's link is measured against: asyncua's own subscription, as its examples show it.

    python benchmarks/opcua_naive.py '{"endpoint": "opc.tcp://...", "uri": "...", "nodes": 2000, "queue": 100}'

What a good engineer writes in ten minutes: one subscription, one handler, and a queue on the server that is long
enough. No reconnecting, no check of sequence numbers, of qualities, of overflow bits.
"""

import asyncio
import json
import logging
import sys
from typing import Any

from asyncua import Client
from opcua_gaps import Gaps, report

PERIOD_MS = 100


class Handler:
    def __init__(self) -> None:
        self.gaps = Gaps()

    def datachange_notification(self, node: Any, value: float, _data: Any) -> None:
        self.gaps.see(node.nodeid, value)


async def main(config: dict[str, Any]) -> None:
    logging.disable(logging.CRITICAL)
    async with Client(config["endpoint"]) as client:
        index = await client.get_namespace_index(config["uri"])
        nodes = [client.get_node(f"ns={index};s=C{number}") for number in range(config["nodes"])]
        handler = Handler()
        subscription = await client.create_subscription(PERIOD_MS, handler)
        await subscription.subscribe_data_change(nodes, queuesize=config["queue"])
        await report(handler.gaps)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
