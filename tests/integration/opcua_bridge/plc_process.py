"""A PLC's OPC UA server as a process that tests may stop and kill: `plc_process.py PORT`."""

import asyncio
import logging
import sys

from asyncua import Server, ua

URI = "urn:lineside:test"
TAGS = {"PartPresent": False, "PartId": "", "Verdict": "", "Confidence": 0.0, "RequestId": "", "Done": False}


async def main(port: int) -> None:
    logging.disable(logging.CRITICAL)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(URI)
    folder = await server.nodes.objects.add_object(ua.NodeId("Station1", index), "Station1")
    for tag, value in TAGS.items():
        variable = await folder.add_variable(ua.NodeId(f"Station1.{tag}", index), tag, value)
        await variable.set_writable()
    async with server:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
