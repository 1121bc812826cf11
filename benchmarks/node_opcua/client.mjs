// The alternative outside Python: a node-opcua client that subscribes to the same counters and counts their gaps.
//
//   node client.mjs '{"endpoint": "opc.tcp://...", "uri": "...", "nodes": 2000, "queue": 100, "packages": "<folder>"}'
//
// `packages` is the folder whose node_modules has node-opcua. Counts as the Python clients do: a line on stdin asks, a
// line of JSON on stdout answers, the end of stdin ends it.
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const config = JSON.parse(process.argv[2]);
const {
  AttributeIds,
  ClientMonitoredItemGroup,
  ClientSubscription,
  OPCUACertificateManager,
  OPCUAClient,
  TimestampsToReturn,
} = createRequire(join(config.packages, "package.json"))("node-opcua");

const PERIOD_MS = 100;
const AT_ONCE = 1000; // items created in one call

const pki = mkdtempSync(join(tmpdir(), "lineside-node-"));
const clientCertificateManager = new OPCUACertificateManager({ rootFolder: pki });
await clientCertificateManager.initialize();
const client = OPCUAClient.create({ endpointMustExist: false, clientCertificateManager, keepSessionAlive: true });
await client.connect(config.endpoint);
const session = await client.createSession();
const namespaces = await session.readNamespaceArray();
const index = namespaces.indexOf(config.uri);
const subscription = ClientSubscription.create(session, {
  requestedPublishingInterval: PERIOD_MS,
  requestedLifetimeCount: 10000,
  requestedMaxKeepAliveCount: 100,
  maxNotificationsPerPublish: 0,
  publishingEnabled: true,
});
await new Promise((resolve) => subscription.once("started", resolve));

const last = new Map();
let received = 0;
let gaps = 0;
let repeated = 0;
const see = (key, value) => {
  const before = last.get(key);
  last.set(key, value);
  if (before === undefined) {
    return;
  }
  received += 1;
  const missing = value - before - 1;
  if (missing > 0) {
    gaps += missing;
  } else if (missing < 0) {
    repeated += 1;
  }
};

for (let first = 0; first < config.nodes; first += AT_ONCE) {
  const items = [];
  for (let number = first; number < Math.min(first + AT_ONCE, config.nodes); number += 1) {
    items.push({ nodeId: `ns=${index};s=C${number}`, attributeId: AttributeIds.Value });
  }
  const group = ClientMonitoredItemGroup.create(
    subscription,
    items,
    { samplingInterval: 0, discardOldest: true, queueSize: config.queue },
    TimestampsToReturn.Both,
  );
  group.on("changed", (_item, dataValue, number) => see(first + number, dataValue.value.value));
  await new Promise((resolve) => group.once("initialized", resolve));
}

const cpu = () => {
  const used = process.cpuUsage();
  return (used.user + used.system) / 1e6;
};
console.log(JSON.stringify({ ready: true }));
for await (const _line of createInterface({ input: process.stdin })) {
  const least = Math.min(...last.values());
  console.log(JSON.stringify({ received, gaps, repeated, nodes: last.size, least, cpu_s: cpu() }));
}
await session.close(true); // with its subscription, or the server would go on counting for it
await client.disconnect();
rmSync(pki, { recursive: true, force: true });
process.exit(0);
