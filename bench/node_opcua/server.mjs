// An OPC UA server that is not asyncua: `node server.mjs '<options as JSON>'`, from the folder it was installed into.
//
// Options: port; host (127.0.0.1); policies (["None"]), modes (["None"]); pki (folder of its certificates, else a new one);
// users ({name: password}; without it anonymous is let in); readOnlyUsers ([name]); nodes (how many counters) and
// rateHz (how often each counts up, 0 by default); maxReferences (per browse, 0: no limit); namespaces (URIs registered
// before ours, so that our index moves).
//
// Address space, namespace urn:lineside:node: Objects/Line/Station1 with PartPresent, PartId, Verdict, Code, Confidence,
// Findings, RequestId, Done, Speed (s=Station1.<tag>), and Objects/Line/Counters with C0..C<nodes-1> (s=C<n>, Double).
//
// One line of JSON on stdout when it is ready: {"ready": true, "port": …}. Commands are lines of JSON on stdin:
// {"set": {"Station1.PartPresent": true}}, {"get": "Station1.Done"}, {"burst": {"node": "C0", "count": 100}},
// {"rate": 10}, {"stop": true}; each is answered by one line {"ok": …}.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import {
  DataType,
  MessageSecurityMode,
  OPCUACertificateManager,
  OPCUAServer,
  SecurityPolicy,
  StatusCodes,
  Variant,
  WellKnownRoles,
  makeRoles,
} from "node-opcua";

const options = {
  host: "127.0.0.1",
  policies: ["None"],
  modes: ["None"],
  nodes: 0,
  rateHz: 0,
  maxReferences: 0,
  namespaces: [],
  ...JSON.parse(process.argv[2] ?? "{}"),
};

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

const manager = new OPCUACertificateManager({
  rootFolder: options.pki ?? mkdtempSync(join(tmpdir(), "node-opcua-")),
  automaticallyAcceptUnknownCertificate: false,
});
await manager.initialize();

const server = new OPCUAServer({
  port: options.port,
  host: options.host,
  hostname: options.host,
  alternateHostname: ["127.0.0.1", "localhost"],
  securityPolicies: options.policies.map((name) => SecurityPolicy[name]),
  securityModes: options.modes.map((name) => MessageSecurityMode[name]),
  allowAnonymous: !options.users,
  serverCertificateManager: manager,
  userManager: {
    isValidUser: (name, password) => options.users?.[name] === password,
    getUserRoles: (name) =>
      makeRoles(options.readOnlyUsers?.includes(name) ? [WellKnownRoles.Observer] : [WellKnownRoles.Operator]),
  },
  serverCapabilities: {
    maxSessions: 50,
    operationLimits: options.maxReferences ? { maxNodesPerBrowse: 100 } : {},
    ...(options.maxReferences ? { maxBrowseContinuationPoints: 100 } : {}),
  },
  buildInfo: { productName: "Lineside test server" },
});
await server.initialize();
const space = server.engine.addressSpace;
for (const uri of options.namespaces) {
  space.registerNamespace(uri);
}
const ours = space.registerNamespace("urn:lineside:node");
const line = ours.addFolder(space.rootFolder.objects, { browseName: "Line", nodeId: "s=Line" });
const station = ours.addObject({ browseName: "Station1", nodeId: "s=Station1", organizedBy: line });

const variables = new Map();
const KINDS = {
  PartPresent: [DataType.Boolean, false],
  PartId: [DataType.String, ""],
  Verdict: [DataType.String, ""],
  Code: [DataType.Int32, 0],
  Confidence: [DataType.Double, 0],
  Findings: [DataType.UInt16, 0],
  RequestId: [DataType.String, ""],
  Done: [DataType.Boolean, false],
  Speed: [DataType.Double, 1200.5],
};
const add = (parent, browseName, id, dataType, value) => {
  const variable = ours.addVariable({
    componentOf: parent,
    browseName,
    nodeId: `s=${id}`,
    dataType,
    value: { dataType, value },
    minimumSamplingInterval: 0,
  });
  variables.set(id, { variable, dataType });
};
for (const [tag, [dataType, value]] of Object.entries(KINDS)) {
  add(station, tag, `Station1.${tag}`, dataType, value);
}
const counters = ours.addFolder(line, { browseName: "Counters", nodeId: "s=Counters" });
for (let number = 0; number < options.nodes; number += 1) {
  add(counters, `C${number}`, `C${number}`, DataType.Double, 0);
}

const set = (id, value) => {
  const known = variables.get(id);
  if (!known) {
    throw new Error(`no node ${id}`);
  }
  known.variable.setValueFromSource(new Variant({ dataType: known.dataType, value }), StatusCodes.Good, new Date());
};
const get = (id) => variables.get(id)?.variable.readValue().value.value;

let count = 0;
let timer;
const turn = (rateHz) => {
  clearInterval(timer);
  if (rateHz > 0) {
    timer = setInterval(() => {
      count += 1;
      for (let number = 0; number < options.nodes; number += 1) {
        set(`C${number}`, count);
      }
    }, 1000 / rateHz);
  }
};

await server.start();
turn(options.rateHz);
say({ ready: true, port: server.endpoints[0].port, certificate: server.certificateFile });

for await (const text of createInterface({ input: process.stdin })) {
  const command = JSON.parse(text);
  try {
    if (command.set) {
      for (const [id, value] of Object.entries(command.set)) {
        set(id, value);
      }
      say({ ok: true });
    } else if (command.get) {
      say({ ok: get(command.get) });
    } else if (command.burst) {
      for (let number = 1; number <= command.burst.count; number += 1) {
        set(command.burst.node, number);
      }
      say({ ok: command.burst.count });
    } else if (command.rate !== undefined) {
      turn(command.rate);
      say({ ok: count });
    } else if (command.stop) {
      break;
    } else {
      say({ error: `not a command: ${text}` });
    }
  } catch (error) {
    say({ error: String(error) });
  }
}
clearInterval(timer);
await server.shutdown(0);
say({ ok: "stopped" });
process.exit(0);
