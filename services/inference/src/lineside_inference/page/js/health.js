// Every connection of the service in words.

import { call, get } from "./api.js";
import { byId, el, facts, shape } from "./dom.js";
import { clock, span } from "./format.js";
import { now } from "./store.js";

const SHAPES = { good: "pass", wait: "unknown", bad: "fail", off: "off" };

const marks = new Set();

/** Show beside the view's name that something here needs a person, for as long as anything does. */
export function mark(about, isBad) {
  if (isBad) marks.add(about);
  else marks.delete(about);
  byId("health-mark").hidden = !marks.size;
}

/** Read /readyz and draw it, short on the line, whole in its view. */
export async function drawHealth() {
  let health;
  let engine;
  try {
    // Asked first: /readyz is open to everybody, and says nothing of the connections to whoever sends no token.
    engine = await get("/v1/engine");
    // 503 has the same body: it says what is missing.
    health = await (await call("/readyz")).json();
  } catch {
    return;
  }
  const links = (health.connections ?? []).map(words);
  const bad = links.filter((link) => link.state !== "good");
  mark("connections", bad.length > 0 || !health.ready);
  byId("health-summary").textContent = health.ready
    ? "The service is ready."
    : `The service is not ready${health.state === "draining" ? ": it is stopping" : bad.length ? ":" : "."} ${bad.map((link) => link.name).join(", ")}`;
  const good = links.length - bad.length;
  const rest = { name: bad.length ? `The other ${good}` : `All ${good} connections`, state: "good", text: good === 1 ? "works" : "work" };
  byId("needs").replaceChildren(...bad.map((link) => item(link, false)), ...(good ? [item(rest, false)] : []));
  byId("health-list").replaceChildren(...links.map((link) => item(link, true)));
  facts(byId("health-facts"), [
    ["Engine", [engine.server, engine.version].filter(Boolean).join(" ")],
    ["Tensors reach it by", engine.transport],
    ["Metrics", el("a", { href: "/metrics" }, "/metrics")],
    ["Raw state", el("a", { href: "/readyz" }, "/readyz")],
  ]);
}

/** One thing with its state in shape and words: good, wait, bad or off; `more` is said below it where `isWhole`. */
export function item(link, isWhole) {
  const text = el("span", {}, el("strong", {}, link.name), ` ${link.text}`);
  if (isWhole) text.append(el("br"), el("span", { className: "muted" }, link.more));
  return el("li", { className: "need", data: { state: link.state } }, shape(SHAPES[link.state]), text);
}

/** A connection as a person would say it. */
export function words(link) {
  const name = link.name.replace("/", " ").replace(/^./, (letter) => letter.toUpperCase());
  const since = `for ${span(now() - Date.parse(link.since))}`;
  const detail = link.detail ? `: ${link.detail}` : "";
  const next = link.next_try ? ` Tries again in ${span(Date.parse(link.next_try) - now())}.` : "";
  const more = `${link.target}, since ${clock(link.since)}${link.required ? "" : "; the service works without it"}`;
  if (link.state === "ONLINE") return { name, state: "good", text: "works", more: `${more}${link.detail ? `; ${link.detail}` : ""}` };
  if (link.state === "PAUSED") return { name, state: "wait", text: `is not used${detail}`, more };
  if (link.state === "CONNECTING") return { name, state: "wait", text: `is being reached, ${since}${detail}`, more };
  return { name, state: link.required ? "bad" : "wait", text: `cannot be reached ${since}${detail}.${next}`, more: `${more}; ${link.attempts} attempts` };
}
