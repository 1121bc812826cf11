"""The embedded MQTT broker as a process: `python -m lineside_bench.peers.amqtt_broker PORT`.

amqtt speaks MQTT 3.1.1 and keeps everything in memory: sessions outlive their clients, but not the broker. Anyone may
connect; it listens on the loopback address only.
"""

import asyncio
import logging
import signal
import sys

from amqtt.broker import Broker
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session

HOST = "127.0.0.1"


class AllowAnyone(BaseAuthPlugin):  # type: ignore[misc]  # amqtt is published without type information
    """Lets anyone in, by name or not.

    amqtt's own plugin for that marks the session as anonymous, and such a session, with the messages kept for it, is
    removed within a second of a disconnect, whatever the client asked for.
    """

    async def authenticate(self, *, session: Session) -> bool:
        """Accept."""
        del session
        return True


async def serve(port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}", "max_connections": 100}},
            "plugins": {"lineside_bench.peers.amqtt_broker.AllowAnyone": {}},
        }
    )
    await broker.start()
    await stop.wait()
    await broker.shutdown()


def main() -> None:
    """Run as a program; the port is the only argument."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("transitions").setLevel(logging.WARNING)
    asyncio.run(serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
