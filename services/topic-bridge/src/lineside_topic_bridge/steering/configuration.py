"""The settings as a source of wishes: `topic_bridge.steering.configuration`.

As a Greengrass component's configuration a deployment changes it while the bridge runs.
"""

import asyncio
from collections.abc import AsyncIterator

from lineside.contract import Policy
from lineside_topic_bridge.steering.wishes import Answer, Origin, Wish


class ConfigurationSource:
    """Wishes what it is given: at the start, and with each change of the settings that is applied at once.

    Settings that are no policy never come here: they are refused whole where they are read.
    """

    origin: Origin = "configuration"

    def __init__(self, policy: Policy | None) -> None:
        self._policy = policy
        self._changed = asyncio.Event()
        self._changed.set()

    def give(self, policy: Policy | None) -> None:
        """Wish another policy from now on; None: none."""
        self._policy = policy
        self._changed.set()

    async def wishes(self) -> AsyncIterator[Wish]:
        """Iterate for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            yield Wish.of("configuration", self._policy) if self._policy is not None else Wish("configuration")

    async def answer(self, answer: Answer) -> None:
        """Leave it to the report on the bus."""
