"""An OPC UA server with a tree to find one's way in: `tree_process.py PORT [NAMESPACES BEFORE OURS]`.

Below Objects/Press: Station1 and Station2 with a few tags, Station1 once more in another namespace, a way back up to
Press (a cycle), a name with signs of a path in it, and Tags with 3,000 variables. Station1's Speed goes on counting.
"""

import asyncio
import gc
import logging
import sys

from asyncua import Server, ua
from asyncua.ua.object_ids import ObjectIds

URI = "urn:lineside:tree"
TAGS = {"PartPresent": False, "PartId": "P-1", "Speed": 0.0, "Profile": [1.0, 2.0, 3.0], "A/B[1]": 7}


async def main(port: int, before: int) -> None:
    logging.disable(logging.CRITICAL)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    for number in range(before):
        await server.register_namespace(f"urn:other:{number}")
    index = await server.register_namespace(URI)
    press = await server.nodes.objects.add_object(ua.NodeId("Press", index), f"{index}:Press")
    stations = []
    for name in ("Station1", "Station2"):
        station = await press.add_object(ua.NodeId(name, index), f"{index}:{name}")
        stations.append(station)
        for tag, value in TAGS.items():
            variable = await station.add_variable(ua.NodeId(f"{name}.{tag}", index), f"{index}:{tag}", value)
            if tag == "PartId":
                await variable.set_writable()
    other = await server.nodes.objects.add_folder(ua.NodeId("Other", index), f"{index}:Other")
    theirs = await other.add_object(ua.NodeId("Theirs", index), "1:Station2")
    await press.add_reference(theirs, ObjectIds.Organizes)
    await stations[0].add_reference(press, ObjectIds.Organizes)
    tags = await press.add_folder(ua.NodeId("Tags", index), f"{index}:Tags")
    for number in range(3000):
        await tags.add_variable(ua.NodeId(f"T{number}", index), f"{index}:T{number}", float(number))
    speed = server.get_node(ua.NodeId("Station1.Speed", index))
    async with server:
        turn = 0
        while True:
            turn += 1
            await speed.write_value(float(turn))
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    gc.set_threshold(50_000, 10, 10)  # half of the start of a server, 6,000 nodes, would be looking through them
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
