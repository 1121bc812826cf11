"""`lineside greengrass cloud`: the stand-in with a sample fleet, until somebody ends it."""

import contextlib
import signal
import sys
import threading
from datetime import UTC, datetime, timedelta

from lineside_bench.cloud.sample import Sizes, make_world
from lineside_bench.cloud.server import Cloud, Server
from lineside_bench.cloud.world import REGION


def serve(*, devices: int, minute_s: float, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C; the first lines on stdout are what a shell has to take in."""
    world = make_world(Sizes(devices=devices))
    world.start = datetime.now(UTC) - timedelta(minutes=world.now)
    cloud = Cloud(world)
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    with Server(cloud, port) as server:
        sys.stdout.write(environment(server.url))
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            while not over.wait(minute_s or None):
                with cloud.lock:
                    cloud.world.tick()


def environment(url: str) -> str:
    """Return the lines that point AWS' clients at a stand-in."""
    values = {
        "AWS_ENDPOINT_URL_GREENGRASSV2": url,
        "AWS_ENDPOINT_URL_IOT": url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "stand-in",
        "AWS_SECRET_ACCESS_KEY": "stand-in",
    }
    return "".join(f"export {name}={value}\n" for name, value in values.items())
