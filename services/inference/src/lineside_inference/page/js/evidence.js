// What became of the evidence: what waits on this box, where it went, what was dropped, and what needs a person.

import { get } from "./api.js";
import { byId, el } from "./dom.js";
import { bytes, clock, count, span } from "./format.js";
import { item, mark } from "./health.js";
import { now } from "./store.js";

const SHORT = 2;
const COLUMNS = ["Destination", "State", "Waiting", "Oldest", "Delivered", "Dead letters"];
const WORDS = {
  ONLINE: ["good", "takes it"],
  PAUSED: ["wait", "pauses"],
  BACKOFF: ["wait", "takes nothing"],
  CONNECTING: ["wait", "is being reached"],
};
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
  const state = await get("/v1/evidence").catch(() => null);
  if (!state) return;
  const alarms = alarmsOf(state);
  mark("evidence", alarms.some((alarm) => alarm.state === "bad"));
  const first = { name: "Evidence", state: !state.configured ? "off" : alarms.length ? worst(alarms) : "good", text: summary(state) };
  const rest = el("li", {}, el("a", { href: "#health" }, alarms.length > SHORT ? `All ${alarms.length}, and what to do` : "What to do"));
  byId("evidence").replaceChildren(...[first, ...alarms.slice(0, SHORT)].map((it) => item(it, false)), alarms.length ? rest : "");
  byId("evidence-all").replaceChildren(
    el("p", {}, `${summary(state)}.`),
    el("ul", { className: "plain needs" }, ...alarms.map((alarm) => item(alarm, true))),
    ...whole(state),
  );
}

/** What is not as it should be, most urgent first; empty while all is well. */
export function alarmsOf(state) {
  if (!state.configured) return [];
  const broken = state.kept ? [] : [{ name: "No evidence is kept", state: "bad", text: "now", more: sentence(state.reason) }];
  const needs = state.needs.map((need) => ({ name: heading(need), state: "bad", text: need.what, more: sentence(need.remedy) }));
  const nobody =
    state.kept && !state.destinations.length
      ? [{ name: "Nobody ships it", state: "wait", text: "yet", more: "No forwarder has used this spool: what is kept stays on this box." }]
      : [];
  const away = state.destinations.filter((one) => one.state !== "ONLINE").map(destination);
  const missed = total(state.missed);
  const gone = missed
    ? [{ name: `${count(missed)} not kept`, state: "wait", text: "since the service started", more: sentence(reasons(state.missed)) }]
    : [];
  return [...broken, ...needs, ...nobody, ...away, ...gone];
}

/** A destination that does not take evidence, as a person would say it. */
function destination(one) {
  const [state, word] = said(one);
  const since = one.since && one.state !== "PAUSED" ? ` for ${span(now() - Date.parse(one.since))}` : "";
  const more = `${one.since ? `Since ${clock(one.since)}. ` : ""}What waits for it stays on this box.`;
  return { name: capital(one.name), state, text: `${word}${since}${one.detail ? `: ${one.detail}` : ""}`, more };
}

const said = (one) => WORDS[one.state] ?? ["wait", "was not reached yet"];

function summary(state) {
  const { waiting } = state;
  if (!waiting) return state.configured ? "nothing is known of it" : "not kept: spool.folder is not set";
  const delivered = Math.max(0, ...state.destinations.map((one) => one.delivered));
  const age = waiting.oldest ? `, oldest ${span(now() - Date.parse(waiting.oldest))}` : "";
  const size = waiting.records ? `, ${bytes(waiting.bytes)}${age}` : "";
  return `${count(waiting.records)} waiting${size}; ${count(delivered)} delivered`;
}

function whole(state) {
  if (!state.waiting) return [];
  const { used_bytes: used, most_bytes: most, free_bytes: free, share } = state.waiting;
  const past = [
    ["Dropped", state.dropped],
    ["Damaged and set aside", state.quarantined],
  ].filter(([, by]) => total(by));
  const room = `${bytes(used)} of ${bytes(most)} used (${Math.round(100 * share)} %), ${bytes(free)} free on its disk.`;
  return [
    ...(state.destinations.length ? [table(state.destinations)] : []),
    ...past.map(([name, by]) => el("p", {}, el("strong", {}, `${name}: ${count(total(by))}`), ` (${reasons(by)})`)),
    el("p", { className: "muted" }, `${room} On the box, `, el("code", {}, "lineside spool status"), " says more, ", el("code", {}, "lineside spool list"), " the dead letters."),
  ];
}

function table(destinations) {
  const row = (one) => {
    const oldest = one.oldest ? span(now() - Date.parse(one.oldest)) : "–";
    const cells = [said(one)[1], count(one.waiting), oldest, count(one.delivered), count(one.dead)];
    return el("tr", {}, el("th", { scope: "row" }, one.name), ...cells.map((cell, at) => el("td", { className: at ? "number" : "" }, cell)));
  };
  const head = COLUMNS.map((word, at) => el("th", { scope: "col", className: at > 1 ? "number" : "" }, word));
  const body = el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...destinations.map(row)));
  return el("div", { className: "scroll", tabIndex: 0, role: "region", aria: { label: "Destinations of the evidence" } }, body);
}

const worst = (alarms) => (alarms.some((alarm) => alarm.state === "bad") ? "bad" : "wait");

const total = (by) => Object.values(by).reduce((sum, value) => sum + value, 0);

const reasons = (by) =>
  Object.entries(by)
    .filter(([, value]) => value)
    .map(([name, value]) => `${count(value)} ${WHY[name] ?? name}`)
    .join(", ");

/** What it is about, without what its sentence begins with. */
const heading = ({ about, what }) => capital(about.replace(` ${what.split(" ")[0]}`, ""));

const capital = (text) => text.replace(/^./, (letter) => letter.toUpperCase());

/** A sentence in which what stands between backticks is a command. */
const sentence = (text) =>
  el("span", {}, ...`${capital(text)}.`.split("`").map((piece, at) => (at % 2 ? el("code", {}, piece) : piece)));
