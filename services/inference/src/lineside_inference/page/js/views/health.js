// Every link of the line in words, short on the line, whole in the view of health.

import { readChain } from "../service/chain.js";
import { chain, isStopped } from "../state/chain.js";
import { known } from "../state/models.js";
import { alarm } from "../words/links.js";
import { steering } from "../words/steering.js";
import { byId, el, facts, shape } from "./dom.js";

/**
 * One thing with its state; `more` is said below it where all is said.
 * @typedef {{ name: string, state: "good" | "wait" | "bad" | "off", text: string, more?: Node | string }} Item
 */

export const SHAPES = { good: "pass", wait: "unknown", bad: "fail", off: "off" };

/** @type {Set<string>} */
const marks = new Set();

/**
 * Show beside the view's name that something here needs a person, for as long as anything does.
 * @param {string} about
 * @param {boolean} isBad
 */
export function mark(about, isBad) {
  if (isBad) marks.add(about);
  else marks.delete(about);
  byId("health-mark").hidden = !marks.size;
}

/** Read how the line stands and draw it, short on the line, whole in its view. */
export async function drawHealth() {
  if (!(await readChain())) return;
  const { links, engine } = chain;
  const bad = links.filter((link) => link.state !== "good" && link.state !== "off");
  const off = links.filter((link) => link.state === "off");
  mark("connections", bad.length > 0 || !chain.isReady);
  byId("health-summary").textContent = summary(marks.size > 0);
  const good = links.length - bad.length - off.length;
  /** @type {Item} */
  const rest = {
    name: bad.length ? `The other ${good}` : `All ${good} connections`,
    state: "good",
    text: good === 1 ? "works" : "work",
  };
  const short = [...bad, ...off.filter((link) => !link.isPaused), ...(good ? [rest] : [])];
  byId("needs").replaceChildren(...short.map((link) => item(link, false)));
  byId("health-list").replaceChildren(...links.map((link) => item(link, true)));
  const policy = steering(chain.steering, known.etag);
  byId("thresholds-steering").textContent = policy;
  facts(byId("health-facts"), [
    ["Policy", policy],
    ["Engine", [engine?.server, engine?.version].filter(Boolean).join(" ")],
    ["Tensors reach it by", engine?.transport],
    ["Metrics", el("a", { href: "/metrics" }, "/metrics")],
    ["Raw state", el("a", { href: "/readyz" }, "/readyz")],
    ["The services before", el("a", { href: "/v1/chain" }, "/v1/chain")],
  ]);
}

/** @param {boolean} isBad whether anything needs a look */
function summary(isBad) {
  if (isStopped()) return alarm();
  if (!chain.isReady) return `The service is not ready${chain.isDraining ? ": it is stopping." : "."}`;
  return isBad ? "Parts can be judged; something needs a look." : "Every part can be judged.";
}

/**
 * One thing with its state in shape and words.
 * @param {Item} thing
 * @param {boolean} isWhole whether to say more below it
 */
export function item({ name, state, text, more }, isWhole) {
  const said = el("span", {}, el("strong", {}, name), ` ${text}`);
  if (isWhole && more) said.append(el("br"), el("span", { className: "muted" }, more));
  return el("li", { className: "need", data: { state } }, shape(SHAPES[state]), said);
}
