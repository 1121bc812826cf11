// Counts and yield of the shift, and how fast verdicts are.

import { get } from "./api.js";
import { byId, el, svg } from "./dom.js";
import { clock, ms, percent } from "./format.js";
import { learn, now, store } from "./store.js";

const KEY = "lineside.shift";
const NAMES = { passed: ["pass", "Pass"], failed: ["fail", "Fail"], unknown: ["unknown", "Unknown"] };
const RECENT_MS = 300_000;
const LEAST_SPAN_MS = 5;
const COUNT_MS = 700;

let counted = 0;
let counting = false;

/** Where the shift begins: {time: "06:00"} each day, or {since, minus} from a reset, or nothing: the service's start. */
let shift = JSON.parse(localStorage.getItem(KEY) ?? "{}");

/** Make the form work. */
export function startShift() {
  byId("shift-time").value = shift.time ?? "";
  byId("shift-form").addEventListener("submit", (event) => {
    event.preventDefault();
    keep({ time: byId("shift-time").value });
  });
  byId("shift-reset").addEventListener("click", async () => {
    const since = new Date(now()).toISOString();
    const { run, passed, failed, unknown, disabled } = await get(`/v1/counts?since=${since}`);
    // The service counts by whole minutes: what this one has so far is taken off.
    keep({ since, run, minus: { passed, failed, unknown, disabled } });
  });
}

/** Count soon: called when a part came. */
export function countSoon() {
  const newest = store.parts.at(-1)?.number;
  if (counting || newest === counted) return;
  counting = true;
  setTimeout(async () => {
    counted = newest;
    await drawShift();
    counting = false;
  }, COUNT_MS);
}

/** Read the counts and draw them. */
export async function drawShift() {
  const since = begin();
  const counts = await get(`/v1/counts${since ? `?since=${since.toISOString()}` : ""}`).catch(() => null);
  if (!counts) return;
  learn(counts);
  const minus = shift.minus && shift.run === counts.run ? shift.minus : {};
  const of = (name) => Math.max(0, counts[name] - (minus[name] ?? 0));
  const all = of("passed") + of("failed") + of("unknown");
  byId("yield").textContent = percent(of("passed"), all);
  byId("shift-counts").replaceChildren(
    entry("all", "Parts", all),
    ...Object.entries(NAMES).map(([name, [kind, word]]) => entry(kind, word, of(name))),
  );
  const started = new Date(counts.started);
  const isWhole = since && since >= started;
  byId("shift-since").textContent = isWhole ? `Since ${clock(since)}` : `Since the start, ${clock(started)}`;
  drawTrend(counts.trend);
}

function begin() {
  if (shift.since) return new Date(shift.since);
  if (!shift.time) return null;
  const [hours, minutes] = shift.time.split(":").map(Number);
  const start = new Date(now());
  start.setHours(hours, minutes, 0, 0);
  if (start > now()) start.setDate(start.getDate() - 1);
  return start;
}

function keep(value) {
  shift = value;
  localStorage.setItem(KEY, JSON.stringify(shift));
  byId("shift-time").value = shift.time ?? "";
  drawShift();
}

const entry = (kind, word, count) => el("div", { className: kind }, el("dt", {}, word), el("dd", {}, count.toLocaleString()));

/** Draw the p95 of the last minutes: called after every change. */
export function drawSpeed() {
  const times = store.parts
    .filter((part) => part.result?.status === "ok" && now() - Date.parse(part.at) < RECENT_MS)
    .map((part) => part.result.timing_ms.total)
    .sort((a, b) => a - b);
  byId("p95").textContent = ms(times.length ? times[Math.max(0, Math.ceil(times.length * 0.95) - 1)] : null);
}

function drawTrend(trend) {
  const points = trend.filter((minute) => minute.p95_ms !== null);
  if (points.length < 2) {
    byId("trend").replaceChildren(el("p", {}, "The trend shows after two minutes with parts."));
    return;
  }
  const values = points.map((minute) => minute.p95_ms);
  const low = Math.min(...values);
  const high = Math.max(...values, low + LEAST_SPAN_MS);
  const first = Date.parse(points[0].at);
  const width = Math.max(1, Date.parse(points.at(-1).at) - first);
  const place = (minute) => [(300 * (Date.parse(minute.at) - first)) / width, 44 - (40 * (minute.p95_ms - low)) / (high - low)];
  const line = svg(
    "svg",
    { viewBox: "0 0 300 48", preserveAspectRatio: "none", role: "img", "aria-label": `p95 by minute, from ${ms(low)} to ${ms(Math.max(...values))}` },
    svg("polyline", { points: points.map((minute) => place(minute).map((it) => it.toFixed(1)).join(",")).join(" ") }),
  );
  byId("trend").replaceChildren(
    line,
    el("p", {}, el("span", {}, `${points.length} min, by minute`), el("span", {}, `${ms(low)} to ${ms(Math.max(...values))}`)),
  );
}
