"""The processes of the OPC UA comparison: servers that count up, clients that count gaps, each of them alike.

A peer talks lines of JSON over its stdin and stdout. The process under test gets one core where there are two;
everything else of ours stays off that core.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Protocol

HERE = Path(__file__).parent
ROOT = HERE.parent
NODE_PACKAGES = ROOT / "bench" / "node_opcua"
"""Where `npm ci` has installed node-opcua."""
LOAD_URI = "urn:lineside:load"
NODE_URI = "urn:lineside:node"
HOST = "127.0.0.1"
QUEUE = 100
"""Values a tag that the alternatives have the server keep: ten seconds at 10 Hz."""
PATIENCE_S = 30.0
_SCHED_CLOCK = 2


def tested_core() -> int | None:
    """Return the core of what is tested; None where there is no second one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[-1] if len(allowed) > 1 else None


@contextmanager
def beside() -> Iterator[None]:
    """Start processes that stay off the core of what is tested."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, (allowed - {tested_core()}) or allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def give_core(pid: int) -> None:
    """Let a process that has started run on the core of what is tested, with all its threads, and nowhere else."""
    core = tested_core()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        if core is not None:
            with suppress(ProcessLookupError):  # a thread that has just ended
                os.sched_setaffinity(int(thread.name), {core})


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, all its threads together, to the nanosecond.

    It is the clock that clock_getcpuclockid(3) names; /proc/<pid>/stat has the same in hundredths of a second.
    """
    return time.clock_gettime(~pid << 3 | _SCHED_CLOCK)


class Peer:
    """A process that answers each line of JSON by one; what it says beside that is passed over."""

    def __init__(self, argv: Sequence[str], *, tested: bool) -> None:
        with nullcontext() if tested else beside():
            self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE)
        self._name = Path(argv[1]).name
        self._lines: Queue[str] = Queue()
        self._listener = threading.Thread(target=self._listen, name=self._name, daemon=True)
        self._listener.start()

    def ready(self) -> dict[str, Any]:
        """Wait for its first line and return it."""
        return self._answer()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, command: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer; raises SystemExit where none comes."""
        self._process.stdin.write(json.dumps(command or {}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._listener.join(10)
        self._process.stdout.close()

    def _listen(self) -> None:
        for line in self._process.stdout:
            if line.startswith("{"):
                self._lines.put(line)
        self._lines.put("")

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=PATIENCE_S)
        except Empty:
            line = ""
        if not line:
            raise SystemExit(f"{self._name} ended or does not answer")
        return json.loads(line)


class Server(Protocol):
    """What counts up. `counts` has `generated`, `sent` and `overflowed`: values of all tags together."""

    @property
    def endpoint(self) -> str: ...
    @property
    def uri(self) -> str: ...
    def rate(self, hz: float) -> None: ...
    def counts(self) -> dict[str, int]: ...
    def close(self) -> None: ...


class Load:
    """The load generator."""

    uri = LOAD_URI

    def __init__(self, nodes: int, triggers: int = 0) -> None:
        argv = [sys.executable, str(HERE / "opcua_load.py"), json.dumps({"nodes": nodes, "triggers": triggers})]
        self.peer = Peer(argv, tested=False)

    @cached_property
    def endpoint(self) -> str:
        """Where it listens; waits until it does."""
        return f"opc.tcp://{HOST}:{self.peer.ready()['ready']}"

    def rate(self, hz: float) -> None:
        self.peer.ask({"rate": hz})

    def counts(self) -> dict[str, int]:
        return self.peer.ask({"stats": True})

    def drop(self, values: int) -> None:
        """Lose so many values at the next chance, without a trace for the client but the gap."""
        self.peer.ask({"drop": values})

    def edges(self, per_second: float) -> int:
        """Raise triggers at that rate from now on, 0: none; return how many were raised so far."""
        return self.peer.ask({"edges": per_second})["raised"]

    def close(self) -> None:
        self.peer.close()


class NodeServer:
    """node-opcua's own server, whose every value goes its ordinary way."""

    uri = NODE_URI

    def __init__(self, nodes: int) -> None:
        options = {"nodes": nodes, "port": 0}
        self._nodes = nodes
        self._peer = Peer(["node", str(NODE_PACKAGES / "server.mjs"), json.dumps(options)], tested=False)
        self.endpoint = f"opc.tcp://{HOST}:{self._peer.ready()['port']}"
        self._rate = 0.0

    def rate(self, hz: float) -> None:
        self._rate = hz
        self._peer.ask({"rate": hz})

    def counts(self) -> dict[str, int]:
        if self._rate:
            raise RuntimeError("its count is known only while it stands")
        count = self._peer.ask({"rate": 0})["ok"] * self._nodes
        return {"generated": count, "sent": count, "overflowed": 0, "pending": 0}

    def close(self) -> None:
        self._peer.close()


class Client(Protocol):
    """What is tested. `counts` has `received`, `gaps` and `repeated`."""

    pid: int

    def counts(self) -> dict[str, int]: ...
    def close(self) -> None: ...


class Counting:
    """A client that counts by itself: the naive script, node-opcua, the bridge's link without the rest."""

    def __init__(self, kind: str, server: Server, nodes: int, rate_hz: float, *, queue: int = QUEUE) -> None:
        scripts = {
            "naive": [sys.executable, str(HERE / "opcua_naive.py")],
            "link": [sys.executable, str(HERE / "opcua_link.py")],
            "node-opcua": ["node", str(HERE / "node_opcua" / "client.mjs")],
        }
        config = {
            "endpoint": server.endpoint,
            "uri": server.uri,
            "nodes": nodes,
            "queue": queue,  # the alternatives' part
            "rate_hz": rate_hz,  # ours: it makes queues and intervals of it
            "packages": str(NODE_PACKAGES),
        }
        self._peer = Peer([*scripts[kind], json.dumps(config)], tested=True)
        self._peer.ready()
        until = time.monotonic() + PATIENCE_S
        while self.counts()["nodes"] < nodes:
            if time.monotonic() > until:
                raise SystemExit(f"{kind} does not see all {nodes} nodes: {self.counts()}")
            time.sleep(0.1)
        give_core(self.pid)

    @property
    def pid(self) -> int:
        return self._peer.pid

    def counts(self) -> dict[str, int]:
        return self._peer.ask()

    def close(self) -> None:
        self._peer.close()


@dataclass(frozen=True)
class Turn:
    """What a client made of some seconds of load."""

    rate_hz: float
    generated: int
    received: int
    gaps: int
    overflowed: int
    cpu_s: float
    wall_s: float
    drained_s: float
    """Until the last value was taken, from the end of the load on."""

    HOLDS_S = 0.3

    @property
    def held(self) -> bool:
        """Whether every value came, and none much later than it could have."""
        return self.received == self.generated and not self.gaps and self.drained_s <= self.HOLDS_S

    @property
    def cpu_us(self) -> float:
        """CPU microseconds a value."""
        return self.cpu_s / max(1, self.received) * 1e6


def turn(server: Server, client: Client, rate_hz: float, seconds: float) -> Turn:
    """Let all tags change at a rate for some seconds, then wait until all that was sent is taken."""
    sent, taken, cpu, start = server.counts(), client.counts(), cpu_s(client.pid), time.monotonic()
    server.rate(rate_hz)
    time.sleep(seconds)
    server.rate(0)
    end = time.monotonic()
    while True:
        counts, got = server.counts(), client.counts()
        received = got["received"] - taken["received"]
        if not counts["pending"] and received >= counts["sent"] - sent["sent"]:
            break
        if time.monotonic() - end > 5:
            break
        time.sleep(0.02)
    now = time.monotonic()
    return Turn(
        rate_hz=rate_hz,
        generated=counts["generated"] - sent["generated"],
        received=received,
        gaps=got["gaps"] - taken["gaps"] + got["repeated"] - taken["repeated"],
        overflowed=counts["overflowed"] - sent["overflowed"],
        cpu_s=cpu_s(client.pid) - cpu,
        wall_s=now - start,
        drained_s=now - end,
    )
