// The PLC program on node-opcua: `node plc.mjs '<options as JSON>'`. Its options and the lines it takes and says are those of
// all PLC programs: see bench/src/lineside_bench/plcs/__init__.py.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import {
  AccessLevelFlag,
  DataType,
  DataValue,
  MessageSecurityMode,
  OPCUACertificateManager,
  OPCUAServer,
  SecurityPolicy,
  StatusCodes,
  Variant,
  VariantArrayType,
} from "node-opcua";

const options = JSON.parse(process.argv[2]);
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const now = () => new Date().toISOString();

const folder = mkdtempSync(join(tmpdir(), "node-opcua-plc-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const manager = new OPCUACertificateManager({ rootFolder: folder });
await manager.initialize();
const server = new OPCUAServer({
  port: options.port,
  host: options.host,
  hostname: options.host,
  securityPolicies: [SecurityPolicy.None],
  securityModes: [MessageSecurityMode.None],
  serverCertificateManager: manager,
  serverCapabilities: { maxSessions: 50 },
});
await server.initialize();
const space = server.engine.addressSpace;
const ours = space.registerNamespace(options.namespace);

const folders = new Map();
const variables = new Map();
const read = (tag) => {
  const { dataType, arrayType, value } = variables.get(tag).variable.readValue().value;
  if (arrayType !== VariantArrayType.Scalar) {
    return Array.from(value);
  }
  const is64Bits = dataType === DataType.Int64 || dataType === DataType.UInt64;
  return is64Bits && Array.isArray(value) ? value[0] * 2 ** 32 + value[1] : value;
};
const variantOf = (dataType, value) =>
  new Variant({ dataType, value, arrayType: Array.isArray(value) ? VariantArrayType.Array : VariantArrayType.Scalar });
const tell = (tag) =>
  say({
    written: tag,
    value: read(tag),
    at: now(),
    beside: Object.fromEntries(options.watched[tag].map((other) => [other, read(other)])),
  });

for (const [tag, [kind, value]] of Object.entries(options.tags)) {
  const [parent, name] = tag.split(/\.(.*)/s);
  if (!folders.has(parent)) {
    folders.set(
      parent,
      ours.addObject({ browseName: parent, nodeId: `s=${parent}`, organizedBy: space.rootFolder.objects }),
    );
  }
  const access = options.writable.includes(tag)
    ? AccessLevelFlag.CurrentRead | AccessLevelFlag.CurrentWrite
    : AccessLevelFlag.CurrentRead;
  const variable = ours.addVariable({
    componentOf: folders.get(parent),
    browseName: name,
    nodeId: `s=${tag}`,
    dataType: DataType[kind],
    valueRank: Array.isArray(value) ? 1 : -1,
    value: variantOf(DataType[kind], value),
    accessLevel: access,
    userAccessLevel: access,
    minimumSamplingInterval: 0,
  });
  variables.set(tag, { variable, dataType: DataType[kind] });
  if (tag in options.watched) {
    // Held here, so that each write is seen, an equal one too.
    let held = new DataValue({ value: variantOf(DataType[kind], value), sourceTimestamp: new Date() });
    variable.bindVariable(
      {
        timestamped_get: () => held,
        timestamped_set: async (data) => {
          held = new DataValue({ value: data.value, statusCode: data.statusCode, sourceTimestamp: new Date() });
          tell(tag);
          return StatusCodes.Good;
        },
      },
      true,
    );
    variables.get(tag).hold = (data) => {
      held = data;
      variable.touchValue?.();
    };
  }
}

const write = (tag, value) => {
  const known = variables.get(tag);
  if (!known) {
    throw new Error(`no tag ${tag}`);
  }
  const variant = variantOf(known.dataType, value);
  if (known.hold) {
    known.hold(new DataValue({ value: variant, sourceTimestamp: new Date() }));
    tell(tag);
  } else {
    known.variable.setValueFromSource(variant, StatusCodes.Good, new Date());
  }
};

const carryOut = async (command) => {
  if (command.read) {
    return Object.fromEntries(command.read.map((tag) => [tag, read(tag)]));
  }
  let at;
  for (const step of command.write) {
    if (typeof step === "number") {
      await wait(step);
    } else {
      at = now();
      write(...step);
    }
  }
  return at;
};

await server.start();
say({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    say({ ok: await carryOut(JSON.parse(line)) });
  } catch (error) {
    say({ error: `${line}: ${error}` });
  }
}
process.exit(0); // its shutdown would wait for the clients' sessions to time out
