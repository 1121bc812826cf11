// Counts and yield of the shift, and how fast verdicts are.

import { get } from "../service/http.js";
import { learn, line, now } from "../state/line.js";
import { clock, count, ms, percent } from "../words/format.js";
import { byId, el, svg } from "./dom.js";

/** @import { CountsDocument, MinuteDocument } from "../documents.js" */

/** @typedef {"passed" | "failed" | "unknown"} Counted */

/**
 * Where the shift begins: at a time of each day, or at a reset, or else with the service. `minus` is what the service
 * had counted of the minute of the reset, in its run `run`.
 * @typedef {{ time?: string, since?: string, run?: string, minus?: Record<Counted, number> }} Shift
 */

const KEY = "lineside.shift";
/** @type {Array<[Counted, string, string]>} */
const COUNTED = [
  ["passed", "pass", "Pass"],
  ["failed", "fail", "Fail"],
  ["unknown", "unknown", "Unknown"],
];
const RECENT_MS = 300_000;
const LEAST_SPAN_MS = 5;
const COUNT_MS = 700;

let counted = 0;
let isCounting = false;

/** @type {Shift} */
let shift = JSON.parse(localStorage.getItem(KEY) ?? "{}");

/** Make the form work. */
export function startShift() {
  const time = byId("shift-time", HTMLInputElement);
  time.value = shift.time ?? "";
  byId("shift-form").addEventListener("submit", (event) => {
    event.preventDefault();
    keep({ time: time.value });
  });
  byId("shift-reset").addEventListener("click", async () => {
    const since = new Date(now()).toISOString();
    /** @type {CountsDocument} */
    const { run, passed, failed, unknown } = await get(`/v1/counts?since=${since}`);
    // The service counts by whole minutes: what this one has so far is taken off.
    keep({ since, run, minus: { passed, failed, unknown } });
  });
}

/** Count soon: called when a part came. */
export function countSoon() {
  const newest = line.parts.at(-1)?.number ?? 0;
  if (isCounting || newest === counted) return;
  isCounting = true;
  setTimeout(async () => {
    counted = newest;
    await drawShift();
    isCounting = false;
  }, COUNT_MS);
}

/** Read the counts and draw them. */
export async function drawShift() {
  const since = begin();
  /** @type {CountsDocument | null} */
  const counts = await get(`/v1/counts${since ? `?since=${since.toISOString()}` : ""}`).catch(() => null);
  if (!counts) return;
  learn(counts);
  const minus = shift.run === counts.run ? shift.minus : undefined;
  /** @param {Counted} name */
  const of = (name) => Math.max(0, counts[name] - (minus?.[name] ?? 0));
  const all = of("passed") + of("failed") + of("unknown");
  byId("yield").textContent = percent(of("passed"), all);
  byId("shift-counts").replaceChildren(
    entry("all", "Parts", all),
    ...COUNTED.map(([name, kind, word]) => entry(kind, word, of(name))),
  );
  const started = new Date(counts.started);
  const isWhole = since && since >= started;
  byId("shift-since").textContent = isWhole ? `Since ${clock(since)}` : `Since the start, ${clock(started)}`;
  drawTrend(counts.trend);
}

/** When the shift began; null where it began with the service. */
function begin() {
  if (shift.since) return new Date(shift.since);
  if (!shift.time) return null;
  const [hours = 0, minutes = 0] = shift.time.split(":").map(Number);
  const start = new Date(now());
  start.setHours(hours, minutes, 0, 0);
  if (start.getTime() > now()) start.setDate(start.getDate() - 1);
  return start;
}

/** @param {Shift} value */
function keep(value) {
  shift = value;
  localStorage.setItem(KEY, JSON.stringify(shift));
  byId("shift-time", HTMLInputElement).value = shift.time ?? "";
  drawShift();
}

/**
 * @param {string} kind
 * @param {string} word
 * @param {number} value
 */
const entry = (kind, word, value) => el("div", { className: kind }, el("dt", {}, word), el("dd", {}, count(value)));

/** Draw the p95 of the last minutes: called after every change. */
export function drawSpeed() {
  const times = line.parts
    .filter((part) => part.result?.status === "ok" && now() - Date.parse(part.at) < RECENT_MS)
    .flatMap((part) => part.result?.timing_ms.total ?? [])
    .sort((a, b) => a - b);
  byId("p95").textContent = ms(times[Math.max(0, Math.ceil(times.length * 0.95) - 1)]);
}

/** @param {Array<MinuteDocument>} trend */
function drawTrend(trend) {
  const points = trend.flatMap(({ at, p95_ms: p95 }) => (p95 === null ? [] : [{ at: Date.parse(at), p95 }]));
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last || points.length < 2) {
    byId("trend").replaceChildren(el("p", {}, "The trend shows after two minutes with parts."));
    return;
  }
  const values = points.map(({ p95 }) => p95);
  const low = Math.min(...values);
  const highest = Math.max(...values);
  const scale = Math.max(highest - low, LEAST_SPAN_MS);
  const width = Math.max(1, last.at - first.at);
  const places = points.map(({ at, p95 }) => [(300 * (at - first.at)) / width, 44 - (40 * (p95 - low)) / scale]);
  const about = `p95 by minute, from ${ms(low)} to ${ms(highest)}`;
  const curve = svg("polyline", {
    points: places.map((place) => place.map((it) => it.toFixed(1)).join(",")).join(" "),
  });
  byId("trend").replaceChildren(
    svg("svg", { viewBox: "0 0 300 48", preserveAspectRatio: "none", role: "img", "aria-label": about }, curve),
    el("p", {}, el("span", {}, `${points.length} min, by minute`), el("span", {}, `${ms(low)} to ${ms(highest)}`)),
  );
}
