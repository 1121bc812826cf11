"""A named shadow behind AWS IoT's reserved topics, on any bus: what a test edits there, and what is reported to it."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from lineside.bus import Bus
from lineside_bench.greengrass.ipc_server.state import Refusal, Shadow
from lineside_topic_bridge.steering.shadow.topics import prefix


class SimulatedShadow:
    """Answers get and update as AWS IoT does; make it before its bus is entered, and run it beside the test.

    `before_update` is called with each update before it is looked at, to edit in between. While `is_away` nothing is
    answered.
    """

    def __init__(self, bus: Bus, thing: str = "bench", name: str = "lineside") -> None:
        self.shadow = Shadow()
        self.exists = False
        self.is_away = False
        self.gets = 0
        self.updates: list[dict[str, Any]] = []
        """What was asked to be reported, refused updates too."""
        self.before_update: Callable[[], None] = lambda: None
        self._bus = bus
        self._prefix = prefix(thing, name)
        self._get = bus.subscribe(f"{self._prefix}/get")
        self._update = bus.subscribe(f"{self._prefix}/update")

    @property
    def reported(self) -> dict[str, Any]:
        """What is reported now."""
        return dict(self.shadow.document()["state"].get("reported", {})) if self.exists else {}

    def edit(self, desired: Any) -> dict[str, Any]:
        """Change what is desired, as the cloud does while nobody listens; return what is told to who does."""
        self.exists = True
        return self.shadow.update(json.dumps({"state": {"desired": desired}}).encode(), 30720)

    async def desire(self, desired: Any) -> None:
        """Change what is desired and tell it."""
        await self._tell(self.edit(desired))

    async def run(self) -> None:
        """Answer for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._answer_gets())
            tasks.create_task(self._answer_updates())

    async def _answer_gets(self) -> None:
        async for message in self._get:
            message.ack()
            if self.is_away:
                continue
            self.gets += 1
            token = {"clientToken": json.loads(message.payload)["clientToken"]}
            if self.exists:
                await self._say("get/accepted", self.shadow.document() | token)
            else:
                await self._say("get/rejected", {"code": 404, "message": "No shadow exists"} | token)

    async def _answer_updates(self) -> None:
        async for message in self._update:
            message.ack()
            if self.is_away:
                continue
            asked = json.loads(message.payload)
            self.updates.append(asked)
            self.before_update()
            token = {"clientToken": asked.get("clientToken")}
            try:
                accepted = self.shadow.update(message.payload, 8192)
            except Refusal as refused:
                code = 409 if refused.shape == "ConflictError" else 413
                await self._say("update/rejected", {"code": code, "message": refused.text} | token)
                continue
            self.exists = True
            await self._tell(accepted | token)

    async def _tell(self, accepted: dict[str, Any]) -> None:
        await self._say("update/accepted", accepted)
        if delta := self.shadow.delta():
            await self._say("update/delta", {"state": delta, "version": self.shadow.version})

    async def _say(self, kind: str, document: dict[str, Any]) -> None:
        await self._bus.publish(f"{self._prefix}/{kind}", json.dumps(document).encode())
