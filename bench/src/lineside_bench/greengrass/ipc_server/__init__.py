"""The nucleus' IPC server as a component meets it: the real wire protocol over a Unix socket, in two manners.

    framing      messages of the event stream: prelude, headers, payload, checksums; no I/O
    manners      what the classic nucleus and the lite one allow and answer
    access       which operation a component's `accessControl` allows on which resource
    state        what the core knows: components with token, configuration and state; shadows
    topics       who listens to which topic, local ones and those of AWS IoT Core
    operations   one function for each operation that is served
    session      one client's connection: CONNECT, streams, answers, events
    server       the socket, the faults on demand, and a thread to run it beside a test

The protocol is as the public sources have it: aws-c-event-stream's `event_stream_rpc.h`, the Python SDK's
`eventstreamrpc.py`, the lite nucleus' `ggipcd` and the classic nucleus' `*IPCEventStreamAgent.java`. The classic
manner was written from its source and was never compared with a running one. The lite manner was: 50 requests, right
and wrong, got the same answers from it as from ggipcd, ggpubsubd and ggconfigd, built from their public source.
"""

from lineside_bench.greengrass.ipc_server.manners import CLASSIC, LITE, Manner
from lineside_bench.greengrass.ipc_server.server import IpcServer, running
from lineside_bench.greengrass.ipc_server.state import Core

__all__ = ["CLASSIC", "LITE", "Core", "IpcServer", "Manner", "running"]
