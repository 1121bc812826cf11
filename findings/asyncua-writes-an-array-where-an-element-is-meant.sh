#!/usr/bin/env bash
# A Write with an IndexRange (OPC 10000-4, 5.11.4) changes only those elements of an array; a server that cannot do so
# answers BadWriteNotSupported. asyncua's server 2.1.0 ignores the range, replaces the whole array by the element, and
# answers Good; with a Read it gives the whole array.
# Output seen:
#   asyncua 2.1.0: read of element 1: [10, 11, 12]; write of element 1: Good, and the array is [99]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check asyncua==2.1.0
cat >"$work/both.py" <<'PYTHON'
import asyncio
import logging
import socket

from asyncua import Client, Server, ua

logging.disable(logging.CRITICAL)


async def main() -> None:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        url = f"opc.tcp://127.0.0.1:{chosen.getsockname()[1]}/"
    server = Server()
    await server.init()
    server.set_endpoint(url)
    array = await server.nodes.objects.add_variable("ns=1;s=Array", "1:Array", [10, 11, 12], ua.VariantType.Int32)
    await array.set_writable()
    async with server, Client(url) as client:
        node = ua.NodeId("Array", 1)
        asked = ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value, IndexRange="1")
        (read,) = await client.uaclient.session.read(ua.ReadParameters(NodesToRead=[asked]))
        one = ua.DataValue(ua.Variant([99], ua.VariantType.Int32), StatusCode=None)
        written = ua.WriteValue(NodeId=node, AttributeId=ua.AttributeIds.Value, IndexRange="1", Value=one)
        (status,) = await client.uaclient.session.write(ua.WriteParameters(NodesToWrite=[written]))
        left = await array.read_value()
    assert read.Value.Value == [10, 11, 12] and status.is_good() and left == [99], (
        f"this finding is out of date: read {read}, wrote {status}, left {left}"
    )
    print(f"asyncua 2.1.0: read of element 1: {read.Value.Value}; write of element 1: {status.name}, and the array is {left}")


asyncio.run(main())
PYTHON
"$work/venv/bin/python" "$work/both.py"
