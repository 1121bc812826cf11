#!/usr/bin/env bash
# asyncua reads a DataValue's fields in another order than OPC UA has (OPC 10000-6, 5.2.2.17: source timestamp, source
# picoseconds, server timestamp, server picoseconds): the server timestamp before the source's picoseconds. A server that
# sends picoseconds, as node-opcua does, is read with a server time of the year 9999 or 1601, by what they are.
#
# Version: asyncua 2.1.0 (PyPI), node-opcua 2.182.2 (npm), Python 3.11 or newer, Node.js 20 or newer.
# Seen: node-opcua reading itself: 2026. asyncua reading it: server 1601-01-01, source 2026; on other days server 9999-12-31.
# Run by hand; it fails when the behaviour changes.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q "asyncua==2.1.0"
npm init -y >/dev/null
npm install --no-audit --no-fund --silent "node-opcua@2.182.2"
cat > server.cjs <<'NODE'
const { OPCUAServer, OPCUAClient, OPCUACertificateManager, DataType, AttributeIds } = require("node-opcua");
(async () => {
  const serverCertificateManager = new OPCUACertificateManager({ rootFolder: "./pki" });
  const server = new OPCUAServer({ port: 0, host: "127.0.0.1", hostname: "127.0.0.1", serverCertificateManager });
  await server.initialize();
  const ours = server.engine.addressSpace.getOwnNamespace();
  ours.addVariable({ organizedBy: server.engine.addressSpace.rootFolder.objects, browseName: "Speed", nodeId: "s=Speed",
    dataType: DataType.Double, value: { dataType: DataType.Double, value: 1.5 } });
  await server.start();
  const url = `opc.tcp://127.0.0.1:${server.endpoints[0].port}`;
  const client = OPCUAClient.create({ endpointMustExist: false });
  await client.connect(url);
  const session = await client.createSession();
  const read = await session.read({ nodeId: "ns=1;s=Speed", attributeId: AttributeIds.Value });
  await session.close();
  await client.disconnect();
  console.log(`READY ${url} ${read.serverTimestamp.getUTCFullYear()}`);
})();
NODE
node server.cjs > server.log 2>&1 &
until grep -q '^READY' server.log; do kill -0 $! || { cat server.log; exit 1; }; sleep 0.2; done
read -r _ url year < <(grep '^READY' server.log)
cat > read.py <<'PYTHON'
import asyncio, sys
from asyncua import Client, ua

async def main(url, year):
    async with Client(url) as client:
        asked = ua.ReadValueId(NodeId=ua.NodeId("Speed", 1), AttributeId=ua.AttributeIds.Value)
        both = ua.TimestampsToReturn.Both
        (value,) = await client.uaclient.read(ua.ReadParameters(TimestampsToReturn=both, NodesToRead=[asked]))
    print("node-opcua reads itself:", year)
    print("asyncua reads: server", value.ServerTimestamp, "source", value.SourceTimestamp)
    print("asyncua reads picoseconds: source", value.SourcePicoseconds, "server", value.ServerPicoseconds)
    wrong = value.ServerTimestamp.year in {1601, 9999} and value.SourceTimestamp.year == int(year)
    sys.exit(0 if wrong else "it has changed")

asyncio.run(main(sys.argv[1], sys.argv[2]))
PYTHON
venv/bin/python read.py "$url" "$year"
