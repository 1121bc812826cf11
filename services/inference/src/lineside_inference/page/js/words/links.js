// The links of the line, from the PLC to Triton, in words for the person at the line.

import { stopping } from "../state/chain.js";
import { now } from "../state/line.js";
import { clock, span } from "./format.js";

/** @import { ChainDocument, HeardDocument, LinkState } from "../documents.js" */
/** @import { Link } from "../state/chain.js" */

/** @type {Record<string, string>} */
const SERVICES = { topic_bridge: "Topic-bridge", opcua_bridge: "OPC UA bridge" };
/** @type {Record<string, string>} */
const CONNECTIONS = {
  bus: "Broker",
  opcua: "PLC",
  heartbeat: "Heartbeat to the PLC",
  inference: "Inference, from the topic-bridge",
};
const TRIGGER = "trigger ";
const NO_PART = "No part can be judged now";

/** What to say above everything: empty while every part can be judged. */
export function alarm() {
  const [first, ...more] = stopping();
  if (!first) return "";
  const rest = more.length ? ` And ${more.length} more: see Health.` : "";
  return `${first.stops}: ${sentence(`${first.name} ${first.text}`)}${rest}`;
}

/** @param {string} text */
const sentence = (text) => (text.endsWith(".") ? text : `${text}.`);

/**
 * The links before the inference service: what the bridges told, or that they do not.
 * @param {ChainDocument} document
 * @returns {Array<Link>}
 */
export function linksBefore({ services, silent_after_s: patience }) {
  if (!services.length) {
    const more = "No bridge has told this service how it stands. Parts asked about over HTTP need none.";
    return [{ name: "PLC", state: "off", text: "is not connected here", more }];
  }
  const way = services.find((it) => it.service === "topic_bridge");
  const broker = way?.connections.find((it) => it.name === "bus");
  // Through the topic-bridge and its broker the others tell: without either nothing is known of them.
  const isLate = way?.silent || (way?.heard && now() - Date.parse(way.heard) > patience * 500);
  const noBroker = broker && !works(broker) ? "the topic-bridge has no broker" : "";
  const cut = isLate ? "the topic-bridge is silent" : noBroker;
  return services.flatMap((service) => linksOf(service, service === way ? "" : cut));
}

/**
 * The links of the inference service itself.
 * @param {Array<LinkState>} connections
 * @returns {Array<Link>}
 */
export const linksOfInference = (connections) => connections.map(ofInference);

/**
 * A bridge and its connections.
 * @param {HeardDocument} heard
 * @param {string} cut why nothing is known of it, where that is so
 * @returns {Array<Link>}
 */
function linksOf({ service, silent, heard, connections, omitted }, cut) {
  const name = SERVICES[service] ?? service;
  if (silent && cut) return [{ name, state: "wait", text: `is not known of: ${cut}`, more: lastHeard(heard) }];
  if (silent) {
    const isTopicBridge = service === "topic_bridge";
    const text = heard
      ? `has been silent for ${span(now() - Date.parse(heard))}: it does not run, or has no ${isTopicBridge ? "way here" : "broker"}.`
      : "has not told anything since this service started.";
    const more = `${lastHeard(heard)} See whether lineside-${service.replace("_", "-")} runs, and what its log says.`;
    return [{ name, state: "bad", text, more, stops: isTopicBridge ? NO_PART : "No part gets its verdict now" }];
  }
  /** @type {Link} */
  const runs = { name, state: "good", text: "runs", more: lastHeard(heard) };
  /** @type {Array<Link>} */
  const left = omitted ? [{ name: `${omitted} more of the ${name}`, state: "good", text: "work", more: "" }] : [];
  return [runs, ...connections.map((link) => ofBridge(service, link)), ...left];
}

/** @param {string | null} heard */
const lastHeard = (heard) =>
  heard ? `It told last at ${clock(heard)}.` : "It was heard before this service started, and is expected since.";

/**
 * @param {string} service
 * @param {LinkState} link
 * @returns {Link}
 */
function ofBridge(service, link) {
  const trigger = link.name.startsWith(TRIGGER) ? link.name.slice(TRIGGER.length) : "";
  const from = `Broker, from the ${service === "topic_bridge" ? "topic-bridge" : "OPC UA bridge"}`;
  const own = link.name === "bus" ? from : (CONNECTIONS[link.name] ?? link.name);
  const effect = trigger ? "Parts of this trigger cannot be judged now" : NO_PART;
  const shown = stopped(words(link, trigger ? `Trigger ${trigger}` : own), link, effect);
  return link.state === "PAUSED" ? { ...shown, state: "off", isPaused: true } : shown; // the operator's doing, said above
}

/**
 * @param {LinkState} link
 * @returns {Link}
 */
function ofInference(link) {
  const [kind, which] = link.name.split("/");
  const effect = which ? `Parts with this ${kind === "camera" ? "camera" : "model"} cannot be judged now` : NO_PART;
  return stopped(
    words(
      link,
      link.name.replace("/", " ").replace(/^./, (letter) => letter.toUpperCase()),
    ),
    link,
    effect,
  );
}

/**
 * Say of a link that does not work what that means for the parts.
 * @param {Link} shown
 * @param {LinkState} link
 * @param {string} effect
 * @returns {Link}
 */
function stopped(shown, link, effect) {
  const isDown = link.required && !works(link) && link.state !== "PAUSED";
  return isDown ? { ...shown, state: "bad", stops: effect } : shown;
}

/** @param {LinkState} link */
const works = (link) => link.state === "ONLINE";

/**
 * A connection as a person would say it.
 * @param {LinkState} link
 * @param {string} name
 * @returns {Link}
 */
function words(link, name) {
  const since = `for ${span(now() - Date.parse(link.since))}`;
  const detail = link.detail ? `: ${link.detail}` : "";
  const more = `${link.target}, since ${clock(link.since)}${link.required ? "" : "; the service works without it"}`;
  if (works(link)) return { name, state: "good", text: "works", more: `${more}${link.detail && `; ${link.detail}`}` };
  if (link.state === "PAUSED") return { name, state: "wait", text: `is not used${detail}`, more };
  // Until an attempt failed the detail is still of the connection before.
  if (link.state === "CONNECTING") {
    return { name, state: "wait", text: `is being reached, ${since}${link.attempts ? detail : ""}`, more };
  }
  const next = link.next_try ? ` Tries again in ${span(Date.parse(link.next_try) - now())}.` : "";
  return {
    name,
    state: link.required ? "bad" : "wait",
    text: `cannot be reached ${since}${detail}.${next}`,
    more: `${more}; ${link.attempts} attempts`,
  };
}
