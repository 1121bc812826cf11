// What became of the evidence: what waits on this box, where it went, what was dropped, and what needs a person.

import { get } from "../service/http.js";
import { now } from "../state/line.js";
import { bytes, clock, count, span } from "../words/format.js";
import { byId, capital, el, sentence } from "./dom.js";
import { item, mark } from "./health.js";

/** @import { DestinationDocument, EvidenceDocument, NeedDocument } from "../documents.js" */
/** @import { Item } from "./health.js" */

const SHORT = 2;
const COLUMNS = ["Destination", "State", "Waiting", "Oldest", "Delivered", "Dead letters"];
/** @type {Record<string, ["good" | "wait", string]>} */
const STATES = {
  ONLINE: ["good", "takes it"],
  PAUSED: ["wait", "pauses"],
  BACKOFF: ["wait", "takes nothing"],
  CONNECTING: ["wait", "is being reached"],
};
/** @type {Record<string, string>} */
const WHY = {
  age: "too old before it could leave",
  sampled: "sampled, to make room",
  delivered: "delivered and only kept, to make room",
  page: "damaged page",
  record: "damaged record",
  blob: "damaged object",
  lost: "lost to damage",
  "queue-full": "more at once than inference.capture.queue allows",
  "not-open": "while the spool was not open",
  "spool-full": "the spool or its disk was full",
  "spool-unusable": "its disk failed",
  stopping: "the service stopped",
  failed: "failed: the log says why",
};

/** Read the state and draw it, short on the line, whole in the view of health. */
export async function drawEvidence() {
  /** @type {EvidenceDocument | null} */
  const state = await get("/v1/evidence").catch(() => null);
  if (!state) return;
  const alarms = alarmsOf(state);
  const isBad = alarms.some((alarm) => alarm.state === "bad");
  mark("evidence", isBad);
  const look = alarms.length ? (isBad ? "bad" : "wait") : "good";
  /** @type {Item} */
  const first = { name: "Evidence", state: state.configured ? look : "off", text: summary(state) };
  const link = alarms.length > SHORT ? `All ${alarms.length}, and what to do` : "What to do";
  const rest = alarms.length ? el("li", {}, el("a", { href: "#health" }, link)) : "";
  byId("evidence").replaceChildren(...[first, ...alarms.slice(0, SHORT)].map((it) => item(it, false)), rest);
  byId("evidence-all").replaceChildren(
    el("p", {}, `${summary(state)}.`),
    el("ul", { className: "plain needs" }, ...alarms.map((alarm) => item(alarm, true))),
    ...whole(state),
  );
}

/**
 * What is not as it should be, most urgent first; empty while all is well.
 * @param {EvidenceDocument} state
 * @returns {Array<Item>}
 */
function alarmsOf(state) {
  if (!state.configured) return [];
  /** @type {Array<Item>} */
  const alarms = [];
  if (!state.kept) {
    alarms.push({ name: "No evidence is kept", state: "bad", text: "now", more: sentence(state.reason) });
  }
  for (const need of state.needs) {
    alarms.push({ name: heading(need), state: "bad", text: need.what, more: sentence(need.remedy) });
  }
  if (state.kept && !state.destinations.length) {
    const more = "No forwarder has used this spool: what is kept stays on this box.";
    alarms.push({ name: "Nobody ships it", state: "wait", text: "yet", more });
  }
  alarms.push(...state.destinations.filter((one) => one.state !== "ONLINE").map(destination));
  const missed = total(state.missed);
  if (missed) {
    const more = sentence(reasons(state.missed));
    alarms.push({ name: `${count(missed)} not kept`, state: "wait", text: "since the service started", more });
  }
  return alarms;
}

/**
 * A destination that does not take evidence, as a person would say it.
 * @param {DestinationDocument} one
 * @returns {Item}
 */
function destination(one) {
  const [state, word] = said(one);
  const since = one.since && one.state !== "PAUSED" ? ` for ${span(now() - Date.parse(one.since))}` : "";
  const more = `${one.since ? `Since ${clock(one.since)}. ` : ""}What waits for it stays on this box.`;
  return { name: capital(one.name), state, text: `${word}${since}${one.detail ? `: ${one.detail}` : ""}`, more };
}

/**
 * @param {DestinationDocument} one
 * @returns {["good" | "wait", string]}
 */
const said = (one) => STATES[one.state] ?? ["wait", "was not reached yet"];

/** @param {EvidenceDocument} state */
function summary(state) {
  const { waiting } = state;
  if (!waiting) return state.configured ? "nothing is known of it" : "not kept: spool.folder is not set";
  const delivered = Math.max(0, ...state.destinations.map((one) => one.delivered));
  const age = waiting.oldest ? `, oldest ${span(now() - Date.parse(waiting.oldest))}` : "";
  const size = waiting.records ? `, ${bytes(waiting.bytes)}${age}` : "";
  return `${count(waiting.records)} waiting${size}; ${count(delivered)} delivered`;
}

/** @param {EvidenceDocument} state */
function whole(state) {
  if (!state.waiting) return [];
  const { used_bytes: used, most_bytes: most, free_bytes: free, share } = state.waiting;
  /** @type {Array<[string, Record<string, number>]>} */
  const gone = [
    ["Dropped", state.dropped],
    ["Damaged and set aside", state.quarantined],
  ];
  const past = gone.filter(([, by]) => total(by));
  const room = `${bytes(used)} of ${bytes(most)} used (${Math.round(100 * share)} %), ${bytes(free)} free on its disk.`;
  return [
    ...(state.destinations.length ? [table(state.destinations)] : []),
    ...past.map(([name, by]) => el("p", {}, el("strong", {}, `${name}: ${count(total(by))}`), ` (${reasons(by)})`)),
    el(
      "p",
      { className: "muted" },
      `${room} On the box, `,
      el("code", {}, "lineside spool status"),
      " says more, ",
      el("code", {}, "lineside spool list"),
      " the dead letters.",
    ),
  ];
}

/** @param {Array<DestinationDocument>} destinations */
function table(destinations) {
  /** @param {DestinationDocument} one */
  const row = (one) => {
    const oldest = one.oldest ? span(now() - Date.parse(one.oldest)) : "–";
    const cells = [said(one)[1], count(one.waiting), oldest, count(one.delivered), count(one.dead)];
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, one.name),
      ...cells.map((cell, at) => el("td", { className: at ? "number" : "" }, cell)),
    );
  };
  const head = COLUMNS.map((word, at) => el("th", { scope: "col", className: at > 1 ? "number" : "" }, word));
  const body = el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...destinations.map(row)));
  return el(
    "div",
    { className: "scroll", tabIndex: 0, role: "region", aria: { label: "Destinations of the evidence" } },
    body,
  );
}

/** @param {Record<string, number>} by */
const total = (by) => Object.values(by).reduce((sum, value) => sum + value, 0);

/** @param {Record<string, number>} by */
const reasons = (by) =>
  Object.entries(by)
    .filter(([, value]) => value)
    .map(([name, value]) => `${count(value)} ${WHY[name] ?? name}`)
    .join(", ");

/**
 * What it is about, without what its sentence begins with.
 * @param {NeedDocument} need
 */
const heading = ({ about, what }) => capital(about.replace(` ${what.split(" ")[0]}`, ""));
