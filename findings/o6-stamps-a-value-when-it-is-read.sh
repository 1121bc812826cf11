#!/usr/bin/env bash
# The source timestamp of a value that its server's programme wrote (OPC 10000-4, 7.11.3: the time of the value's last
# change) is with o6 2.2.0, the Python wheel of open62541, the time of the read. A value that was written after another
# may therefore look older than it, and two reads of one value look like two writes.
# Output seen:
#   o6 2.2.0: one write, two reads, two source timestamps
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check o6==2.2.0 asyncua==2.1.0
cat >"$work/server.py" <<'PYTHON'
import asyncio
import sys

import o6


async def main() -> None:
    loop = asyncio.get_running_loop()
    create = loop.create_server
    loop.create_server = lambda made, _host, port, **more: create(made, "127.0.0.1", port, **more)  # loopback alone
    server = o6.Server(port=int(sys.argv[1]))
    await server.addVariable("Present", server.objectsNode, o6.Boolean(False), nodeId="ns=1;s=Present", ns=1)
    server.start()
    await server.waitReady()
    await server.write("ns=1;s=Present", o6.Boolean(True))
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
PYTHON
cat >"$work/client.py" <<'PYTHON'
import asyncio
import subprocess
import sys

from asyncua import Client


async def main() -> None:
    import socket

    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, sys.argv[1], str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        while "ready" not in (line := server.stdout.readline()):
            assert line, "the server has ended"
        async with Client(f"opc.tcp://127.0.0.1:{port}") as client:
            node = client.get_node("ns=1;s=Present")
            first, second = [await node.read_data_value() for _ in range(2)]
    finally:
        server.stdin.close()
        server.wait(20)
    assert first.Value.Value is True and second.Value.Value is True
    assert first.SourceTimestamp != second.SourceTimestamp, "the stamp is kept now: this finding is out of date"
    print("o6 2.2.0: one write, two reads, two source timestamps")


asyncio.run(main())
PYTHON
"$work/venv/bin/python" "$work/client.py" "$work/server.py"
