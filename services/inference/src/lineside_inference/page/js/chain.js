// How the whole line stands, from the PLC to Triton, in words for the person at the line.

import { call, get } from "./api.js";
import { clock, span } from "./format.js";
import { now } from "./store.js";

const NAMES = { topic_bridge: "Topic-bridge", opcua_bridge: "OPC UA bridge" };
const OWN = { bus: "Broker", opcua: "PLC", heartbeat: "Heartbeat to the PLC", inference: "Inference, from the topic-bridge" };
const NO_PART = "No part can be judged now";

/** What was read last: every link with its state (good, wait, bad or off), and what is said of it. */
export const chain = { links: [], ready: null, engine: null };

/** The links for want of which a part cannot be judged now, the nearest to the PLC first. */
export const stopping = () => chain.links.filter((link) => link.stops);

/** Whether a part could not be judged now. */
export const isStopped = () => stopping().length > 0;

/** What to say above everything: empty while every part can be judged. */
export function alarm() {
  const [first, ...more] = stopping();
  if (!first) return "";
  const rest = more.length ? ` And ${more.length} more: see Health.` : "";
  return `${first.stops}: ${sentence(`${first.name} ${first.text}`)}${rest}`;
}

const sentence = (text) => (text.endsWith(".") ? text : `${text}.`);

/** Read it all; where the service does not answer, what was read stays. */
export async function readChain() {
  let read;
  try {
    // Asked first: /readyz is open to everybody, and says nothing of the connections to whoever sends no token.
    const engine = await get("/v1/engine");
    // 503 has the same body: it says what is missing.
    read = { engine, health: await (await call("/readyz")).json(), line: await get("/v1/chain") };
  } catch {
    return false;
  }
  chain.engine = read.engine;
  chain.ready = read.health;
  chain.links = [...before(read.line), ...(read.health.connections ?? []).map(ofInference)];
  return true;
}

/** The links before the inference service: what the bridges told, or that they do not. */
export function before({ services, silent_after_s: patience }) {
  if (!services.length) {
    const more = "No bridge has told this service how it stands. Parts asked about over HTTP need none.";
    return [{ name: "PLC", state: "off", text: "is not connected here", more }];
  }
  const way = services.find((it) => it.service === "topic_bridge");
  const broker = way?.connections.find((it) => it.name === "bus");
  // Through the topic-bridge and its broker the others tell: without either nothing is known of them.
  const isLate = way?.silent || (way?.heard && now() - Date.parse(way.heard) > patience * 500);
  const cut = isLate ? "the topic-bridge is silent" : broker && !works(broker) ? "the topic-bridge has no broker" : "";
  return services.flatMap((service) => ofService(service, service === way ? "" : cut));
}

function ofService({ service, silent, heard, connections, omitted }, cut) {
  const name = NAMES[service];
  if (silent && cut) return [{ name, state: "wait", text: `is not known of: ${cut}`, more: lastHeard(heard) }];
  if (silent) {
    const text = heard ? `has been silent for ${span(now() - Date.parse(heard))}: it does not run, or has no ${service === "topic_bridge" ? "way here" : "broker"}.` : "has not told anything since this service started.";
    const more = `${lastHeard(heard)} See whether lineside-${service.replace("_", "-")} runs, and what its log says.`;
    return [{ name, state: "bad", text, more, stops: service === "topic_bridge" ? NO_PART : "No part gets its verdict now" }];
  }
  const left = omitted ? [{ name: `${omitted} more of the ${name}`, state: "good", text: "work", more: "" }] : [];
  return [{ name, state: "good", text: "runs", more: lastHeard(heard) }, ...connections.map((link) => ofBridge(service, link)), ...left];
}

const lastHeard = (heard) => (heard ? `It told last at ${clock(heard)}.` : "It was heard before this service started, and is expected since.");

function ofBridge(service, link) {
  const station = link.name.startsWith("trigger ") ? link.name.slice("trigger ".length) : "";
  const base = station ? `Trigger ${station}` : (OWN[link.name] ?? link.name);
  const name = link.name === "bus" ? `Broker, from the ${service === "topic_bridge" ? "topic-bridge" : "OPC UA bridge"}` : base;
  const effect = station ? "Parts of this trigger cannot be judged now" : NO_PART;
  const shown = stopped({ ...words({ ...link, name }), name }, link, effect);
  return link.state === "PAUSED" ? { ...shown, state: "off", isPaused: true } : shown; // the operator's doing, said above
}

function ofInference(link) {
  const [kind, which] = link.name.split("/");
  const effect = which ? `Parts with this ${kind === "camera" ? "camera" : "model"} cannot be judged now` : NO_PART;
  return stopped(words(link), link, effect);
}

/** Say of a link that does not work what that means for the parts. */
function stopped(shown, link, effect) {
  const isDown = link.required && !works(link) && link.state !== "PAUSED";
  return isDown ? { ...shown, state: "bad", stops: effect } : shown;
}

const works = (link) => link.state === "ONLINE";

/** A connection as a person would say it. */
export function words(link) {
  const name = link.name.replace("/", " ").replace(/^./, (letter) => letter.toUpperCase());
  const since = `for ${span(now() - Date.parse(link.since))}`;
  const detail = link.detail ? `: ${link.detail}` : "";
  const next = link.next_try ? ` Tries again in ${span(Date.parse(link.next_try) - now())}.` : "";
  const more = `${link.target}, since ${clock(link.since)}${link.required ? "" : "; the service works without it"}`;
  if (works(link)) return { name, state: "good", text: "works", more: `${more}${link.detail ? `; ${link.detail}` : ""}` };
  if (link.state === "PAUSED") return { name, state: "wait", text: `is not used${detail}`, more };
  // Until an attempt failed the detail is still of the connection before.
  if (link.state === "CONNECTING") return { name, state: "wait", text: `is being reached, ${since}${link.attempts ? detail : ""}`, more };
  return { name, state: link.required ? "bad" : "wait", text: `cannot be reached ${since}${detail}.${next}`, more: `${more}; ${link.attempts} attempts` };
}
