"""A cut of the link while a part without an id waits.

o6 stamps what it is asked and ends the session with its link; node-opcua stamps writes and keeps the subscriptions.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lineside_bench.checkout import find_root
from lineside_bench.plcs.environment import Stack
from lineside_bench.plcs.plc import StackPlc
from lineside_bench.plcs.station import NAMESPACE

NODE = f"nsu={NAMESPACE};s=Station1"
TRIGGER = {
    "name": "station-1",
    "when": {"kind": "edge", "node": f"{NODE}.PartPresent"},
    "station": "station-1",
    "model": "surface-defect",
    "source": {"kind": "camera", "camera": "station-1"},
    "deadline_ms": 120_000,
    "write_back": {"verdict": f"{NODE}.Verdict", "done": f"{NODE}.Done"},
}


@pytest.mark.parametrize("stack", [Stack.o6, Stack.node_opcua])
async def test_a_part_that_waits_over_a_cut_is_asked_about_once(
    stack: Stack, line_of: Any, configure: Any, proxy_to: Any, wait_until: Any, tmp_path: Path
) -> None:
    async with StackPlc(stack, root=find_root(), log=tmp_path / "plc.log") as plc:
        proxy = await proxy_to(int(plc.url.rpartition(":")[2]))
        where = SimpleNamespace(endpoint=proxy.endpoint)
        dones = plc.program.writes["Station1.Done"]
        async with line_of(configure(where, TRIGGER)) as line:
            await line.ready()
            for number in range(1, 4):
                await plc.write(("Station1.Done", False), ("Station1.PartPresent", True))
                request = await line.request(number)
                await proxy.down()
                await wait_until(lambda: not line.service.is_ready)
                await proxy.up()
                await line.ready()
                await line.answer(request, "pass")
                await wait_until(lambda before=number: sum(bool(write.value) for write in dones) == before)
                assert len(line.requests()) == number
                await plc.write(("Station1.PartPresent", False))
